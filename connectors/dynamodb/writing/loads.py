"""The items of encoded batches on their way: which of them go together, and how each ended. Pure.

Invariant: an item is settled once; `unsettled` is 0 when the whole batch is.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from engine.batch import DeadLetter, EncodedBatch
from engine.throttle.pace import Pace

NEVER = float("inf")

LANE_ITEMS = 25
"""How many items of a hot key gather before they go, so that they don't go one by one."""


class Load:
    """One encoded batch on its way, and the tally of its items."""

    __slots__ = (
        "_deletes",
        "abandoned",
        "dead_letters",
        "deleted",
        "encoded",
        "items",
        "next",
        "offsets",
        "skipped",
        "units",
        "unsettled",
        "written",
    )

    def __init__(self, encoded: EncodedBatch) -> None:
        self.encoded = encoded
        self.items = self.unsettled = len(encoded)
        self.offsets: list[int] = encoded.offsets.tolist()
        self.units: list[int] = [0, *np.cumsum(encoded.wcu, dtype=np.int64).tolist()]
        """Write units of all items before an index."""
        self._deletes: list[int] | None = None
        if encoded.deletes.any():
            self._deletes = [0, *np.cumsum(encoded.deletes, dtype=np.int64).tolist()]
        self.next = 0
        self.written = self.deleted = self.skipped = 0
        self.dead_letters: list[DeadLetter] = []
        self.abandoned = False

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
        return deleted

    def skip(self) -> None:
        """Settle an item that rightly wasn't written."""
        self.skipped += 1
        self.unsettled -= 1

    def bury(self, letter: DeadLetter) -> None:
        """Settle an item that can't be written."""
        self.dead_letters.append(letter)
        self.unsettled -= 1


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
    """The items of one request; `exact` when it must stay as it is, `asked` what it asks about capacity."""

    runs: list[Run]
    items: int
    units: int
    shares: tuple[Share, ...] = ()
    exact: bool = False
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


def _exact(items: list[Run]) -> Lot:
    return Lot(items, len(items), sum(item.units for item in items), exact=True)
