"""Tell a hot partition key from a table that is short of capacity as a whole. Pure.

UnprocessedItems gives no reasons. But a table that is short rejects everybody's items alike, a hot partition
key only its own: within requests of which a part was rejected, a hot key's items fare far worse than others.

Invariant: what is remembered is bounded; it covers the last WINDOW_S to twice that.
"""

from collections.abc import Sequence

WINDOW_S = 2.0
REQUESTS_MIN = 3
"""In how many requests a key must have been rejected before it is called hot."""

SHARE_MIN = 0.5
"""At least this share of its items was rejected, and of the others' at most half of its share."""

KEYS_MAX = 4096


class Heat:
    """Counts rejections by partition key hash, in requests that were rejected in part."""

    __slots__ = ("_items", "_now", "_rejected", "_since", "_was", "_was_items", "_was_rejected")

    def __init__(self, now: float) -> None:
        self._since = now
        self._now: dict[int, list[int]] = {}
        self._was: dict[int, list[int]] = {}
        self._items = self._rejected = self._was_items = self._was_rejected = 0

    def observe(self, partitions: Sequence[int], rejected: Sequence[int], now: float) -> set[int]:
        """Take in one request that was rejected in part, and return which partition keys are hot.

        Shape: `partitions` hashes of all items of the request, `rejected` those of the rejected ones; keys
        that are known to be hot left out of both.
        """
        self._turn(now)
        self._items += len(partitions)
        self._rejected += len(rejected)
        suspects = set(rejected)
        for key in suspects:
            if len(self._now) < KEYS_MAX or key in self._now:
                tally = self._now.setdefault(key, [0, 0, 0])
                tally[0] += 1
                tally[1] += partitions.count(key)
                tally[2] += rejected.count(key)
        return {key for key in suspects if self._hot(key)}

    def blame(self, keys: set[int], now: float) -> set[int]:
        """Take in a request of these few keys that was rejected for a hot partition; return which are hot."""
        self._turn(now)
        for key in keys:
            if len(self._now) < KEYS_MAX or key in self._now:
                self._now.setdefault(key, [0, 0, 0])[0] += 1
        return {
            key for key in keys if self._now.get(key, (0,))[0] + self._was.get(key, (0,))[0] >= REQUESTS_MIN
        }

    def _turn(self, now: float) -> None:
        """Begin a new window when the old one is over."""
        if now - self._since > WINDOW_S:
            stale = now - self._since > 2 * WINDOW_S
            self._was = {} if stale else self._now
            self._was_items, self._was_rejected = (0, 0) if stale else (self._items, self._rejected)
            self._now, self._items, self._rejected, self._since = {}, 0, 0, now

    def _hot(self, key: int) -> bool:
        now, was = self._now.get(key, (0, 0, 0)), self._was.get(key, (0, 0, 0))
        if now[0] + was[0] < REQUESTS_MIN:
            return False
        items, rejected = now[1] + was[1], now[2] + was[2]
        others = self._items + self._was_items - items
        others_rejected = self._rejected + self._was_rejected - rejected
        share = rejected / items if items else 0.0
        return share >= SHARE_MIN and (others == 0 or others_rejected / others <= share / 2)
