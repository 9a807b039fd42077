"""How wide to send: the number of requests in flight. Pure.

Invariant: the limit stays between FLIGHT_MIN and FLIGHT_MAX.
"""

FLIGHT_MIN, FLIGHT_START, FLIGHT_MAX = 4, 16, 128
FAILURES_MIN = 3
"""Fewer failures in a round are no sign, however short the round."""
SLOW_S = 0.020
"""Latency that is never held against the target: the event loop's own delays look like that."""


class Gate:
    """How many requests may be in flight: more while that helps, fewer when the target slows down or fails.

    A round is as many answers or failures as the limit. After each, the limit shrinks by a quarter if more
    than a tenth failed; grows by an eighth if requests waited for it and the mean latency stayed near the
    best one; and shrinks a little if that went far above.
    """

    __slots__ = (
        "_answers",
        "_best_s",
        "_best_until",
        "_failures",
        "_next_best_s",
        "_sum_s",
        "_wanted",
        "limit",
    )

    BEST_FOR_S = 10.0
    """How long the best latency is believed."""

    def __init__(self, now: float, limit: int = FLIGHT_START) -> None:
        self.limit = limit
        self._wanted = False
        self._answers = self._failures = 0
        self._sum_s = 0.0
        self._best_s = self._next_best_s = float("inf")
        self._best_until = now + self.BEST_FOR_S

    def wanted(self) -> None:
        """Say that a request had to wait for another to end."""
        self._wanted = True

    def answered(self, seconds: float, now: float) -> None:
        """Learn from one answer."""
        if now >= self._best_until:
            self._best_s, self._next_best_s = self._next_best_s, float("inf")
            self._best_until = now + self.BEST_FOR_S
        self._best_s = min(self._best_s, seconds)
        self._next_best_s = min(self._next_best_s, seconds)
        self._sum_s += seconds
        self._answers += 1
        self._end_round()

    def failed(self) -> None:
        """Learn from a request that got no answer, or that of a server in trouble."""
        self._failures += 1
        self._end_round()

    def _end_round(self) -> None:
        if self._answers + self._failures < self.limit:
            return
        mean_s = self._sum_s / self._answers if self._answers else 0.0
        if self._failures >= FAILURES_MIN and self._failures * 10 > self._answers + self._failures:
            self.limit = max(FLIGHT_MIN, self.limit * 3 // 4)
        elif self._wanted and mean_s <= 2 * self._best_s + SLOW_S / 4:
            self.limit = min(FLIGHT_MAX, self.limit + max(1, self.limit // 8))
        elif mean_s > 4 * self._best_s + SLOW_S:
            self.limit = max(FLIGHT_MIN, self.limit - max(1, self.limit // 16))
        self._answers = self._failures = 0
        self._sum_s = 0.0
        self._wanted = False
