"""Tell a hot partition key from a table that is short of capacity as a whole. Pure.

UnprocessedItems gives no reasons. But a table that is short rejects everybody's items alike, a hot partition
key only its own: within requests of which a part was rejected, a hot key's items fare far worse than others.
A request that was rejected as a whole for a hot partition names it, where it holds few partition keys: in
mode `newer` each request is an item.

Invariant: what is remembered is bounded.
"""

from collections.abc import Sequence
from dataclasses import field

from connectors.dynamodb.writing.recent import Recent
from engine.frozen import dataclass

REQUESTS_MIN = 3
"""In how many requests a key must have been rejected before it is called hot."""

SHARE_MIN = 0.5
"""At least this share of its items was rejected, and of the others' at most half of its share."""

FEW_PARTITIONS = 2
"""A request rejected for a hot partition tells which one only if it holds so few partition keys."""

KEYS_MAX = 4096


@dataclass(slots=True)
class _Tally:
    """By key: requests, items and rejected items; and all items of those requests."""

    keys: dict[int, list[int]] = field(default_factory=dict)
    items: int = 0
    rejected: int = 0

    def count(self, key: int, items: int, rejected: int) -> None:
        if len(self.keys) < KEYS_MAX or key in self.keys:
            of_key = self.keys.setdefault(key, [0, 0, 0])
            of_key[0] += 1
            of_key[1] += items
            of_key[2] += rejected


class HotKeys:
    """Counts rejections by partition key hash."""

    def __init__(self, now: float) -> None:
        self._recent = Recent(_Tally, now)

    def observe(self, partitions: Sequence[int], rejected: Sequence[int], now: float) -> set[int]:
        """Take in one request that was rejected in part, and return which partition keys are hot.

        Shape: `partitions` hashes of all items of the request, `rejected` those of the rejected ones; keys
        that are known to be hot left out of both.
        """
        self._recent.turn(now)
        tally, suspects = self._recent.now, set(rejected)
        tally.items += len(partitions)
        tally.rejected += len(rejected)
        for key in suspects:
            tally.count(key, partitions.count(key), rejected.count(key))
        return {key for key in suspects if self._hot(key)}

    def blame(self, keys: set[int], now: float) -> set[int]:
        """Take in a request of these keys that was rejected for a hot partition; return which are hot."""
        if len(keys) > FEW_PARTITIONS:
            return set()
        self._recent.turn(now)
        for key in keys:
            self._recent.now.count(key, 0, 0)
        return {key for key in keys if self._seen(key)[0] >= REQUESTS_MIN}

    def _seen(self, key: int) -> list[int]:
        now, before = (tally.keys.get(key, (0, 0, 0)) for tally in (self._recent.now, self._recent.before))
        return [one + other for one, other in zip(now, before, strict=True)]

    def _hot(self, key: int) -> bool:
        requests, items, rejected = self._seen(key)
        if requests < REQUESTS_MIN:
            return False
        others = self._recent.now.items + self._recent.before.items - items
        others_rejected = self._recent.now.rejected + self._recent.before.rejected - rejected
        share = rejected / items if items else 0.0
        return share >= SHARE_MIN and (others == 0 or others_rejected / others <= share / 2)
