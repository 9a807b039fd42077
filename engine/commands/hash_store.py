"""Hashes on disk, more of them than fit in memory: taken in as they come, given back by key.

    store = HashStore(directory, np.dtype(np.uint64))   # or records with a field `key`
    for hashes in ...:
        store.add(hashes)                               # writes a sorted part whenever enough is held
    for together in store.merged():                     # ascending; a range of keys at a time
        ...

Invariant: what was added comes out once. Equal keys are in one range, in the order in which they were added.
Memory holds one part's worth, and what the system maps; hashes must be spread evenly over 64 bits.
"""

import itertools
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.commands.room import on_disk
from engine.own_files import created, sync_directory

PART_RECORDS = 1_000_000
OPEN_MAX = 256
"""Up to so many parts are mapped all the time; of more, each is when something is taken from it.

Each takes a descriptor, of which a process often has 1,024, and whoever reads for half a minute makes a part.
"""

Records = npt.NDArray[Any]
"""Hashes, or records with a hash under `key`."""


class HashStore:
    """Sorted parts, `part-N` in a directory. `parts`: how many of those there already count.

    `advice` says where room comes from when the disk is full.
    """

    def __init__(
        self, directory: Path, dtype: np.dtype[Any], *, parts: int = 0, durable: bool = False, advice: str
    ) -> None:
        self._directory = directory
        self._dtype = dtype
        self._durable = durable
        self._advice = advice
        self.parts = parts
        """Parts that are written; with `durable` they outlive the machine's end."""
        self._held: list[Records] = []
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether a part's worth is held."""
        return self._count >= PART_RECORDS

    def add(self, records: Records) -> None:
        """Take records in, after all earlier ones. The caller flushes once `full`."""
        self._held.append(records)
        self._count += len(records)

    def flush(self) -> None:
        """Write what is held as one more part. Raises: PermanentError when the disk is full."""
        if not self._count:
            return
        records = _by_key(joined(self._held, self._dtype))
        self._held, self._count = [], 0
        with on_disk(self._directory, self._advice), created(self._path(self.parts)) as file:
            records.tofile(file)
            if self._durable:
                os.fsync(file.fileno())
        self.parts += 1

    @property
    def records(self) -> int:
        """How many records are there, written or held."""
        sizes = (self._path(number).stat().st_size for number in range(self.parts))
        return sum(sizes) // self._dtype.itemsize + self._count

    def adopt(self, directory: Path) -> None:
        """Take the parts over that another store has written in a directory, behind all there are."""
        for number in itertools.count():
            if not (part := directory / f"part-{number}").exists():
                return
            part.rename(self._path(self.parts))
            if self._durable:
                sync_directory(self._directory)
            self.parts += 1

    def merged(self) -> Iterator[Records]:
        """Yield all records by key, those of a range at a time; what is held is written first."""
        self.flush()
        kept = [self._mapped(number) for number in range(self.parts)] if self.parts <= OPEN_MAX else None
        ranges = -(-self.records // PART_RECORDS)
        begins = [0] * self.parts
        for number in range(1, ranges + 1):
            bound = None if number == ranges else np.uint64(2**64 * number // ranges)
            cut = []
            for at, begin in enumerate(begins):
                part = self._mapped(at) if kept is None else kept[at]
                begins[at] = len(part) if bound is None else bisect_left(keys_of(part), bound)
                some = part[begin : begins[at]]
                cut.append(np.array(some) if kept is None else some)
                del part, some  # or it would stay mapped
            yield _by_key(joined(cut, self._dtype))

    def _mapped(self, number: int) -> Records:
        return np.memmap(self._path(number), self._dtype, "r")

    def _path(self, number: int) -> Path:
        return self._directory / f"part-{number}"


def keys_of(records: Records) -> npt.NDArray[np.uint64]:
    """Return the hashes by which records are sorted."""
    return records if records.dtype.names is None else records["key"]


def repeated(records: Records) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return where each key begins in a range of `merged`, and how many records have it."""
    keys = keys_of(records)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))[: len(keys)])
    return starts, np.diff(np.append(starts, len(keys)))


def joined(parts: Sequence[Records], dtype: np.dtype[Any]) -> Records:
    """Return several as one. As bytes, since NumPy takes three times as long field by field."""
    return np.concatenate([part.view(_as_bytes(dtype)) for part in parts]).view(dtype)


def taken(records: Records, order: npt.NDArray[np.int64]) -> Records:
    """Return records in another order."""
    return records.view(_as_bytes(records.dtype)).take(order).view(records.dtype)


def _by_key(records: Records) -> Records:
    if records.dtype.names is None:
        return np.sort(records)
    return taken(records, np.argsort(records["key"], kind="stable"))


def _as_bytes(dtype: np.dtype[Any]) -> np.dtype[np.void]:
    return np.dtype((np.void, dtype.itemsize))
