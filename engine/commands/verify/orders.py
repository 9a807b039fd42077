"""What a full verification asks of its helpers, and what they answer.

Invariant: what an order covers is bounded, and so is its answer: hashes stay in files, and an order ends
where enough is found, with the position from which the next one goes on.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from engine.commands.helpers import Failed, Helper, Ready, Used
from engine.commands.verify.progress_store import RecheckEntry, RowRange
from engine.contracts.readback import Item
from engine.contracts.state import SegmentState
from engine.frozen import dataclass
from engine.run.link import Noted
from engine.run.wire import Language


@dataclass(frozen=True, slots=True)
class HelperJob:
    """A job, as handed.write gives it, with its source's ticket and its target as texts; secret."""

    job: str
    ticket: str
    target: str


@dataclass(frozen=True, slots=True)
class HelperBoot:
    """All that a helper of a verification needs.

    Shape: `patterns` KeyPatterns.texts. Units: `max_rcu` its share, read units per second.
    """

    directory: str
    jobs: tuple[HelperJob, ...]
    credentials: str
    patterns: tuple[tuple[tuple[str, ...], ...], ...]
    max_rcu: float | None


@dataclass(frozen=True, slots=True)
class ReadOrder:
    """Read a segment on from where it stands, until it ends or enough is read.

    `directory`: below the verification's own, where hashes go. `first_range`: the number of the first row
    range; ROW_RANGES of them are this order's.
    """

    number: int
    job: int
    state: SegmentState
    directory: str
    first_range: int


@dataclass(frozen=True, slots=True)
class SegmentRead:
    """How a segment stands, and what came of its rows: sorted parts in the order's directory, durable."""

    number: int
    state: SegmentState
    ranges: tuple[RowRange, ...]
    tallies: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ScanOrder:
    """Scan a segment of the target from behind `start`, and hold it against an index of `length` items."""

    number: int
    segment: int
    total: int
    start: Item | None
    length: int


@dataclass(frozen=True, slots=True)
class SegmentScanned:
    """What was found; what was met is marked in the index. `next`: behind what it goes on; None: it is over.

    Units: `consumed` read units.
    """

    number: int
    rechecks: tuple[RecheckEntry, ...]
    tallies: Mapping[str, int]
    next: Item | None
    items: int
    consumed: float

    def costing(self, consumed: float) -> "SegmentScanned":
        """Return it with what it has cost."""
        return replace(self, consumed=consumed)


TO_HELPER: Language[HelperBoot | ReadOrder | ScanOrder] = Language(HelperBoot | ReadOrder | ScanOrder)
FROM_HELPER: Language[Ready | Noted | Used | Failed | SegmentRead | SegmentScanned] = Language(
    Ready | Noted | Used | Failed | SegmentRead | SegmentScanned
)

VerifyHelper: TypeAlias = Helper[ReadOrder | ScanOrder, SegmentRead | SegmentScanned]
