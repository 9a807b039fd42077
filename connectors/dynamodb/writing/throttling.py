"""Who is slowed down by an answer: the table's rate, a hot key's lane, the number in flight, or everybody.

Invariant: a rejection lowers the rate of whom it is about, and of nobody else.
"""

from collections.abc import Callable, Sequence
from random import Random

from connectors.dynamodb.writing.answers import Cause
from connectors.dynamodb.writing.circuit_breaker import CircuitBreaker
from connectors.dynamodb.writing.decisions import RejectionsJudged, SentAgain
from connectors.dynamodb.writing.hot_keys import HotKeys
from connectors.dynamodb.writing.hot_lanes import HotLanes
from connectors.dynamodb.writing.locality import Locality
from connectors.dynamodb.writing.recent import WINDOW_S
from connectors.dynamodb.writing.requests import ItemSpan, Request
from connectors.dynamodb.writing.settings import WriterSettings
from engine.retry import RetryPolicy
from engine.throttle.concurrency import ConcurrencyLimit
from engine.throttle.decisions import Tell
from engine.throttle.pace import Pace

REJECTED = RetryPolicy(0.02, 0.5)
"""Pauses of rejected items. Short, because the pace is what spares the table."""

REJECTED_OFTEN = 2
"""Rejected once or twice an item is how the rate finds its place; more is told of."""

FAILED, FAILED_BY_CHANCE = RetryPolicy(0.05, 5.0), RetryPolicy(0.05, 0.2)
CHANCE_S = 1.0
"""Pauses of items whose request failed: short ones while others have succeeded within the last CHANCE_S, for
it was chance then, and a batch waits for the last of its items."""


class Throttling:
    """All that slows requests down, and what it learns from answers."""

    def __init__(
        self,
        settings: WriterSettings,
        notice: Callable[[str], None],
        random: Random,
        now: float,
        tell: Tell,
    ) -> None:
        self.pace = Pace(now, settings.wcu_start, tell=tell)
        self.concurrency = ConcurrencyLimit(now, tell=tell)
        self.breaker = CircuitBreaker(settings.table, settings.give_up_after_s, notice, random, tell)
        self.lanes = HotLanes(tell)
        self._hot_keys = HotKeys(now)
        self._locality = Locality(now)
        self._local = False
        """Whether what is rejected lately is the affair of some partitions."""
        self._watched_until = now
        """Until then answers without a rejection are evidence too."""
        self._random = random
        self._tell = tell

    def answered(self, seconds: float, now: float) -> None:
        """Take in an answer of a target that works, whatever it says."""
        self.concurrency.answered(seconds, now)
        self.breaker.succeeded(now)

    def failed(self, detail: str, now: float) -> None:
        """Take in a request that nobody answered. Raises: RetriesExhausted."""
        self.concurrency.failed()
        self.breaker.failed(detail, now)

    def rejection_pause_s(self, attempt: int = 1, items: int = 0) -> float:
        """Return how long so many rejected items wait before repetition `attempt`."""
        pause_s = REJECTED.pause_s(attempt, self._random)
        if items and attempt > REJECTED_OFTEN:
            self._tell(SentAgain("rejected", items, attempt, pause_s))
        return pause_s

    def failure_pause_s(self, spans: Sequence[ItemSpan], now: float) -> float:
        """Return how long the items of a failed request wait before they are sent again."""
        policy = FAILED if self.breaker.lasts_s(now) > CHANCE_S else FAILED_BY_CHANCE
        attempt = spans[0].attempts + 1
        pause_s = policy.pause_s(attempt, self._random)
        self._tell(SentAgain("failed", sum(span.stop - span.start for span in spans), attempt, pause_s))
        return pause_s

    def find_hot_keys(
        self, items: Sequence[ItemSpan], rejected: Sequence[ItemSpan], cause: Cause, now: float
    ) -> None:
        """Give lanes to the partition keys that prove to be hot by what was rejected of a request."""
        # Only what is rejected for the first time is evidence: one item again and again makes no key hot.
        suspects = [
            item.partition
            for item in rejected
            if not item.attempts and item.partition not in self.lanes.by_key
        ]
        hot: set[int] = set()
        if suspects and len(rejected) < len(items):
            everybody = [
                partition for item in items if (partition := item.partition) not in self.lanes.by_key
            ]
            hot = self._hot_keys.observe(everybody, suspects, now)
        elif suspects and cause == "partition":
            hot = self._hot_keys.blame(set(suspects), now)
        for partition in hot:
            self.lanes.give(partition, now)
        if hot:
            self.pace.pardon(now)

    def account(
        self,
        request: Request,
        epoch: int,
        spent: float,
        rejected: Sequence[ItemSpan],
        cause: Cause,
        now: float,
    ) -> None:
        """Tell the paces what was spent and what was rejected; a hot key's rejections are its own affair."""
        lost = self._lost(request, rejected, cause, now) if rejected or now < self._watched_until else 0
        self.pace.account(epoch, request.units, spent, lost, now)
        for share in request.shares:
            own = sum(item.units for item in rejected if item.partition == share.partition)
            share.pace.account(share.epoch, share.units, share.units - own, own, now)

    def _lost(self, request: Request, rejected: Sequence[ItemSpan], cause: Cause, now: float) -> int:
        """Return the units that were rejected for the rate: none where rejections stick to some items."""
        lanes = self.lanes.by_key
        if rejected:
            self._watched_until = now + 2 * WINDOW_S
        cool = [item for item in rejected if item.partition not in lanes]
        spans = [span for span in request.spans if span.partition not in lanes] if lanes else request.spans
        again = sum(span.stop - span.start for span in spans if span.attempts)
        again_rejected = sum(1 for item in cool if item.attempts)
        items = sum(span.stop - span.start for span in spans)
        self._locality.observe(items - again, len(cool) - again_rejected, again, again_rejected, now)
        local = self._locality.local(now, suspected=bool(lanes)) and cause != "table"
        if local != self._local:
            self._local = local
            self._tell(RejectionsJudged(local))
            if local:
                self.pace.pardon(now)
        return 0 if local else sum(item.units for item in cool)
