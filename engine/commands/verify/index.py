"""All that the source says, as sorted hashes on disk: 20 bytes an item, whatever the size of the table.

Invariant: of equal keys the one added last counts, or with ranks the first one that has the highest; what
`flush` has returned from is durable. Memory holds one unsorted part and what the system maps.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.commands.verify.digests import Hashes
from engine.commands.verify.ranks import Ranks

PART_RECORDS = 1_000_000

Places = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Records:
    """Items as hashes. `places`: where in the source each comes from, by number.

    Shape: `ranks` is None where of equal keys the last one counts.
    """

    keys: Hashes
    contents: Hashes
    places: Places
    ranks: Ranks | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def slice(self, start: int, end: int) -> "Records":
        """Return some of them, in their order."""
        ranks = None if self.ranks is None else self.ranks[start:end]
        return Records(self.keys[start:end], self.contents[start:end], self.places[start:end], ranks)

    def gather(self, order: npt.NDArray[np.int64]) -> "Records":
        """Return them in another order."""
        ranks = None if self.ranks is None else self.ranks[order]
        return Records(self.keys[order], self.contents[order], self.places[order], ranks)

    @property
    def ordered(self) -> "Records":
        """Return them by key, and by rank where they have one; equal ones as they were."""
        if self.ranks is None:
            return self.gather(np.argsort(self.keys, kind="stable"))
        return self.gather(np.lexsort((self.ranks, self.keys)))


def joined(parts: list[Records]) -> Records:
    """Return several as one."""
    if not parts:
        empty = np.empty(0, np.uint64)
        return Records(empty, empty, np.empty(0, np.uint32))
    return Records(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.contents for part in parts]),
        np.concatenate([part.places for part in parts]),
        None if parts[0].ranks is None else np.concatenate([part.ranks for part in parts]),
    )


class Parts:
    """Takes records in as they come and keeps them in sorted files `part-N`. Units: bytes of a rank, or 0."""

    def __init__(self, directory: Path, lengths: list[int], rank_bytes: int = 0) -> None:
        self._directory = directory
        self._rank_bytes = rank_bytes
        self.lengths = lengths
        self._held: list[Records] = []
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether it is time to flush."""
        return self._count >= PART_RECORDS

    def add(self, records: Records) -> None:
        """Take records in; later ones win over earlier ones."""
        self._held.append(records)
        self._count += len(records)

    def flush(self) -> int:
        """Write what is held as one more file and return its length in records; 0: nothing was held."""
        records = joined(self._held)
        self._held, self._count = [], 0
        if len(records):
            _write(self._path(len(self.lengths)), records.ordered)
            self.lengths.append(len(records))
        return len(records)

    def merge(self) -> int:
        """Write the files `keys`, `contents`, `places` and `seen` of all parts; return their length."""
        parts = [
            _mapped(self._path(number), length, self._rank_bytes)
            for number, length in enumerate(self.lengths)
        ]
        ranges = max(1, -(-sum(self.lengths) // PART_RECORDS))
        bounds = np.array([2**64 * each // ranges for each in range(1, ranges)], np.uint64)
        cuts = [[0, *np.searchsorted(part.keys, bounds).tolist(), len(part)] for part in parts]
        total = 0
        names = ("keys", "contents", "places")
        files = [(self._directory / name).open("wb") for name in names]
        try:
            for each in range(ranges):
                together = joined(
                    [part.slice(cut[each], cut[each + 1]) for part, cut in zip(parts, cuts, strict=True)]
                )
                left = _one_of_each(together)
                total += len(left)
                for name, file in zip(names, files, strict=True):
                    file.write(np.ascontiguousarray(getattr(left, name)).tobytes())
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        finally:
            for file in files:
                file.close()
        with (self._directory / "seen").open("wb") as seen:
            seen.truncate(total)
        return total

    def _path(self, number: int) -> Path:
        return self._directory / f"part-{number}"


class Index:
    """The merged files: which items there should be, and which of them were seen."""

    def __init__(self, directory: Path, length: int) -> None:
        self.length = length
        self._keys = _map(directory / "keys", np.uint64, length)
        self._contents = _map(directory / "contents", np.uint64, length)
        self._places = _map(directory / "places", np.uint32, length)
        self._seen = _map(directory / "seen", np.uint8, length, mode="r+")

    def find(self, keys: Hashes) -> npt.NDArray[np.int64]:
        """Return where each key is; -1: nowhere."""
        if not self.length:
            return np.full(len(keys), -1, np.int64)
        at = np.searchsorted(self._keys, keys)
        at[at == self.length] = 0
        return np.where(self._keys[at] == keys, at, -1)

    def at(self, positions: npt.NDArray[np.int64]) -> Records:
        """Return the records at positions."""
        return Records(
            np.asarray(self._keys[positions]),
            np.asarray(self._contents[positions]),
            np.asarray(self._places[positions]),
        )

    def mark(self, positions: npt.NDArray[np.int64]) -> None:
        """Remember that these were seen in the target."""
        self._seen[positions] = 1

    def sync(self) -> None:
        """Make the marks durable."""
        if isinstance(self._seen, np.memmap):
            self._seen.flush()

    def unseen(self) -> Iterator[Records]:
        """Yield what was not seen, in portions."""
        for start in range(0, self.length, PART_RECORDS):
            positions = np.flatnonzero(self._seen[start : start + PART_RECORDS] == 0) + start
            if len(positions):
                yield self.at(positions)


def _one_of_each(records: Records) -> Records:
    if records.ranks is not None:  # of equal ranks the first one counts: turned round, it is the last
        records = records.gather(np.arange(len(records) - 1, -1, -1))
    ordered = records.ordered
    last = np.ones(len(ordered), np.bool_)
    last[:-1] = ordered.keys[1:] != ordered.keys[:-1]
    return ordered.gather(np.flatnonzero(last))


def _write(path: Path, records: Records) -> None:
    with path.open("wb") as file:
        for array in (records.keys, records.contents, records.places, records.ranks):
            if array is not None:
                file.write(array.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _mapped(path: Path, length: int, rank_bytes: int) -> Records:
    size = 8 * length
    return Records(
        np.memmap(path, np.uint64, "r", 0, (length,)),
        np.memmap(path, np.uint64, "r", size, (length,)),
        np.memmap(path, np.uint32, "r", 2 * size, (length,)),
        np.memmap(path, f"S{rank_bytes}", "r", 2 * size + size // 2, (length,)) if rank_bytes else None,
    )


def _map(path: Path, dtype: type, length: int, mode: str = "r") -> npt.NDArray[np.generic]:
    if length == 0:
        return np.empty(0, dtype)
    mapped: npt.NDArray[np.generic] = np.memmap(path, dtype, mode, 0, (length,))  # type: ignore[call-overload]
    return mapped
