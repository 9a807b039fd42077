"""What the writer decides, as values: for the debug log and for tests. Rates: see engine/throttle.

Invariant: none for an item; at most a few for a request, and none for one that succeeds.
"""

from typing import Literal

from engine.frozen import dataclass


@dataclass(frozen=True, slots=True)
class LaneGiven:
    """A hot partition key gets a lane. Units: `partition` its hash."""

    partition: int


@dataclass(frozen=True, slots=True)
class LaneTaken:
    """A key has cooled down and loses its lane. Units: `partition` its hash."""

    partition: int


@dataclass(frozen=True, slots=True)
class RejectionsJudged:
    """Rejections are the affair of some partitions from now on, or the table's."""

    local: bool


@dataclass(frozen=True, slots=True)
class CircuitOpen:
    """The target is away: nothing but a probe is sent, the next one after `pause_s`."""

    probe: int
    pause_s: float
    detail: str


@dataclass(frozen=True, slots=True)
class CircuitClosed:
    """The target is back. Units: `away_s` seconds since it failed first."""

    away_s: float


@dataclass(frozen=True, slots=True)
class KeysHeld:
    """Nobody knows whether a request was applied. Units: its items; `held` keys of all such requests."""

    items: int
    held: int


@dataclass(frozen=True, slots=True)
class BatchHeldBack:
    """A batch waits for requests of which nobody knows whether they were applied."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """The target refuses a request of so many items, which is taken apart, or held until another passes."""

    items: int
    detail: str


@dataclass(frozen=True, slots=True)
class SentAgain:
    """Items are sent again: rejected again and again, or their request failed. `attempt`: the first's."""

    why: Literal["rejected", "failed"]
    items: int
    attempt: int
    pause_s: float
