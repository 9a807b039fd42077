"""A request's worth of items, put together out of several runs. Pure.

Invariant: no two items of a lot have the same key, and it keeps the limits, but for a single item.
"""

from bisect import bisect_right

from connectors.dynamodb.writing.loads import Load, Run


def fit(load: Load, start: int, stop: int, items: int, nbytes: int, units: float) -> int:
    """Return how far the items from `start` on fit into what is left of a request."""
    stop = min(stop, start + items)
    if load.offsets[stop] - load.offsets[start] > nbytes:
        stop = bisect_right(load.offsets, load.offsets[start] + nbytes, start, stop + 1) - 1
    if load.units[stop] - load.units[start] > units:
        stop = bisect_right(load.units, load.units[start] + units, start, stop + 1) - 1
    return max(stop, start)


class Packing:
    """A lot that is being put together out of several runs."""

    __slots__ = (
        "_bytes_left",
        "_items_left",
        "_keys",
        "_units_max",
        "items",
        "room",
        "runs",
        "units",
    )

    def __init__(self, items_max: int, bytes_max: int, units_max: float) -> None:
        self._items_left = items_max
        self._bytes_left = bytes_max
        self._units_max = units_max
        self._keys: set[int] = set()
        self.runs: list[Run] = []
        self.items = 0
        self.units = 0
        self.room = True

    def clashes(self, run: Run) -> bool:
        """Say whether the lot holds a key of this run already."""
        return not self._keys.isdisjoint(self._hashes(run))

    def add(self, run: Run) -> Run | None:
        """Take in as much of a run as fits and return the rest; a single item fits into an empty lot."""
        stop = fit(
            run.load, run.start, run.stop, self._items_left, self._bytes_left, self._units_max - self.units
        )
        if not self.runs:
            stop = max(stop, run.start + 1)
        if stop > run.start:
            taken = run._replace(stop=stop)
            self.runs.append(taken)
            self.items += stop - run.start
            self.units += taken.units
            self._items_left -= stop - run.start
            self._bytes_left -= run.load.offsets[stop] - run.load.offsets[run.start]
            self._keys.update(self._hashes(taken))
        if stop < run.stop:
            self.room = False
            return run._replace(start=stop)
        self.room = self._items_left > 0
        return None

    @staticmethod
    def _hashes(run: Run) -> list[int]:
        hashes: list[int] = run.load.encoded.key_hashes[run.start : run.stop].tolist()
        return hashes
