"""The second pass: the target is scanned once, and each item held against the external index.

Invariant: an item counts as matched only when both its hashes are the source's; whatever else there is is
checked again, or is none of ours.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import field
from time import monotonic
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engine.commands.helpers import Todo, carry_out
from engine.commands.verify.external_index import ExternalIndex
from engine.commands.verify.key_patterns import KeyPatterns
from engine.commands.verify.opened_job import ABSENT, UNKNOWN
from engine.commands.verify.orders import ScanOrder, SegmentScanned, VerifyHelper, VerifyHelpers
from engine.commands.verify.progress_store import ProgressStore, RecheckEntry
from engine.commands.verify.shares import Shares
from engine.contracts.readback import Digests, Hashes, Item, ItemCodec, Page, TargetReader
from engine.errors import PermanentError
from engine.frozen import dataclass

SCANS_IN_FLIGHT = 4
COMMIT_S = 5.0
"""After so long what was scanned is kept: it is what a kill costs."""
RECHECKS_MAX = 20_000
"""As is what is to be checked again, once it is so much: it travels as one message."""
DONE = "target pass done"

Place: TypeAlias = tuple[int, Item | None]
"""A segment of a scan, and behind which key it goes on."""


@dataclass(frozen=True, slots=True)
class ComparedItems:
    """What came of a page."""

    rechecks: list[RecheckEntry]
    tallies: Counter[str]


@dataclass(frozen=True, slots=True)
class Placed:
    """How the items of a page stand in the index.

    Shape: places in the page: `differing`, whose contents should be `expected` and are `row_ranges` rows',
    and `unknown`, whose keys no row gives. Those that match or are kept are only counted.
    """

    matched: int
    kept: int
    differing: npt.NDArray[np.int64]
    expected: Hashes
    row_ranges: npt.NDArray[np.uint32]
    unknown: npt.NDArray[np.int64]


def held_against(
    hashes: Digests, index: ExternalIndex, *, keeps: bool = False
) -> tuple[Placed, npt.NDArray[np.int64]]:
    """Hold a page's hashes against the index; return how they stand, and the positions that are seen there.

    With `keeps`, whatever is there under an expected key is right: the job's mode leaves it.
    """
    at = index.find(hashes.keys)
    known = at >= 0
    seen = at[known]
    wanted, row_ranges = index.contents[seen], index.row_ranges[seen]
    equal = wanted == hashes.contents[known]
    other = np.flatnonzero(~equal & (wanted != UNKNOWN))
    kept = len(other) if keeps else 0
    if keeps:
        other = other[:0]
    rows = np.flatnonzero(known)[other]
    placed = Placed(int(equal.sum()), kept, rows, wanted[other], row_ranges[other], np.flatnonzero(~known))
    return placed, seen


def looked_into(
    page: Page, hashes: Digests, placed: Placed, codec: ItemCodec, patterns: KeyPatterns
) -> ComparedItems:
    """Return what is to be checked again of a page, whose other items aren't looked into."""
    tallies = Counter(matched=placed.matched, kept=placed.kept)
    rechecks = []
    columns = (placed.differing.tolist(), placed.expected.tolist(), placed.row_ranges.tolist())
    for row, expected, rows in zip(*columns, strict=True):
        key_hash, found = int(hashes.keys[row]), int(hashes.contents[row])
        rechecks.append(RecheckEntry(rows, key_hash, expected, found, codec.key_of(page.item(row))))
    for row in placed.unknown.tolist():
        item = page.item(row)
        if patterns.hold(item):
            key_hash, found = int(hashes.keys[row]), int(hashes.contents[row])
            rechecks.append(RecheckEntry(None, key_hash, ABSENT, found, codec.key_of(item)))
        else:
            tallies["not_ours"] += 1
    return ComparedItems(rechecks, tallies)


@dataclass(frozen=True, slots=True)
class HeldHere:
    """Holds pages against an index of this host, where what was met is marked."""

    index: ExternalIndex
    codec: ItemCodec
    patterns: KeyPatterns
    keeps: bool
    threads: Executor | None = None

    async def compared(self, number: int, page: Page) -> ComparedItems:
        """Compare a page, whatever the order's `number`. Raises: ValueError when it can't be read."""
        del number
        found, seen = await asyncio.get_running_loop().run_in_executor(self.threads, self._compared, page)
        self.index.mark(seen)
        return found

    def _compared(self, page: Page) -> tuple[ComparedItems, npt.NDArray[np.int64]]:
        hashes = page.digests()
        placed, seen = held_against(hashes, self.index, keeps=self.keeps)
        return looked_into(page, hashes, placed, self.codec, self.patterns), seen


@dataclass(frozen=True, slots=True)
class Scanning:
    """What scans segments in one process. `compared` compares a page for the order of a number."""

    reader: TargetReader
    compared: Callable[[int, Page], Awaitable[ComparedItems]]

    async def scan(self, order: ScanOrder, told: Callable[[int], None]) -> SegmentScanned:
        """Do an order to scan. What the segment's reads have cost isn't told here."""
        began, start, items = monotonic(), order.start, 0
        rechecks, tallies = list[RecheckEntry](), Counter[str]()
        async with aclosing(self.reader.scan(order.segment, order.total, start)) as pages:
            async for page in pages:
                if page.count:
                    compared = await self._compared(order.number, page)
                    rechecks += compared.rechecks
                    tallies.update(compared.tallies)
                start = page.next
                items += page.count
                told(page.count)
                if monotonic() - began > COMMIT_S or len(rechecks) >= RECHECKS_MAX:
                    break
        return SegmentScanned(order.number, tuple(rechecks), tallies, start, items, 0.0)

    async def _compared(self, number: int, page: Page) -> ComparedItems:
        try:
            return await self.compared(number, page)
        except ValueError as error:
            raise PermanentError(
                f"the target answered a scan with {error}; start verify again, which goes on where it was"
            ) from error


@dataclass(slots=True)
class TargetPass:
    """Scans every segment that isn't done yet, with the help of others. `consumed`: what these have read.

    `shares` keeps all of them within the cap.
    """

    progress: ProgressStore
    index: ExternalIndex
    scanning: Scanning
    length: int
    told: Callable[[int], None]
    helpers: VerifyHelpers
    shares: Shares
    consumed: float = 0.0
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _found: dict[int, list[SegmentScanned]] = field(default_factory=dict)
    _committed_at: float = field(default_factory=monotonic)

    async def run(self, segments: int) -> None:
        """Scan everything, then note what the scan hasn't met."""
        if not self.progress.scans():
            with self.progress.transaction():
                for number in range(segments):
                    self.progress.put_scan(number, None, done=False)
        states = self.progress.scans()
        todo = Todo((segment, start) for segment, start, done in states if not done)

        def order(segment: int, start: Item | None) -> ScanOrder:
            return ScanOrder(next(self._numbers), segment, len(states), start, self.length)

        async def here(place: Place) -> Place | None:
            await self.shares.see_to(None)
            return self._keep(place[0], await self.scanning.scan(order(*place), self.told))

        async def there(helper: VerifyHelper, place: Place) -> Place | None:
            await self.shares.see_to(helper)
            found = await helper.ask(order(*place))
            assert isinstance(found, SegmentScanned), "that is what was asked for"
            self.told(found.items)
            self.consumed += found.consumed
            return self._keep(place[0], found)

        try:
            await carry_out(todo, here, self.helpers, there, SCANS_IN_FLIGHT)
        finally:
            self._commit()
        await asyncio.to_thread(self._note_missing)  # which may take long, and beats go on meanwhile

    def _keep(self, segment: int, found: SegmentScanned) -> Place | None:
        """Keep what was found; return what is left of the segment."""
        self._found.setdefault(segment, []).append(found)
        if monotonic() - self._committed_at > COMMIT_S:
            self._commit()
        return None if found.next is None else (segment, found.next)

    def _commit(self) -> None:
        """Make durable what was found, and the marks that helpers have made, too."""
        self.index.sync()
        with self.progress.transaction():
            for segment, found in self._found.items():
                for each in found:
                    self.progress.recheck(each.rechecks)
                    self.progress.add(each.tallies)
                self.progress.put_scan(segment, found[-1].next, done=found[-1].next is None)
        self._found = {}
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
