"""How fast to send: a token bucket whose rate finds the target's capacity. Pure.

Invariant: a Pace never hands out more than its cap times the time that passed, plus DEPTH_S of it.
"""

from engine.throttle.curve import PLATEAU_S
from engine.throttle.decisions import Tell, ignore
from engine.throttle.learned_rate import LearnedRate

DEPTH_S = 0.1
"""How much of a second's rate may be spent at once: 1 % over the cap in 10 s."""

GRAIN = 1e-6
"""Write units that nobody waits for: less than the clock can tell apart."""


class Pace:
    """A token bucket, filled at the rate that was learned, or at the cap. Units: write units, seconds.

    It starts at `start`; infinite: until the first rejection nothing limits but the cap.
    """

    def __init__(
        self,
        now: float,
        start: float = float("inf"),
        plateau_s: float = PLATEAU_S,
        tell: Tell = ignore,
    ) -> None:
        self._learned = LearnedRate(now, start, plateau_s, tell)
        self._cap = float("inf")
        self._tokens = 0.0
        self._at = now
        self._held = False
        """Whether somebody waits because of the rate."""
        self.rate = start
        """Write units per second that may be sent now; infinite when nothing limits."""

    def cap(self, rate: float | None, now: float) -> None:
        """Never send more than `rate`; None: no cap."""
        self._advance(now)
        self._cap = float("inf") if rate is None else rate
        self._set_rate()

    @property
    def request_units(self) -> float:
        """How many units one request may hold, unless a single item holds more."""
        return self.rate * DEPTH_S

    def wait_s(self, units: float, now: float) -> float:
        """Return how long to wait until `units` may be sent; 0: now."""
        if self.rate == float("inf"):
            return 0.0
        self._advance(now)
        missing = min(units, self.rate * DEPTH_S) - self._tokens
        self._held = missing > GRAIN
        return missing / self.rate if self._held else 0.0

    def take(self, units: float, now: float) -> int:
        """Spend `units` and return the epoch in which that was, to be handed to `account`."""
        if self.rate != float("inf"):
            self._advance(now)
            self._tokens -= units
        return self._learned.epoch

    def account(
        self,
        epoch: int,
        taken: float,
        consumed: float,
        rejected: float,
        now: float,
    ) -> None:
        """Correct what was taken by what was consumed, and learn from what was rejected.

        Rejected units are not handed out anew: what is offered stays below the rate.
        Units: `rejected` the estimate of what was not applied because the rate is too high; what was for
        another reason is in none of the three.
        """
        self._advance(now)
        if self.rate != float("inf"):
            self._tokens = min(self._tokens + taken - consumed - rejected, self.rate * DEPTH_S)
        if epoch == self._learned.epoch:
            if self._learned.observe(consumed, rejected, now):
                self._tokens = min(self._tokens, 0.0)
            if rejected > 0.0:
                self._set_rate()

    def pardon(self, now: float) -> None:
        """Take back what rejections did lately: they turned out to say nothing of the rate."""
        self._advance(now)
        self._learned.pardon(now)
        self._set_rate()

    def _advance(self, now: float) -> None:
        """Fill the bucket; grow only for as long as the learned rate is what holds us back."""
        passed, self._at = now - self._at, now
        if passed <= 0.0 or self.rate == float("inf"):
            return
        self._tokens = min(self._tokens + self.rate * passed, self.rate * DEPTH_S)
        if self._held and self._learned.rate <= self._cap:
            self._learned.grow(passed, now)
            self._set_rate()

    def _set_rate(self) -> None:
        self.rate = min(self._learned.rate, self._cap)
