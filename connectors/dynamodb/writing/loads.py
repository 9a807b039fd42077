"""The items of encoded batches on their way: which of them go together, and how each ended. Pure.

Invariant: an item is settled once; `unsettled` is 0 when the whole batch is. Once begun it keeps its index.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from connectors.dynamodb.writing.grouping import begun_first, in_groups
from engine.batch import DELETED, OPEN, REFUSED, SKIPPED, WRITTEN, DeadLetter, EncodedBatch, Fates
from engine.throttle.pace import Pace

NEVER = float("inf")

LANE_ITEMS = 25
"""How many items of a hot key gather before they go, so that they don't go one by one."""


SHRINK, GROW = 0.5, 4.0
"""The share of their size that groups should have before what isn't begun is grouped anew, which takes a few
milliseconds for a large batch."""


class Load:
    """One encoded batch on its way, and the tally of its items. `stop`: no item from there on is begun."""

    __slots__ = (
        "_deletes",
        "_fates",
        "_group_rows",
        "_letter_rows",
        "_rows",
        "abandoned",
        "dead_letters",
        "deleted",
        "encoded",
        "items",
        "next",
        "offsets",
        "skipped",
        "stop",
        "units",
        "unsettled",
        "written",
    )

    def __init__(self, encoded: EncodedBatch) -> None:
        self.items = self.unsettled = self.stop = len(encoded)
        self.next = 0
        self.written = self.deleted = self.skipped = 0
        self.dead_letters: list[DeadLetter] = []
        self.abandoned = False
        self._letter_rows: list[int] = []
        self._fates = bytearray(self.items)
        self._rows = self._group_rows = float(max(1, encoded.batch.rows.num_rows))
        self._take(encoded)

    def _take(self, encoded: EncodedBatch) -> None:
        """Take the items in a certain order."""
        self.encoded = encoded
        self.offsets: list[int] = []
        self.units: list[int] = []
        """Write units of all items before an index."""
        # Only now, so that the lists of another order have made room.
        self.offsets = encoded.offsets.tolist()
        self.units = [0, *np.cumsum(encoded.wcu, dtype=np.int64).tolist()]
        self._deletes: list[int] | None = None
        if encoded.deletes.any():
            self._deletes = [0, *np.cumsum(encoded.deletes, dtype=np.int64).tolist()]

    def group(self, items: float) -> None:
        """Put what isn't begun in the order of its rows, in groups of about so many items."""
        wanted = min(max(1.0, items * self._rows / self.items), self._rows)
        if self.next >= self.stop or self._group_rows * SHRINK <= wanted <= self._group_rows * GROW:
            return
        self._group_rows = wanted
        self._take(in_groups(self.encoded, self.next, int(wanted)))

    def finish_rows(self) -> None:
        """Begin no item any more but those of rows up to the last one that is begun."""
        encoded, left = begun_first(self.encoded, self.next)
        self._take(encoded)
        self.stop = self.next + left

    def beyond(self, index: int) -> bool:
        """Whether an item lies behind every row of which one is settled: then none of those waits for it."""
        settled = self.encoded.rows[np.frombuffer(bytes(self._fates), np.uint8) != OPEN]
        return not len(settled) or self.row(index) > int(settled.max())

    @property
    def without_gap(self) -> bool:
        """Whether no open item lies before a settled one, nor in its row."""
        waiting = np.flatnonzero(np.frombuffer(bytes(self._fates), np.uint8) == OPEN)
        return not len(waiting) or self.beyond(int(waiting[self.encoded.rows[waiting].argmin()]))

    def fates(self) -> Fates:
        """Return how the items stand."""
        fates = np.frombuffer(bytes(self._fates), np.uint8)
        fates = np.where(self.encoded.deletes & (fates == WRITTEN), np.uint8(DELETED), fates)
        return Fates(self.encoded.rows, fates, tuple(zip(self._letter_rows, self.dead_letters, strict=True)))

    def row(self, index: int) -> int:
        """Return an item's source row."""
        return int(self.encoded.rows[index])

    def partitions(self, start: int, stop: int) -> list[int]:
        """Return the partition key hashes of some items."""
        hashes: list[int] = self.encoded.partition_hashes[start:stop].tolist()
        return hashes

    def applied(self, start: int, stop: int) -> int:
        """Settle items that are now in the table, or deleted from it; return how many were deletes."""
        deleted = self._deletes[stop] - self._deletes[start] if self._deletes is not None else 0
        self.deleted += deleted
        self.written += stop - start - deleted
        self.unsettled -= stop - start
        self._fates[start:stop] = bytes((WRITTEN,)) * (stop - start)
        return deleted

    def skip(self, index: int) -> None:
        """Settle an item that rightly wasn't written."""
        self.skipped += 1
        self.unsettled -= 1
        self._fates[index] = SKIPPED

    def bury(self, index: int, letter: DeadLetter) -> None:
        """Settle an item that can't be written."""
        self.dead_letters.append(letter)
        self.unsettled -= 1
        self._fates[index] = REFUSED
        self._letter_rows.append(self.row(index))


class Run(NamedTuple):
    """Neighbouring items of one load: `start` to `stop`, and what they have been through."""

    load: Load
    start: int
    stop: int
    attempts: int = 0
    failing_since: float = NEVER

    @property
    def units(self) -> int:
        """Estimated write units."""
        return self.load.units[self.stop] - self.load.units[self.start]

    @property
    def partition(self) -> int:
        """The partition key hash of the first item."""
        return int(self.load.encoded.partition_hashes[self.start])

    def one(self, index: int) -> "Run":
        """Return one item of this run."""
        return self._replace(start=index, stop=index + 1)


@dataclass(eq=False, slots=True)
class Lane:
    """A hot partition key's items, and how fast its partition takes them."""

    pace: Pace
    runs: deque[Run] = field(default_factory=deque)
    not_before: float = 0.0
    used_at: float = 0.0

    def ready_at(self, now: float) -> float:
        """Return when a request's worth of what waits may go; NEVER when nothing waits."""
        if not self.runs:
            return NEVER
        first = self.runs[0]
        units = first.one(first.start).units * min(len(self.runs), LANE_ITEMS)
        return max(self.not_before, now + self.pace.wait_s(units, now))


class Share(NamedTuple):
    """What a lane has in a lot."""

    partition: int
    lane: Lane
    epoch: int
    units: int


@dataclass(eq=False, slots=True)
class Lot:
    """The items of one request.

    `exact`: it must stay as it is; `asked`: what it asks about capacity; `again`: some were sent before.
    """

    runs: list[Run]
    items: int
    units: int
    shares: tuple[Share, ...] = ()
    exact: bool = False
    again: bool = False
    asked: int = 0

    def __iter__(self) -> Iterator[Run]:
        """Go through the items one by one, in the order of the request."""
        for run in self.runs:
            for index in range(run.start, run.stop):
                yield run.one(index)

    def halves(self) -> "tuple[Lot, Lot]":
        """Cut the lot in two, each to be sent as it is."""
        items = list(self)
        middle = len(items) // 2
        return _exact(items[:middle]), _exact(items[middle:])

    def one_and_rest(self, index: int) -> "tuple[Lot, Lot]":
        """Take one item out, each part to be sent as it is."""
        items = list(self)
        return _exact([items.pop(index)]), _exact(items)


def _exact(items: list[Run]) -> Lot:
    again = any(item.attempts for item in items)
    return Lot(items, len(items), sum(item.units for item in items), exact=True, again=again)
