"""What a full verification asks of its helpers, and what they answer.

Invariant: what an order covers is bounded, and so is its answer: hashes stay in files, and an order ends
where enough is found, with the position from which the next one goes on.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from engine.commands.helpers import Failed, FilePart, Helper, Helpers, Ready, Used
from engine.commands.verify.progress_store import RecheckEntry, RowRange
from engine.contracts.readback import Item
from engine.contracts.state import SegmentState
from engine.frozen import dataclass
from engine.run.beats import Beat, Granted, Left
from engine.run.link import Drain, Noted
from engine.run.wire import Language

PatternTexts: TypeAlias = tuple[tuple[tuple[str, ...], ...], ...]


@dataclass(frozen=True, slots=True)
class HelperJob:
    """A job, as handed.write gives it, with its source's ticket and its target as texts; secret."""

    job: str
    ticket: str
    target: str


@dataclass(frozen=True, slots=True)
class HelperBoot:
    """All that a helper of a verification needs. Shape: `patterns` KeyPatterns.texts."""

    directory: str
    jobs: tuple[HelperJob, ...]
    credentials: str
    patterns: PatternTexts


@dataclass(frozen=True, slots=True)
class BootAfar:
    """What one of another host needs besides its jobs. Shape: `hashes` hash_probe.probe."""

    hashes: str
    patterns: PatternTexts


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


@dataclass(frozen=True, slots=True)
class ShareOrder:
    """Scan at so many read units a second, at most, from here on."""

    number: int
    max_rcu: float


@dataclass(frozen=True, slots=True)
class ShareTaken:
    """It is so."""

    number: int


@dataclass(frozen=True, slots=True)
class PageHashes:
    """Helper of another host → command, within an order to scan: say where a page's items are in the index.

    Shape: bytes of Digests, 8 for each item.
    """

    number: int
    keys: bytes
    contents: bytes


@dataclass(frozen=True, slots=True)
class PagePlaced:
    """Command → helper: how a page's items stand, see Placed, whose arrays are bytes here."""

    number: int
    matched: int
    kept: int
    differing: bytes
    expected: bytes
    row_ranges: bytes
    unknown: bytes


VerifyOrder: TypeAlias = ReadOrder | ScanOrder | ShareOrder
VerifyAnswer: TypeAlias = SegmentRead | SegmentScanned | ShareTaken
TO_HELPER: Language[HelperBoot | VerifyOrder] = Language(HelperBoot | VerifyOrder)
FROM_HELPER: Language[Ready | Noted | Used | Failed | VerifyAnswer] = Language(
    Ready | Noted | Used | Failed | VerifyAnswer
)
TO_AFAR: Language[BootAfar | VerifyOrder | PagePlaced | Granted | Drain] = Language(
    BootAfar | VerifyOrder | PagePlaced | Granted | Drain
)
FROM_AFAR: Language[Ready | Noted | Used | FilePart | PageHashes | VerifyAnswer | Beat | Left] = Language(
    Ready | Noted | Used | FilePart | PageHashes | VerifyAnswer | Beat | Left
)

VerifyHelper: TypeAlias = Helper[VerifyOrder, VerifyAnswer]
VerifyHelpers: TypeAlias = Helpers[VerifyOrder, VerifyAnswer]
