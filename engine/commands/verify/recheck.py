"""The recheck: items that seemed to differ are read once more, from both ends, until each is decided.

Invariant: an item is called different only when neither end has changed between two looks at it, or in the
last of several rounds; each entry is counted once.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from dataclasses import field, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from engine.batch import Batch
from engine.commands.verify.comparison import compare, read
from engine.commands.verify.former_keys import FormerKeys
from engine.commands.verify.inversion import RowSearch
from engine.commands.verify.opened_job import ABSENT, Made, OpenedJob
from engine.commands.verify.outcome import Outcome, differing_item
from engine.commands.verify.progress_store import ProgressStore, RecheckEntry
from engine.commands.verify.repair import Repairs
from engine.commands.verify.version_order import is_lower
from engine.contracts.readback import Item, ItemCodec, TargetReader
from engine.frozen import dataclass

KEYS_AT_ONCE = 2_000
PAUSES_S = (0.5, 1.0, 2.0)
"""Before each round. A change that is being written to both ends is through after so long, mostly."""

Rows: TypeAlias = Callable[[], AsyncGenerator[Batch, None]]


async def pause(seconds: float) -> None:
    """Give changes time to reach both ends."""
    await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Recheck:
    """What a recheck takes. `rejected`: the hashes of keys whose items the target refused for good."""

    progress: ProgressStore
    jobs: Sequence[OpenedJob]
    reader: TargetReader
    outcome: Outcome
    repairs: Repairs
    former: FormerKeys
    say: Callable[[str], None]
    notice: Callable[[str], None]
    rejected: AbstractSet[int] = field(default_factory=frozenset)

    @property
    def codec(self) -> ItemCodec:
        """What tells of the target's items."""
        return self.jobs[0].codec

    async def run(self) -> None:
        """Decide on every entry of the progress store."""
        for number, pause_s in enumerate(PAUSES_S):
            count = self.progress.rechecks_count()
            if not count:
                return
            self.say(f"looking again at {count:,} items")
            self.outcome.looked_again += count if number == 0 else 0
            await pause(pause_s)
            for job in self.jobs:
                await job.fresh_source()
            again = await _Round(self, last=number == len(PAUSES_S) - 1).run()
            with self.progress.transaction():
                self.progress.forget_rechecks()
                self.progress.recheck(again)


class _Round:
    """One look at every entry. Those that have changed meanwhile are left for the next round, if any."""

    def __init__(self, recheck: Recheck, *, last: bool) -> None:
        self._recheck = recheck
        self._last = last
        self._again: list[RecheckEntry] = []

    async def run(self) -> list[RecheckEntry]:
        """Look; return what has changed."""
        progress = self._recheck.progress
        unfound: list[RecheckEntry] = []
        for number in progress.recheck_ranges():
            wanted = {entry.key_hash: entry for entry in progress.rechecks(number)}
            rows = progress.row_range(number)
            job = self._recheck.jobs[rows.job]
            await self._compare_all(job, partial(job.rows_of, rows), wanted)
            # The source gives these no more: what the target still has of them is in question.
            unfound += [entry for entry in wanted.values() if entry.key is not None]
        unfound += progress.rechecks(None)
        if unfound:
            await self._origins(unfound)
        return self._again

    async def _compare_all(self, job: OpenedJob, rows: Rows, wanted: dict[int, RecheckEntry]) -> None:
        """Compare the entries that rows give, and take them out of `wanted`.

        Where several rows may give one key, one of them counts, and all are read once more to know which it
        is; with insert it is the first one, so that it is met first.
        """
        if not job.ordered or job.keeps:
            await self._compare_given(job, rows, wanted, None)
            return
        winners = await _winners(job, rows, wanted)
        await self._compare_given(job, rows, wanted, winners)
        if wanted.keys() & winners.keys():  # a source without a key gives its rows in any order
            await self._compare_given(job, rows, wanted, None)

    async def _compare_given(
        self,
        job: OpenedJob,
        rows: Rows,
        wanted: dict[int, RecheckEntry],
        winners: Mapping[int, int] | None,
    ) -> None:
        """Compare the entries that rows give, with `winners` only by the rows of these contents."""
        async with aclosing(rows()) as batches:
            async for batch in batches:
                if not wanted:
                    break
                made = await job.make(batch)
                chosen = _among(made, wanted)
                if winners is not None:
                    chosen = [
                        at for at in chosen if winners.get(int(made.keys[at])) == int(made.contents[at])
                    ]
                if chosen:
                    await self._compare(job, made, chosen, wanted)

    async def _compare(
        self, job: OpenedJob, made: Made, chosen: Sequence[int], wanted: dict[int, RecheckEntry]
    ) -> None:
        outcome, differing = self._recheck.outcome, []
        for each in await compare(job, self._recheck.reader, made, chosen):
            entry = wanted.pop(int(made.keys[each.at]))
            if each.verdict == "missing" and entry.key_hash in self._recheck.rejected:
                outcome.dead_lettered += 1
            elif each.verdict == "missing" and each.expected and job.codec.expired(each.expected):
                outcome.expired += 1
            elif (difference := each.difference) is None:
                outcome.count(each.verdict)
            elif not self._changed(entry, int(made.contents[each.at]), each.content, each.key):
                outcome.differs(differing_item(job.codec, each.key, difference, each.expected, each.actual))
                differing.append(each)
        if differing:
            await self._recheck.repairs.rewrite(job, made, differing)

    def _changed(self, entry: RecheckEntry, source: int, target: int, key: Item | None) -> bool:
        """Whether an item has changed since it was seen last and there is a round left to look again."""
        if self._last or (source, target) == (entry.source, entry.target):
            return False
        self._again.append(RecheckEntry(entry.row_range, entry.key_hash, source, target, key))
        return True

    async def _origins(self, entries: Sequence[RecheckEntry]) -> None:
        """Find out where items come from that the target has and no row gave; compare or tell."""
        wanted = {entry.key_hash: entry for entry in entries}
        asked: set[int] = set()
        for job in self._recheck.jobs:
            here = list(wanted.values())
            search = RowSearch(job, [entry.key or {} for entry in here])
            await self._compare_all(job, search.rows, wanted)
            asked |= {here[at].key_hash for at in search.asked}
        left = list(wanted.values())
        for start in range(0, len(left), KEYS_AT_ONCE):
            await self._extras(left[start : start + KEYS_AT_ONCE], asked)

    async def _extras(self, entries: Sequence[RecheckEntry], asked: AbstractSet[int]) -> None:
        """Tell of items that no row gives; those are deleted of which the source, `asked`, has said so."""
        recheck, codec = self._recheck, self._recheck.codec
        forgets = any(job.source.abilities.forgets for job in recheck.jobs)
        found = await read(codec, recheck.reader, [entry.key or {} for entry in entries])
        extra: list[Item] = []
        former: dict[int, Item] = {}
        contents = dict(zip(found, codec.digests(list(found.values())).contents.tolist(), strict=True))
        for entry in entries:
            actual = found.get(entry.key_hash)
            if actual is None:
                continue  # gone from both ends
            content = contents[entry.key_hash]
            unclaimed = replace(entry, row_range=None)
            if self._changed(unclaimed, ABSENT, content, entry.key):
                continue
            key, formerly = codec.key_of(actual), recheck.former.patterns.hold_formerly(actual)
            if forgets and not formerly:
                recheck.outcome.forgotten += 1
                continue
            recheck.outcome.differs(differing_item(codec, key, "extra", None, actual))
            if formerly:
                recheck.outcome.former_keys += 1
                former[entry.key_hash] = key
            elif entry.key_hash in asked:
                extra.append(key)
        if former and recheck.repairs.may_delete:
            wanted = {key_hash: contents[key_hash] for key_hash in former}
            proved = await recheck.former.still_as_written(wanted, list(former.values()), recheck.notice)
            extra += [former[key_hash] for key_hash in proved]
        if extra:
            await recheck.repairs.delete(recheck.jobs[0], extra)


async def _winners(job: OpenedJob, rows: Rows, wanted: Collection[int]) -> dict[int, int]:
    """Return by key the content of the row that counts: what a run, which writes one by one, leaves there.

    That is the last row, with newer the first that has the highest version. Told by its content, since
    batches may end elsewhere when the rows are read again.
    """
    winners: dict[int, int] = {}
    versions: dict[int, Any] = {}
    async with aclosing(rows()) as batches:
        async for batch in batches:
            made = await job.make(batch)
            chosen = _among(made, wanted)
            compared = (await job.sent(made, chosen)).versions if job.version is not None else ()
            for number, at in enumerate(chosen):
                key_hash = int(made.keys[at])
                if job.version is not None:
                    held = versions.get(key_hash)
                    if held is not None and not is_lower(job.codec, held, compared[number]):
                        continue
                    versions[key_hash] = compared[number]
                winners[key_hash] = int(made.contents[at])
    return winners


def _among(made: Made, wanted: Collection[int]) -> list[int]:
    """Return which items of a batch are wanted, by the hashes of their keys."""
    hashes = np.fromiter(wanted, np.uint64, len(wanted))
    chosen: list[int] = np.flatnonzero(np.isin(made.keys, hashes)).tolist()
    return chosen
