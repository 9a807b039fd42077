"""The second pass: the target is scanned once, and each item held against the external index.

Invariant: an item counts as matched only when both its hashes are the source's; whatever else there is is
checked again, or is none of ours.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
import numpy.typing as npt

from engine.commands.verify.external_index import ExternalIndex
from engine.commands.verify.key_patterns import KeyPatterns
from engine.commands.verify.opened_job import ABSENT, UNKNOWN
from engine.commands.verify.progress_store import ProgressStore, RecheckEntry
from engine.contracts.readback import Item, ItemCodec, Page, TargetReader
from engine.errors import PermanentError
from engine.tasks import together

SCANS_IN_FLIGHT = 4
COMMIT_S = 5.0
DONE = "target pass done"


@dataclass(frozen=True, slots=True)
class ComparedPage:
    """One page held against the index. `seen` are positions in the index."""

    seen: npt.NDArray[np.int64]
    rechecks: list[RecheckEntry]
    tallies: Counter[str]


def compare_page(
    page: Page, index: ExternalIndex, codec: ItemCodec, patterns: KeyPatterns, *, keeps: bool = False
) -> ComparedPage:
    """Hold a page's items against the index; only those that don't match are looked into.

    With `keeps`, whatever is there under an expected key is right: the job's mode leaves it.
    Raises: ValueError when the page can't be read.
    """
    tallies: Counter[str] = Counter()
    if not page.count:
        return ComparedPage(np.empty(0, np.int64), [], tallies)
    hashes = page.digests()
    at = index.find(hashes.keys)
    known = at >= 0
    seen = at[known]
    wanted, row_ranges = index.contents[seen], index.row_ranges[seen]
    contents = hashes.contents[known]
    equal = wanted == contents
    unknown = wanted == UNKNOWN
    tallies["matched"] = int(equal.sum())
    rechecks = []
    rows = np.flatnonzero(known)
    other = np.flatnonzero(~equal & ~unknown)
    if keeps:
        tallies["kept"], other = len(other), other[:0]
    for which in other.tolist():
        row = int(rows[which])
        expected, found = int(wanted[which]), int(contents[which])
        key = codec.key_of(page.item(row))
        rechecks.append(RecheckEntry(int(row_ranges[which]), int(hashes.keys[row]), expected, found, key))
    for row in np.flatnonzero(~known).tolist():
        item = page.item(row)
        if patterns.hold(item):
            key_hash, found = int(hashes.keys[row]), int(hashes.contents[row])
            rechecks.append(RecheckEntry(None, key_hash, ABSENT, found, codec.key_of(item)))
        else:
            tallies["not_ours"] += 1
    return ComparedPage(seen, rechecks, tallies)


@dataclass(slots=True)
class TargetPass:
    """Scans every segment that isn't done yet."""

    progress: ProgressStore
    index: ExternalIndex
    reader: TargetReader
    compare: Callable[[Page], ComparedPage]
    told: Callable[[int], None]
    threads: Executor | None = None
    _rechecks: list[RecheckEntry] = field(default_factory=list)
    _tallies: Counter[str] = field(default_factory=Counter)
    _positions: dict[int, Item | None] = field(default_factory=dict)
    _committed_at: float = field(default_factory=monotonic)

    async def run(self, segments: int) -> None:
        """Scan everything, then note what the scan hasn't met."""
        if not self.progress.scans():
            with self.progress.transaction():
                for number in range(segments):
                    self.progress.put_scan(number, None, done=False)
        states = self.progress.scans()
        todo = [(segment, start) for segment, start, done in states if not done]
        todo.reverse()

        async def scanner() -> None:
            while todo:
                await self._scan(*todo.pop(), len(states))

        await together(scanner() for _ in range(SCANS_IN_FLIGHT))
        self._commit()
        self._note_missing()

    async def _scan(self, segment: int, start: Item | None, total: int) -> None:
        async with aclosing(self.reader.scan(segment, total, start)) as pages:
            async for page in pages:
                compared = await self._compared(page)
                self.index.mark(compared.seen)
                self._rechecks += compared.rechecks
                self._tallies.update(compared.tallies)
                self._positions[segment] = page.next
                self.told(page.count)
                if monotonic() - self._committed_at > COMMIT_S:
                    self._commit()

    async def _compared(self, page: Page) -> ComparedPage:
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, self.compare, page)
        except ValueError as error:
            raise PermanentError(
                f"the target answered a scan with {error}; start verify again, which goes on where it was"
            ) from error

    def _commit(self) -> None:
        self.index.sync()
        with self.progress.transaction():
            self.progress.recheck(self._rechecks)
            self.progress.add(self._tallies)
            for segment, start in self._positions.items():
                self.progress.put_scan(segment, start, done=start is None)
        self._rechecks, self._tallies, self._positions = [], Counter(), {}
        self._committed_at = monotonic()

    def _note_missing(self) -> None:
        """Have checked again what should have been met, and count what rightly was not."""
        with self.progress.transaction():
            for keys, contents, row_ranges in self.index.unseen():
                gone = int((contents == ABSENT).sum())
                self.progress.add({"matched": gone})
                missing = contents > UNKNOWN
                columns = (row_ranges[missing].tolist(), keys[missing].tolist(), contents[missing].tolist())
                self.progress.recheck(
                    RecheckEntry(rows, key, content, ABSENT, None)
                    for rows, key, content in zip(*columns, strict=True)
                )
            self.progress.put(DONE, "1")
