"""Items that were never sent: whose turn it is among segments, and how many of a batch are begun together.

They go in the order of their batch, which is that of its rows wherever a batch takes longer than a moment
(see stride.py). After a drain only what settled rows wait for is begun.

Invariant: segments take turns, and a segment's batches keep their order.
"""

from collections import deque

from connectors.dynamodb.writing.open_batch import OpenBatch
from connectors.dynamodb.writing.stride import ITEMS_START, STRIDE_S
from engine.tenure import NEVER


class FreshItems:
    """The batches that have items left to begin, by segment."""

    def __init__(self) -> None:
        self._segments: dict[int, deque[OpenBatch]] = {}
        self.turns: deque[int] = deque()
        """Segments, the one whose turn it is first; turned by whoever begins items."""
        self._units_per_s = NEVER
        self.stride_items = float(ITEMS_START)
        self.draining = False

    def add(self, batch: OpenBatch) -> None:
        """Take in a batch."""
        if self.draining:
            batch.finish_rows()
            return
        segment = batch.encoded.batch.segment
        if segment not in self._segments:
            self._segments[segment] = deque()
            self.turns.append(segment)
            self._group(batch)
        self._segments[segment].append(batch)

    def stride(self, items: float, units_per_s: float) -> None:
        """Begin about so many items together, and at most STRIDE_S of work at this rate; see stride.py."""
        self.stride_items, self._units_per_s = max(items, 1.0), units_per_s
        for batches in self._segments.values():
            self._group(batches[0])

    def drain(self) -> None:
        """Begin no row any more, and only what settled rows wait for."""
        self.draining = True
        self.turns.clear()
        for batches in self._segments.values():
            for batch in batches:
                batch.finish_rows()

    def clear(self) -> None:
        """Forget all batches."""
        self._segments.clear()
        self.turns.clear()

    def head(self, segment: int) -> OpenBatch | None:
        """Return the batch of a segment that is being begun, if there is one."""
        batches = self._segments.get(segment)
        return batches[0] if batches and batches[0].has_fresh else None

    def next_batch(self) -> OpenBatch | None:
        """Return the batch whose turn it is."""
        while self.turns:
            segment = self.turns[0]
            batches = self._segments[segment]
            if batches[0].next < batches[0].stop and not batches[0].abandoned:
                return batches[0]
            batches.popleft()
            if batches:
                self._group(batches[0])
            else:
                del self._segments[segment]
                self.turns.popleft()
        return self._unfinished() if self.draining else None

    def _unfinished(self) -> OpenBatch | None:
        """Return a batch that has items left in rows that settled ones wait for."""
        for batches in self._segments.values():
            for batch in batches:
                if batch.has_fresh and not batch.beyond(batch.next):
                    return batch
        return None

    def _group(self, batch: OpenBatch) -> None:
        """Have a batch begin no more items together than its segment's share of the stride."""
        if not self.draining:
            in_pace = self._units_per_s * STRIDE_S * batch.items / batch.units[-1]
            batch.group(min(self.stride_items, in_pace) / len(self.turns))
