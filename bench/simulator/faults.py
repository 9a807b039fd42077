"""Which requests go wrong, and how: by rate, and the same again for the same seed. Pure.

Invariant: the n-th request of a plan meets the same fate in every run, whatever the others did.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, TypeAlias, get_args

Fault: TypeAlias = Literal[
    "throttled",
    "500",
    "503",
    "reset_before",
    "reset_after",
    "silent_before",
    "silent_after",
    "truncated",
    "late",
]
"""What befalls a whole request.

`throttled`, `500`, `503`: nothing is applied, and the answer says so. `reset_*`, `silent_*`: the connection
is cut, or stays open without an answer, before or after the request was applied. `truncated`: applied, the
answer breaks off. `late`: applied, the answer comes after `late_s`.
"""
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
UNPROCESSED: Final = "unprocessed"
"""Befalls each item of a batch by itself."""
NOT_APPLIED: Final[frozenset[Fault]] = frozenset({"throttled", "500", "503", "reset_before", "silent_before"})
LATE_S: Final = 20.0
"""Later than any client should wait."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How often each fault comes, of 1. Units: `late_s` seconds."""

    of: Mapping[str, float] = field(default_factory=dict)
    late_s: float = LATE_S

    def __post_init__(self) -> None:
        for name, rate in self.of.items():
            if name not in (*FAULTS, UNPROCESSED):
                raise ValueError(f"there is no fault {name}; there are {', '.join((*FAULTS, UNPROCESSED))}")
            if not 0 <= rate <= 1:
                raise ValueError(f"the rate of {name} is {rate:g}; it goes from 0 to 1")
        if sum(rate for name, rate in self.of.items() if name != UNPROCESSED) > 1:
            raise ValueError("the rates of faults that befall whole requests are over 1 together")


@dataclass(frozen=True, slots=True)
class RequestFate:
    """What befalls one request; its random numbers decide about its items."""

    fault: Fault | None
    unprocessed: float
    random: Random

    def leave(self) -> bool:
        """Tell whether the next item stays unprocessed."""
        return self.unprocessed > 0 and self.random.random() < self.unprocessed


WELL: Final = RequestFate(None, 0.0, Random(0))
"""What every request meets where no fault is asked for."""


class FaultPlan:
    """Gives each request its fate."""

    def __init__(self, rates: Rates, seed: int) -> None:
        self.rates = rates
        self.seed = seed
        self._requests = 0

    def next(self) -> RequestFate:
        """Return the fate of the next request."""
        self._requests += 1
        if not self.rates.of:
            return WELL
        random = Random(self.seed << 32 | self._requests)
        drawn = random.random()
        for name in FAULTS:
            drawn -= self.rates.of.get(name, 0.0)
            if drawn < 0:
                return RequestFate(name, 0.0, random)
        return RequestFate(None, self.rates.of.get(UNPROCESSED, 0.0), random)
