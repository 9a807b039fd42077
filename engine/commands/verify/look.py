"""Looks at suspects again, from both ends, until each is settled.

Invariant: an item is called different only when neither end has changed between two looks, or in the last of
several rounds; each suspect is counted once.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np

from engine.batch import Batch
from engine.commands.verify.book import Book, Suspect
from engine.commands.verify.desk import Desk, Looked
from engine.commands.verify.digests import ABSENT, KeySchema, content_hashes, key_hashes
from engine.commands.verify.findings import Findings, difference, judged
from engine.commands.verify.former import Former
from engine.commands.verify.repair import Repairs
from engine.commands.verify.target_pass import TargetReader
from engine.commands.verify.values import Item
from engine.commands.verify.whence import Whence
from engine.wire.versions import is_lower

PAUSES_S = (0.5, 1.0, 2.0)
"""Before each round. A change that is being written to both ends is through after so long, mostly."""

KEYS_AT_ONCE = 2_000

Rows: TypeAlias = AsyncGenerator[Batch, None]


@dataclass(frozen=True, slots=True)
class Looks:
    """What looking takes. `rejected`: the hashes of keys whose items the target refused for good."""

    book: Book
    desks: Sequence[Desk]
    reader: TargetReader
    findings: Findings
    repairs: Repairs
    told: Callable[[str], None]
    former: Former
    notice: Callable[[str], None]
    rejected: AbstractSet[int] = field(default_factory=frozenset)

    @property
    def schema(self) -> KeySchema:
        """The table's key."""
        return self.desks[0].schema


async def pause(seconds: float) -> None:
    """Give changes time to reach both ends."""
    await asyncio.sleep(seconds)


async def look_again(looks: Looks) -> None:
    """Settle every suspect of the book."""
    for number, pause_s in enumerate(PAUSES_S):
        count = looks.book.suspects_count()
        if not count:
            return
        looks.told(f"looking again at {count:,} items")
        looks.findings.looked_again += count if number == 0 else 0
        await pause(pause_s)
        for desk in looks.desks:
            await desk.fresh_source()
        again = await _round(looks, last=number == len(PAUSES_S) - 1)
        looks.book.begin()
        looks.book.forget_suspects()
        looks.book.suspect(again)
        looks.book.commit()


async def _round(looks: Looks, *, last: bool) -> list[Suspect]:
    """Look at every suspect once; return those that have changed meanwhile."""
    again: list[Suspect] = []
    nowhere: list[Suspect] = []
    for number in looks.book.suspicious_places():
        wanted = {suspect.key_hash: suspect for suspect in looks.book.suspects_of(number)}
        place = looks.book.place(number)
        desk = looks.desks[place.job]
        again += await _compare_all(looks, desk, partial(desk.rows_of, place), wanted, last=last)
        # The source gives these no more: what the target still has of them is in question.
        nowhere += [suspect for suspect in wanted.values() if suspect.key is not None]
    nowhere += looks.book.suspects_nowhere()
    if nowhere:
        again += await _origins(looks, nowhere, last=last)
    return again


async def _compare_all(
    looks: Looks, desk: Desk, rows: Callable[[], Rows], wanted: dict[int, Suspect], *, last: bool
) -> list[Suspect]:
    """Compare the suspects that rows give, and take them out of `wanted`.

    Where several rows may give one key, one of them counts, and all are read once more to know which it is;
    with insert it is the first one, so that it is met first.
    """
    compare = partial(_compare_given, looks, desk, rows, wanted, last=last)
    if not desk.ordered or desk.keeps:
        return await compare(None)
    winners = await _winners(looks, desk, rows, wanted)
    again = await compare(winners)
    if wanted.keys() & winners.keys():  # a source without a key gives its rows in any order
        again += await compare(None)
    return again


async def _compare_given(
    looks: Looks,
    desk: Desk,
    rows: Callable[[], Rows],
    wanted: dict[int, Suspect],
    winners: Mapping[int, int] | None,
    *,
    last: bool,
) -> list[Suspect]:
    """Compare the suspects that rows give, with `winners` only by the rows of these contents."""
    again: list[Suspect] = []
    async with aclosing(rows()) as batches:
        async for batch in batches:
            if not wanted:
                break
            again += await _compare(looks, desk, await desk.look(batch), wanted, winners, last=last)
    return again


async def _winners(
    looks: Looks, desk: Desk, rows: Callable[[], Rows], wanted: Collection[int]
) -> dict[int, int]:
    """Return by key the content of the row that counts: what a run, which writes one by one, leaves there.

    That is the last row, with newer the first that has the highest version. Told by its content, since
    batches may end elsewhere when the rows are read again.
    """
    winners: dict[int, int] = {}
    versions: dict[int, Item] = {}
    hashes = np.fromiter(wanted, np.uint64, len(wanted))
    async with aclosing(rows()) as batches:
        async for batch in batches:
            expected = (await desk.look(batch)).expected
            given = expected.hashes(looks.schema)
            chosen = np.flatnonzero(np.isin(given, hashes)).tolist()
            contents = expected.contents(keeps=desk.keeps) if chosen else given
            for at in chosen:
                key_hash = int(given[at])
                if desk.version is not None:
                    held = versions.get(key_hash)
                    if held is not None and not is_lower(held, expected.versions[at]):
                        continue
                    versions[key_hash] = expected.versions[at]
                winners[key_hash] = int(contents[at])
    return winners


async def _compare(
    looks: Looks,
    desk: Desk,
    looked: Looked,
    wanted: dict[int, Suspect],
    winners: Mapping[int, int] | None,
    *,
    last: bool,
) -> list[Suspect]:
    """Compare the suspects among a batch's items, and take them out of `wanted`."""
    expected, schema = looked.expected, desk.schema
    if not len(expected) or not wanted:
        return []
    hashes = expected.hashes(schema)
    chosen = np.flatnonzero(np.isin(hashes, np.fromiter(wanted, np.uint64, len(wanted)))).tolist()
    contents = expected.contents(keeps=desk.keeps) if chosen else hashes
    if winners is not None:
        chosen = [at for at in chosen if winners.get(int(hashes[at])) == int(contents[at])]
    if not chosen:
        return []
    keys = [schema.of(expected.keys[at]) for at in chosen]
    found = await _found(looks, keys)
    again, differing = [], []
    for at, key in zip(chosen, keys, strict=True):
        suspect = wanted.pop(int(hashes[at]))
        actual = found.get(suspect.key_hash)
        verdict = judged(
            expected.items[at],
            actual,
            keeps=desk.keeps,
            version=desk.version,
            at=expected.versions[at] if expected.versions else None,
        )
        if verdict == "missing" and suspect.key_hash in looks.rejected:
            looks.findings.dead_lettered += 1
        elif verdict in ("missing", "mismatched", "extra"):
            now = Suspect(suspect.place, suspect.key_hash, int(contents[at]), _content(actual), dict(key))
            if not last and (now.source, now.target) != (suspect.source, suspect.target):
                again.append(now)
                continue
            looks.findings.differs(difference(key, verdict, expected.items[at], actual))
            differing.append(at)
        else:
            looks.findings.count(verdict)
    if differing:
        await looks.repairs.rewrite(desk, looked, differing)
    return again


async def _origins(looks: Looks, suspects: list[Suspect], *, last: bool) -> list[Suspect]:
    """Find out where items come from that the target has and the source didn't give; compare or tell."""
    wanted = {suspect.key_hash: suspect for suspect in suspects}
    again: list[Suspect] = []
    asked: set[int] = set()
    for desk in looks.desks:
        here = list(wanted.values())
        search = Whence(desk, [suspect.key or {} for suspect in here])
        again += await _compare_all(looks, desk, search.rows, wanted, last=last)
        asked |= {here[at].key_hash for at in search.asked}
    left = list(wanted.values())
    for start in range(0, len(left), KEYS_AT_ONCE):
        again += await _extras(looks, left[start : start + KEYS_AT_ONCE], asked, last=last)
    return again


async def _extras(
    looks: Looks, suspects: list[Suspect], asked: AbstractSet[int], *, last: bool
) -> list[Suspect]:
    """Tell of items that no row gives; those are deleted of which the source, `asked`, has said so."""
    found = await _found(looks, [suspect.key or {} for suspect in suspects])
    again, extra = [], []
    former: dict[int, Item] = {}
    for suspect in suspects:
        actual = found.get(suspect.key_hash)
        if actual is None:
            continue  # gone from both ends
        now = Suspect(None, suspect.key_hash, ABSENT, _content(actual), suspect.key)
        if not last and (now.source, now.target) != (suspect.source, suspect.target):
            again.append(now)
            continue
        looks.findings.differs(difference(looks.schema.of(actual), "extra", None, actual))
        if looks.former.scope.formerly(actual):
            looks.findings.former_keys += 1
            former[suspect.key_hash] = actual
        elif suspect.key_hash in asked:
            extra.append(looks.schema.of(actual))
    if former and looks.repairs.may_delete:
        proved = await looks.former.still_as_written(former, looks.notice)
        extra += [looks.schema.of(former[key_hash]) for key_hash in proved]
    if extra:
        await looks.repairs.delete(looks.desks[0], extra)
    return again


async def _found(looks: Looks, keys: Sequence[Item]) -> dict[int, Item]:
    """Return the target's items of these keys, by their keys' hashes."""
    items = [
        item
        for start in range(0, len(keys), KEYS_AT_ONCE)
        for item in await looks.reader.get(keys[start : start + KEYS_AT_ONCE])
    ]
    return dict(zip(key_hashes(items, looks.schema).tolist(), items, strict=True))


def _content(item: Item | None) -> int:
    return ABSENT if item is None else int(content_hashes([item])[0])
