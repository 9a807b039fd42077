"""How fast to send: a rate in write units per second that finds the target's capacity. Pure.

Invariant: a Pace never hands out more than its cap times the time that passed, plus DEPTH_S of it.
"""

from typing import NamedTuple

DEPTH_S = 0.1
"""How much of a second's rate may be spent at once: 1 % over the cap in 10 s."""

BACK_OFF = 0.97
"""Where to go on, as a share of the rate that the target was seen to take."""

PLATEAU_S = 5.0
"""How long the way back to that rate takes; the rate lingers around it for twice as long."""

DOUBLING_S = 1.2
"""Beyond the plateau the limit must have moved: the rate doubles in this time."""

DECIDE_S = 0.2
DECIDE_ANSWERS = 4
"""How much must have been seen since a decrease before the next one."""

COLLAPSE_ANSWERS = 16
COLLAPSE_SHARE = 0.5
"""When so many answers leave less than this share accepted, the rate falls to it at once."""

FEW_SHARE = 0.75
"""Fewer answers than that prove little: one in four rejected may be chance, so the step is no larger."""

NOISE_MIN, NOISE_MAX = 0.002, 0.2
NOISE_STEPS = 5
NOISE_BELOW = 0.985
NOISE_FALL = 0.6
NOISE_HOLD_S, NOISE_HOLD_MAX_S = 10.0, 160.0
"""Rejections that stay the same share although the rate fell again and again aren't about the rate: a lasting
fault would otherwise slow the run down to nothing. So many decreases in a row prove it, each below this share
of the rate before it, or a fall of the rate by all of them together; it is believed for a time that doubles
whenever it proves true again."""

PARDON_S = 1.0
"""Decreases within this time may be taken back together, for twice as long."""

SAMPLE_S = 1.0
"""How far back the rate that the target takes is measured: this long up to twice as long."""

RATE_MIN = 1.0

GRAIN = 1e-6
"""Write units that nobody waits for: less than the clock can tell apart."""


class _Falls(NamedTuple):
    """Decreases in a row: what they met in all, the first's share of rejections, the rate before them.

    `alike`: each met about the first's share.
    """

    steps: int
    accepted: float
    rejected: float
    first: float
    rate: float
    alike: bool


class _Before(NamedTuple):
    """The rate before the first of the decreases that may be taken back."""

    at: float
    rate: float


_NO_FALLS = _Falls(0, 0.0, 0.0, 0.0, 0.0, alike=True)


class Pace:
    """A token bucket whose rate finds the target's capacity.

    It starts at `start` (infinite: until the first rejection nothing limits but the cap). When the target
    rejects, the rate falls to just below what was accepted, at most once per round trip; then it comes back
    along a cubic curve that is flat around that rate, and past it grows until the target rejects again.
    Only rejections of what was sent since the last decrease count: the others speak of a rate that is gone.
    Units: write units, seconds.
    """

    __slots__ = (
        "_accepted",
        "_age",
        "_answers",
        "_at",
        "_before",
        "_cap",
        "_ceiling",
        "_earlier",
        "_epoch",
        "_falls",
        "_learned",
        "_noise",
        "_noise_hold_s",
        "_noise_until",
        "_plateau_s",
        "_rejected",
        "_sampled_since",
        "_tokens",
        "rate",
    )

    def __init__(self, now: float, start: float = float("inf"), plateau_s: float = PLATEAU_S) -> None:
        self._cap = float("inf")
        self._learned = self._ceiling = start
        self._age = self._plateau_s = plateau_s
        self._noise = self._noise_until = 0.0
        self._falls = _NO_FALLS
        self._noise_hold_s = NOISE_HOLD_S
        self._before = _Before(-float("inf"), start)
        self._tokens = 0.0
        self._at = now
        self._epoch = 0
        self._accepted = self._rejected = 0.0
        self._answers = 0
        self._sampled_since: float | None = None
        self._earlier = (0.0, 0.0, 0, now)
        self.rate = start
        """Write units per second that may be sent now; infinite when nothing limits."""

    def cap(self, rate: float | None, now: float) -> None:
        """Never send more than `rate`; None: no cap."""
        self._advance(now)
        self._cap = float("inf") if rate is None else rate
        self._settle_rate()

    @property
    def lot_units(self) -> float:
        """How many units one request may hold, unless a single item holds more."""
        return self.rate * DEPTH_S

    def wait_s(self, units: float, now: float) -> float:
        """Return how long to wait until `units` may be sent; 0: now."""
        if self.rate == float("inf"):
            return 0.0
        self._advance(now)
        missing = min(units, self.rate * DEPTH_S) - self._tokens
        return missing / self.rate if missing > GRAIN else 0.0

    def take(self, units: float, now: float) -> int:
        """Spend `units` and return the epoch in which that was, to be handed to `settle`."""
        self._advance(now)
        if self.rate != float("inf"):
            self._tokens -= units
        return self._epoch

    def settle(
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
        if epoch != self._epoch:
            return
        if self._sampled_since is None or now - self._sampled_since > 2 * SAMPLE_S:
            self._forget()
            # A round trip passes before the first answer: it isn't a time in which nothing was taken.
            self._sampled_since = now
            self._earlier = (0.0, 0.0, 0, now)
        elif now - self._sampled_since > SAMPLE_S:
            self._earlier = (self._accepted, self._rejected, self._answers, self._sampled_since)
            self._accepted = self._rejected = 0.0
            self._answers = 0
            self._sampled_since = now
        self._accepted += consumed
        self._rejected += rejected
        self._answers += 1
        if rejected > 0.0:
            self._decrease(now)

    def pardon(self, now: float) -> None:
        """Take back what rejections did lately: they turned out to say nothing of the rate."""
        self._advance(now)
        at, rate = self._before
        if now - at <= 2 * PARDON_S and rate > self._learned:
            self._learned = self._ceiling = rate
            self._age = self._plateau_s
            self._settle_rate()
        self._falls = _NO_FALLS
        self._epoch += 1
        self._forget()

    def _decrease(self, now: float) -> None:
        accepted, rejected, answers, since = self._earlier
        accepted += self._accepted
        rejected += self._rejected
        answers += self._answers
        seen_s = now - since
        share = accepted / (accepted + rejected)
        collapsed = share < COLLAPSE_SHARE and answers >= COLLAPSE_ANSWERS
        if not collapsed and (seen_s < DECIDE_S or answers < DECIDE_ANSWERS):
            return
        if collapsed:
            self._falls = _NO_FALLS
        elif self._is_noise(accepted, rejected, answers, now):
            return
        elif answers < COLLAPSE_ANSWERS:
            share = max(share, FEW_SHARE)
        if now - self._before.at > PARDON_S:
            self._before = _Before(now, self._learned)
        offered = (accepted + rejected) / max(seen_s, 1e-3)
        # What was offered falls short of the rate a little by measuring, and much where we are the slow part.
        base = self._learned if offered > self._learned / 2 else offered
        self._ceiling = max(base * max(share, COLLAPSE_SHARE), RATE_MIN)
        self._learned = self._ceiling * BACK_OFF
        self._tokens = min(self._tokens, 0.0)
        self._age = 0.0
        self._epoch += 1
        self._forget()
        self._settle_rate()

    def _is_noise(self, accepted: float, rejected: float, answers: int, now: float) -> bool:
        """Say whether a share of rejections is just how the target is, whatever the rate."""
        lost = rejected / (accepted + rejected)
        if now >= self._noise_until:
            self._noise = 0.0
        few = answers < COLLAPSE_ANSWERS
        if self._noise and lost <= (COLLAPSE_SHARE if few else 1.3 * self._noise):
            return True
        if self._learned == float("inf"):
            return False
        goes_on = self._falls.steps and self._learned < self._ceiling * NOISE_BELOW
        falls = self._falls if goes_on else _NO_FALLS._replace(first=lost, rate=self._learned)
        self._falls = falls = _Falls(
            falls.steps + 1,
            falls.accepted + accepted,
            falls.rejected + rejected,
            falls.first,
            falls.rate,
            falls.alike and falls.first / 2 <= lost <= falls.first * 2,
        )
        lost = falls.rejected / (falls.accepted + falls.rejected)
        proved = falls.alike or self._learned <= NOISE_FALL * falls.rate
        if falls.steps < NOISE_STEPS or not proved or not NOISE_MIN <= lost <= NOISE_MAX:
            return False
        self._noise = lost
        self._noise_until = now + self._noise_hold_s
        self._noise_hold_s = min(2 * self._noise_hold_s, NOISE_HOLD_MAX_S)
        self._ceiling = self._learned = falls.rate
        self._age = 2 * self._plateau_s
        self._falls = _NO_FALLS
        self._settle_rate()
        return True

    def _forget(self) -> None:
        self._accepted = self._rejected = 0.0
        self._answers = 0
        self._sampled_since = None

    def _advance(self, now: float) -> None:
        """Fill the bucket; grow only for as long as the learned rate is what holds us back."""
        passed, self._at = now - self._at, now
        if passed <= 0.0 or self.rate == float("inf"):
            return
        depth = self.rate * DEPTH_S
        self._tokens += self.rate * passed
        if self._tokens >= depth:
            self._tokens = depth
        elif self._learned <= self._cap:
            self._age += passed
            self._learned = self._ceiling * _growth(self._age, self._plateau_s)
            self._settle_rate()

    def _settle_rate(self) -> None:
        self.rate = min(self._learned, self._cap)


def _growth(age: float, plateau_s: float) -> float:
    """Return the rate after `age` seconds as a share of the rate at which the target last rejected."""
    over = 1.0 - BACK_OFF
    if age <= 2 * plateau_s:
        return float(1.0 + over * ((age - plateau_s) / plateau_s) ** 3)
    return float((1.0 + over) * 2.0 ** min((age - 2 * plateau_s) / DOUBLING_S, 60.0))
