"""Which items go into the next request. Pure: every call is told the time.

Leftovers of several batches are packed together, the earliest rows first, and filled up with fresh items.
Items of a hot partition key wait in a lane of their own, with its own pace, and ride along as that allows.

Invariant: every item of a batch is in exactly one place: fresh, waiting to be sent again, in a lane, in a
request on its way, or settled. No two items of a request have the same key.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from math import ceil

from connectors.dynamodb.writing.fresh_items import FreshItems
from connectors.dynamodb.writing.hot_lanes import HotLanes
from connectors.dynamodb.writing.open_batch import OpenBatch
from connectors.dynamodb.writing.packing import Packing, fit
from connectors.dynamodb.writing.requests import ItemSpan, Request
from engine.tenure import NEVER

GATHER_S = 0.05
"""Leftovers ripen in steps of this, so that they meet and fill requests."""


class SendQueue:
    """All that waits to be sent.

    Ordering: halves of a refused request first, then hot keys as far as their pace allows, then what is to be
    sent again, then fresh items, one segment after another in turn and each segment's batches in their order.
    """

    def __init__(self, items_max: int, bytes_max: int, lanes: HotLanes) -> None:
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._lanes = lanes
        self._as_they_are: deque[Request] = deque()
        self._again: list[tuple[int, int, int, ItemSpan]] = []
        """Ripe, as a heap: the earliest batch and row first, for what others' acks wait for."""
        self._later: list[tuple[float, int, ItemSpan]] = []
        self._numbers = 0
        self.fresh = FreshItems()

    def again(self, spans: Iterable[ItemSpan], at: float) -> None:
        """Send these again, not before `at`, and together with what else ripens then."""
        at = ceil(at / GATHER_S) * GATHER_S
        for span in spans:
            self._numbers += 1
            heapq.heappush(self._later, (at, self._numbers, span))

    def next(self, requests: Iterable[Request]) -> None:
        """Send these next, each as it is."""
        self._as_they_are.extend(requests)

    def clear(self) -> None:
        """Forget everything that waits."""
        for waiting in (self._as_they_are, self._again, self._later, self.fresh, self._lanes):
            waiting.clear()

    def next_at(self, now: float) -> float:
        """Return when something will be ready that isn't; NEVER when nothing waits for its time."""
        return min(self._lanes.next_at(now), self._later[0][0] if self._later else NEVER)

    def take(self, now: float, units_max: float) -> Request | None:
        """Return the next request, or None when nothing is ready.

        Units: `units_max` write units, exceeded only by a single item that is larger.
        """
        if self._as_they_are:
            return self._as_they_are.popleft()
        while self._later and self._later[0][0] <= now:
            self._ripen(heapq.heappop(self._later)[2])
        if self._again or self._lanes.by_key:
            return self._pack(now, units_max)
        batch = self.fresh.next_batch()
        if batch is None:
            return None
        stop = batch.next + 1
        if self._items_max > 1:
            stop = max(stop, fit(batch, batch.next, batch.stop, self._items_max, self._bytes_max, units_max))
        span = ItemSpan(batch, batch.next, stop)
        batch.next = stop
        self.fresh.turns.rotate(-1)
        return Request([span], stop - span.start, span.units)

    def _pack(self, now: float, units_max: float) -> Request | None:
        """Make a request out of whatever is ready, item keys being told apart."""
        packing = Packing(self._items_max, self._bytes_max, units_max)
        shares = self._lanes.ride_along(packing, now)
        self._pack_again(packing)
        while packing.room and (batch := self.fresh.next_batch()) is not None:
            if not self._begin(packing, batch, self._items_max):
                break
            self.fresh.turns.rotate(-1)
        if not packing.spans:
            return None
        again = any(span.attempts for span in packing.spans)
        return Request(packing.spans, packing.items, packing.units, shares, again=again)

    def _pack_again(self, packing: Packing) -> None:
        """Put what was sent before into a request."""
        held_back: list[ItemSpan] = []
        while self._again and packing.room:
            if (batch := self._earlier()) is not None:
                if not self._begin(packing, batch, 1):
                    break
                continue
            span = heapq.heappop(self._again)[3]
            # Spans of several items are told apart by lanes only when they come back.
            if span.batch.abandoned or (self._lanes.by_key and self._lanes.take_in(span)):
                continue
            if packing.clashes(span) or (self.fresh.draining and span.batch.beyond(span.start)):
                held_back.append(span)
            elif (rest := packing.add(span)) is not None:
                self._ripen(rest)
                break
        for span in held_back:
            self._ripen(span)

    def _earlier(self) -> OpenBatch | None:
        """Return the batch whose next item lies before all that is ripe to be sent again in its segment.

        That matters where what was rejected is a stride of work already.
        """
        if len(self._again) + len(self._later) <= self.fresh.stride_items:
            return None
        sequence, row, _, span = self._again[0]
        batch = self.fresh.head(span.batch.encoded.batch.segment)
        if batch is None or (batch.encoded.batch.sequence, batch.row(batch.next)) >= (sequence, row):
            return None
        return batch

    def _begin(self, packing: Packing, batch: OpenBatch, items_max: int) -> bool:
        """Put the next items of a batch into a request, but for hot ones; say whether it may take more."""
        stop = min(batch.next + self._items_max, batch.stop)
        cool = self._lanes.cool_until(batch, stop)
        span = ItemSpan(batch, batch.next, min(cool, batch.next + items_max))
        if span.start == span.stop:
            self._lanes.divert(batch, stop)
            return True
        if packing.clashes(span):
            return False
        rest = packing.add(span)
        batch.next = span.stop if rest is None else rest.start
        return batch.next > span.start

    def _ripen(self, span: ItemSpan) -> None:
        """Have a span wait for the next request."""
        self._numbers += 1
        place = (span.batch.encoded.batch.sequence, span.batch.row(span.start), self._numbers, span)
        heapq.heappush(self._again, place)
