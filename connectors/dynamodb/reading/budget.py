"""How many read units may be spent per second. Pure; the clock's time is handed in.

Invariant: what was spent beyond the rate is paid back in waiting before the next request.
"""

BURST_S = 1.0
"""Seconds of unused rate that are saved up."""


class Budget:
    """A rate of read units. Units: read units per second; None: no cap."""

    __slots__ = ("_at", "_rate", "_units", "spent")

    def __init__(self, rcu_per_s: float | None, now: float) -> None:
        self._rate = rcu_per_s
        self._units = 0.0 if rcu_per_s is None else rcu_per_s * BURST_S
        self._at = now
        self.spent = 0.0
        """Read units altogether."""

    def wait_s(self, now: float) -> float:
        """Return how long the next request has to wait. Units: seconds."""
        if self._rate is None:
            return 0.0
        self._units = min(self._rate * BURST_S, self._units + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, -self._units / self._rate)

    def spend(self, units: float) -> None:
        """Account for what a request consumed."""
        self.spent += units
        self._units -= units
