"""How wide to send: the number of requests in flight. Pure.

Invariant: the limit stays between FLIGHT_MIN and FLIGHT_MAX.
"""

from typing import Literal

from engine.throttle.decisions import ConcurrencyChanged, Tell, ignore

FLIGHT_MIN, FLIGHT_START, FLIGHT_MAX = 4, 16, 128
FAILURES_ROUND = 32
FAILING_SHARE, FAILING_MOST = 0.1, 0.5
FAILING_STILL = 0.7
"""Failures are judged over so many requests at least. Where more than FAILING_SHARE fail, fewer are sent;
where that leaves at least FAILING_STILL of the share, it was chance, which being fewer doesn't mend: then it
is taken back, and that share is expected, up to FAILING_MOST."""
SLOW_S = 0.020
"""Latency that is never held against the target: the event loop's own delays look like that."""
LATE = 8
"""An answer counts as at most so many times the best: one that is late says nothing of the others."""

BEST_FOR_S = 10.0
"""How long the best latency is believed."""


class ConcurrencyLimit:
    """How many requests may be in flight: more while that helps, fewer when the target slows down or fails.

    A round is as many answers as the limit. After each, the limit grows by an eighth if requests waited for
    it and the mean latency stayed near the best one; and shrinks a little if that went far above. It shrinks
    by a quarter where many fail, unless that turns out not to depend on how many are sent.
    """

    def __init__(self, now: float, limit: int = FLIGHT_START, tell: Tell = ignore) -> None:
        self.limit = limit
        self._tell = tell
        self._wanted = False
        self._answers = self._requests = self._failures = 0
        self._expected = FAILING_SHARE
        self._shrunk: tuple[int, float] | None = None
        """The limit before it shrank because of failures, and the share of them."""
        self._sum_s = 0.0
        self._best_s = self._next_best_s = float("inf")
        self._best_until = now + BEST_FOR_S

    def wanted(self) -> None:
        """Say that a request had to wait for another to end."""
        self._wanted = True

    def answered(self, seconds: float, now: float) -> None:
        """Learn from one answer."""
        if now >= self._best_until:
            self._best_s, self._next_best_s = self._next_best_s, float("inf")
            self._best_until = now + BEST_FOR_S
        if seconds < self._next_best_s:
            self._next_best_s = seconds
            self._best_s = min(self._best_s, seconds)
        self._sum_s += min(seconds, LATE * self._best_s + SLOW_S)
        self._answers += 1
        self._requests += 1
        if self._requests >= FAILURES_ROUND and self._requests >= self.limit:
            self._judge_failures()
        if self._answers >= self.limit:
            self._end_round()

    def failed(self) -> None:
        """Learn from a request that got no answer, or that of a server in trouble."""
        self._failures += 1
        self._requests += 1
        if self._requests >= FAILURES_ROUND and self._requests >= self.limit:
            self._judge_failures()

    def _end_round(self) -> None:
        mean_s = self._sum_s / self._answers
        if self._wanted and mean_s <= 2 * self._best_s + SLOW_S / 4:
            self._change("wanted", self.limit + max(1, self.limit // 8))
        elif mean_s > 4 * self._best_s + SLOW_S:
            self._change("slow", self.limit - max(1, self.limit // 16))
        self._answers = 0
        self._sum_s = 0.0
        self._wanted = False

    def _judge_failures(self) -> None:
        failing = self._failures / self._requests
        self._requests = self._failures = 0
        if failing <= self._expected:
            self._shrunk = None
            self._expected = max(FAILING_SHARE, min(self._expected, 2 * failing))
            return
        if self._shrunk is not None and FAILING_STILL * self._shrunk[1] <= failing <= FAILING_MOST:
            self._change("chance", max(self.limit, self._shrunk[0]))
            self._expected = min(2 * failing, FAILING_MOST)
            self._shrunk = None
            return
        self._shrunk = self.limit, failing
        self._change("failures", self.limit * 3 // 4)
        self._wanted = False

    def _change(self, why: Literal["wanted", "slow", "failures", "chance"], limit: int) -> None:
        was, self.limit = self.limit, max(FLIGHT_MIN, min(FLIGHT_MAX, limit))
        if self.limit != was:
            self._tell(ConcurrencyChanged(why, was, self.limit))
