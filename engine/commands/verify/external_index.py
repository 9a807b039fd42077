"""The external index: all that the source says, as sorted hashes on disk, 20 bytes an item.

Invariant: of equal keys the one added last counts, or with versions the first one that has the highest.
Memory holds one part of the store and what the system maps.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.commands.hash_store import PART_RECORDS, HashStore, Records, taken
from engine.commands.verify.version_order import RANK_BYTES
from engine.contracts.readback import Hashes
from engine.own_files import created

NO_ROOM = "--state names another place, on a disk with 40 bytes for each item"

_COLUMNS: Mapping[str, np.dtype[Any]] = {
    "key": np.dtype(np.uint64),
    "content": np.dtype(np.uint64),
    "row_range": np.dtype(np.uint32),
}


def record_type(*, ranked: bool) -> np.dtype[Any]:
    """Return the type of an item's record: its hashes, the range of its row, the rank of its version."""
    rank = [("rank", f"S{RANK_BYTES}")] if ranked else []
    return np.dtype([*_COLUMNS.items(), *rank])


def build(directory: Path, store: HashStore) -> int:
    """Write the index's files from a store, one item of each key; return how many items there are."""
    total = 0
    with ExitStack() as stack:
        files = {name: stack.enter_context(created(directory / name)) for name in _COLUMNS}
        for together in store.merged():
            left = _one_of_each(together)
            total += len(left)
            for name, file in files.items():
                np.ascontiguousarray(left[name]).tofile(file)
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    with created(directory / "seen") as seen:
        for start in range(0, total, PART_RECORDS):  # a hole would be room that isn't there when it is marked
            np.zeros(min(PART_RECORDS, total - start), np.uint8).tofile(seen)
    return total


class ExternalIndex:
    """Which items there should be, and which of them were seen. By position: `contents`, `row_ranges`."""

    def __init__(self, directory: Path, length: int) -> None:
        self._length = length
        self._keys, self.contents, self.row_ranges = (
            _mapped(directory / name, dtype, length) for name, dtype in _COLUMNS.items()
        )
        self._seen = _mapped(directory / "seen", np.dtype(np.uint8), length, mode="r+")

    def find(self, keys: Hashes) -> npt.NDArray[np.int64]:
        """Return where each key is; -1: nowhere."""
        if not self._length:
            return np.full(len(keys), -1, np.int64)
        at = np.searchsorted(self._keys, keys)
        at[at == self._length] = 0
        return np.where(self._keys[at] == keys, at, -1)

    def mark(self, positions: npt.NDArray[np.int64]) -> None:
        """Remember that these were seen in the target."""
        self._seen[positions] = 1

    def sync(self) -> None:
        """Make the marks durable."""
        if isinstance(self._seen, np.memmap):
            self._seen.flush()

    def unseen(self) -> Iterator[tuple[Hashes, Hashes, npt.NDArray[np.uint32]]]:
        """Yield keys, contents and row ranges of what was not seen, in portions."""
        for start in range(0, self._length, PART_RECORDS):
            at = np.flatnonzero(self._seen[start : start + PART_RECORDS] == 0) + start
            if len(at):
                yield self._keys[at], self.contents[at], self.row_ranges[at]


def _one_of_each(together: Records) -> Records:
    """Return of each key what counts; they come by key, equal ones in the order of adding."""
    if together.dtype.names is not None and "rank" in together.dtype.names:
        # Of equal ranks the first one counts: turned round, it is the last.
        turned = together[::-1]
        together = taken(np.ascontiguousarray(turned), np.lexsort((turned["rank"], turned["key"])))
    last = np.ones(len(together), np.bool_)
    last[:-1] = together["key"][1:] != together["key"][:-1]
    return taken(together, np.flatnonzero(last))


def _mapped(path: Path, dtype: np.dtype[Any], length: int, mode: str = "r") -> npt.NDArray[Any]:
    if length == 0:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode, 0, (length,))  # type: ignore[call-overload,no-any-return]
