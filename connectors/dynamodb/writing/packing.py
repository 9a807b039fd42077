"""A request's worth of items, put together out of several spans. Pure.

Invariant: no two items of a request have the same key, and it keeps the limits, but for a single item.
"""

from bisect import bisect_right

from connectors.dynamodb.writing.open_batch import OpenBatch
from connectors.dynamodb.writing.requests import ItemSpan


def fit(batch: OpenBatch, start: int, stop: int, items: int, nbytes: int, units: float) -> int:
    """Return how far the items from `start` on fit into what is left of a request."""
    stop = min(stop, start + items)
    if batch.offsets[stop] - batch.offsets[start] > nbytes:
        stop = bisect_right(batch.offsets, batch.offsets[start] + nbytes, start, stop + 1) - 1
    if batch.units[stop] - batch.units[start] > units:
        stop = bisect_right(batch.units, batch.units[start] + units, start, stop + 1) - 1
    return max(stop, start)


class Packing:
    """A request that is being put together."""

    def __init__(self, items_max: int, bytes_max: int, units_max: float) -> None:
        self._items_left = items_max
        self._bytes_left = bytes_max
        self._units_max = units_max
        self._keys: set[int] = set()
        self.spans: list[ItemSpan] = []
        self.items = 0
        self.units = 0
        self.room = True

    def clashes(self, span: ItemSpan) -> bool:
        """Say whether the request holds a key of this span already."""
        return not self._keys.isdisjoint(span.keys)

    def add(self, span: ItemSpan) -> ItemSpan | None:
        """Take in as much of a span as fits and return the rest; a single item fits into an empty request."""
        units_left = self._units_max - self.units
        stop = fit(span.batch, span.start, span.stop, self._items_left, self._bytes_left, units_left)
        if not self.spans:
            stop = max(stop, span.start + 1)
        if stop > span.start:
            taken = span._replace(stop=stop)
            self.spans.append(taken)
            self.items += stop - span.start
            self.units += taken.units
            self._items_left -= stop - span.start
            self._bytes_left -= span.batch.offsets[stop] - span.batch.offsets[span.start]
            self._keys.update(taken.keys)
        self.room = stop == span.stop and self._items_left > 0
        return span._replace(start=stop) if stop < span.stop else None
