"""How long an answer takes: a log-normal distribution given by its median and its 99th percentile. Pure."""

from dataclasses import dataclass
from math import exp, log
from random import Random
from typing import Final

P99_SIGMAS: Final = 2.3263
"""How far the 99th percentile of a normal distribution lies from its middle."""
TAIL: Final = 2.0
"""The 99th percentile is so many medians if it isn't said."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Units: seconds. A median of 0: answers go out at once."""

    median_s: float = 0.0
    p99_s: float = 0.0

    @classmethod
    def of_ms(cls, median_ms: float, p99_ms: float | None = None) -> "Latency":
        """Build from milliseconds; the tail is twice the median if not given."""
        p99 = median_ms * TAIL if p99_ms is None else p99_ms
        return cls(median_ms / 1000, max(p99, median_ms) / 1000)

    def draw(self, random: Random) -> float:
        """Return one answer's time."""
        if self.median_s <= 0:
            return 0.0
        sigma = log(self.p99_s / self.median_s) / P99_SIGMAS
        return self.median_s * exp(random.gauss(0.0, sigma))
