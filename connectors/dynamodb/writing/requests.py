"""The items of one request, as spans of the batches that they come from. Pure.

Invariant: no two items of a request have the same key.
"""

from collections.abc import Iterator
from typing import NamedTuple

from connectors.dynamodb.writing.open_batch import OpenBatch
from engine.frozen import dataclass
from engine.tenure import NEVER
from engine.throttle.pace import Pace


class ItemSpan(NamedTuple):
    """Neighbouring items of one batch: `start` to `stop`, and what they have been through."""

    batch: OpenBatch
    start: int
    stop: int
    attempts: int = 0
    failing_since: float = NEVER

    @property
    def units(self) -> int:
        """Estimated write units."""
        return self.batch.units[self.stop] - self.batch.units[self.start]

    @property
    def partition(self) -> int:
        """The partition key hash of the first item."""
        return int(self.batch.encoded.partition_hashes[self.start])

    @property
    def keys(self) -> list[int]:
        """The hashes of the items' keys."""
        hashes: list[int] = self.batch.encoded.key_hashes[self.start : self.stop].tolist()
        return hashes

    @property
    def text(self) -> bytes:
        """The first item's wire text."""
        return self.batch.encoded.item(self.start)

    def one(self, index: int) -> "ItemSpan":
        """Return one item of this span."""
        return self._replace(start=index, stop=index + 1)


class LaneShare(NamedTuple):
    """What a hot key's lane has in a request."""

    partition: int
    pace: Pace
    epoch: int
    units: int


@dataclass(eq=False, slots=True)
class Request:
    """The items of one request.

    `asked`: what it asks about capacity; `again`: some were sent before.
    """

    spans: list[ItemSpan]
    items: int
    units: int
    shares: tuple[LaneShare, ...] = ()
    again: bool = False
    asked: int = 0

    def __iter__(self) -> Iterator[ItemSpan]:
        """Go through the items one by one, in the order of the request."""
        for span in self.spans:
            for index in range(span.start, span.stop):
                yield span.one(index)

    def halves(self) -> "tuple[Request, Request]":
        """Cut the request in two."""
        items = list(self)
        middle = len(items) // 2
        return request_of(items[:middle]), request_of(items[middle:])

    def one_and_rest(self, index: int) -> "tuple[Request, Request]":
        """Take one item out."""
        items = list(self)
        return request_of([items.pop(index)]), request_of(items)


def request_of(items: list[ItemSpan]) -> Request:
    """Make a request of these items."""
    again = any(item.attempts for item in items)
    return Request(items, len(items), sum(item.units for item in items), again=again)
