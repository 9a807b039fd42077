"""What rates and widths are decided, as values: for the debug log, the rehearsal, and tests.

Invariant: at most one for an answer; an answer that confirms what is in force makes none.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

from engine.frozen import dataclass
from engine.throttle.chance import Verdict


@dataclass(frozen=True, slots=True)
class RateChanged:
    """The rate falls, or is given back. Units: write units per second."""

    why: Literal["rejections", "collapse", "chance", "pardon"]
    was: float
    rate: float


@dataclass(frozen=True, slots=True)
class TrialBegun:
    """Whether rejections come of the rate is tried. Units: `lost` the share of units that was rejected."""

    rate: float
    lost: float


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """What a trial has shown. Units: as TrialBegun."""

    verdict: Verdict
    rate: float
    lost: float


@dataclass(frozen=True, slots=True)
class ConcurrencyChanged:
    """Fewer or more requests may be in flight."""

    why: Literal["wanted", "slow", "failures", "chance"]
    was: int
    limit: int


Tell: TypeAlias = Callable[[object], None]
"""Who is told of each decision. Quick, never raises."""


def ignore(_: object) -> None:
    """Tell nobody."""
