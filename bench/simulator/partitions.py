"""The partitions of a table or an index: ranges of hashes, each with a rate of its own, that split. Pure.

Source: Developer Guide, "Partitions and data distribution", "Best practices for partition keys" and
"Burst and adaptive capacity": adaptive capacity is instant, so only the hard maximum of a partition counts.
"""

from bisect import bisect_right, insort
from math import ceil
from typing import Final

RING: Final = 1 << 64
SAMPLES: Final = 30
"""A peak is what was used on average over this share of the doubling time: a minute of thirty."""


class Partition:
    """One range of hashes, from `start` to the next one's start. Units: `level` units that are left."""

    __slots__ = ("at", "heat_since", "hot_until", "level", "places", "start")

    def __init__(self, start: int, level: float, now: float) -> None:
        self.start = start
        self.level = level
        self.at = now
        self.heat_since: float | None = None
        self.hot_until = now
        self.places: set[int] = set()
        """The first two places that throttled since `heat_since`: heat of one alone doesn't split."""

    def __lt__(self, other: "Partition") -> bool:
        return self.start < other.start


class Partitions:
    """All ranges together. Invariant: they cover the ring, sorted and without a gap.

    Growth spreads them anew as if every split lay just right; heat splits one where it is.
    """

    __slots__ = (
        *("_doubling_s", "_growing", "_grown_at", "_heat_s", "_parts", "_peak", "_rate", "_sample_at"),
        *("_sample_units", "_starts", "counts"),
    )

    def __init__(
        self, count: int, rate: float, now: float, *, heat_s: float, doubling_s: float | None = None
    ) -> None:
        """Set up. Units: `rate` per partition; `doubling_s` None: provisioned, doesn't grow by itself."""
        self._rate = rate
        self._heat_s = heat_s
        self._growing = doubling_s is not None
        self._doubling_s = doubling_s or 0.0
        self._spread(count, rate, now)
        self.counts = [(now, count)]
        """Every number of partitions there was, with the time from which it held."""
        self._grown_at = self._sample_at = now
        self._sample_units = self._peak = 0.0

    def __len__(self) -> int:
        return len(self._parts)

    def has(self, place: int, now: float) -> bool:
        """Tell whether the partition of a place has anything left; note its heat if not."""
        if self._growing and now - self._sample_at >= self._doubling_s / SAMPLES:
            self._sample(now)
        part = self._of(place)
        part.level = min(part.level + (now - part.at) * self._rate, self._rate)
        part.at = now
        if part.level > 0:
            return True
        self._heat(part, place, now)
        return False

    def take(self, place: int, units: float) -> None:
        """Take what `has` promised."""
        self._of(place).level -= units
        self._sample_units += units

    def offered(self, second: int) -> float:
        """Return what all partitions take in one second."""
        held = [count for at, count in self.counts if at <= second + 1]
        return (held[-1] if held else self.counts[0][1]) * self._rate

    def grow_to(self, count: int, now: float) -> None:
        """Spread the ring evenly over so many partitions, if there aren't as many yet."""
        if len(self._parts) < count:
            self._spread(count, 0.0, now)  # what was saved before doesn't come back
            self.counts.append((now, count))

    def starts(self) -> list[int]:
        """Return where each partition begins."""
        return list(self._starts)

    def _spread(self, count: int, level: float, now: float) -> None:
        self._parts = [Partition(RING * number // count, level, now) for number in range(count)]
        self._starts = [part.start for part in self._parts]

    def _of(self, place: int) -> Partition:
        return self._parts[bisect_right(self._starts, place) - 1]

    def _heat(self, part: Partition, place: int, now: float) -> None:
        """Note that a place was throttled; split when that has gone on for long enough."""
        if part.heat_since is None or now - part.hot_until > 1.0:  # a second without: not sustained
            part.heat_since = now
            part.places = set()
        part.hot_until = now
        if len(part.places) < 2:
            part.places.add(place)
        if now - part.heat_since >= self._heat_s and len(part.places) == 2:
            self._split(part, now)
            self.counts.append((now, len(self._parts)))

    def _split(self, part: Partition, now: float) -> None:
        number = self._parts.index(part)
        end = self._starts[number + 1] if number + 1 < len(self._starts) else RING
        middle = (part.start + end) // 2
        part.heat_since = None
        insort(self._parts, Partition(middle, 0.0, now))
        self._starts = [each.start for each in self._parts]

    def _sample(self, now: float) -> None:
        """Close a sample; let the partitions follow the peak to its double when the time has come."""
        capacity = self._rate * len(self._parts)  # more was saved, not sustained
        self._peak = max(self._peak, min(capacity, self._sample_units / (now - self._sample_at)))
        self._sample_units = 0.0
        self._sample_at = now
        if now - self._grown_at >= self._doubling_s:
            wanted = ceil(2 * self._peak / self._rate)
            self._grown_at, self._peak = now, 0.0
            self.grow_to(wanted, now)
