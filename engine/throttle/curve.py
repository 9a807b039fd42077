"""What a pace remembers, and the curve on which it comes back to a rate that the target took. Pure.

Invariant: the curve is flat around that rate, and grows for ever behind it.
"""

from typing import NamedTuple

BACK_OFF = 0.97
"""Where to go on, as a share of the rate that the target was seen to take."""

PLATEAU_S = 5.0
"""How long the way back to that rate takes; the rate lingers around it for twice as long."""

DOUBLING_S = 1.2
"""Beyond the plateau the limit must have moved: the rate doubles in this time."""


class Before(NamedTuple):
    """The rate before the first of the decreases that may be taken back."""

    at: float
    rate: float


def growth(age: float, plateau_s: float) -> float:
    """Return the rate after `age` seconds as a share of the rate at which the target last rejected."""
    over = 1.0 - BACK_OFF
    if age <= 2 * plateau_s:
        return float(1.0 + over * ((age - plateau_s) / plateau_s) ** 3)
    return float((1.0 + over) * 2.0 ** min((age - 2 * plateau_s) / DOUBLING_S, 60.0))
