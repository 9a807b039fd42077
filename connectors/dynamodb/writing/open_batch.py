"""An encoded batch whose items are being written, and how each of them ended. Pure.

Invariant: an item is settled once; `unsettled` is 0 when the whole batch is. Once begun it keeps its index.
"""

import numpy as np

from connectors.dynamodb.writing.grouping import begun_first, in_groups
from engine.batch import (
    DELETED,
    OPEN,
    REFUSED,
    SKIPPED,
    WRITTEN,
    DeadLetter,
    EncodedBatch,
    Fates,
    WriteReport,
)

SHRINK, GROW = 0.5, 4.0
"""The share of their size that groups should have before what isn't begun is grouped anew, which takes a few
milliseconds for a large batch."""

ONE_WRITTEN = bytes((WRITTEN,))


class OpenBatch:
    """One encoded batch on its way, and the tally of its items. `stop`: no item from there on is begun."""

    def __init__(self, encoded: EncodedBatch) -> None:
        self.items = self.unsettled = self.stop = len(encoded)
        self.next = 0
        self.abandoned = False
        self._written = self._deleted = self._skipped = 0
        self._dead_letters: list[DeadLetter] = []
        self._letter_rows: list[int] = []
        self._fates = bytearray(self.items)
        self._rows = self._group_rows = float(max(1, encoded.batch.rows.num_rows))
        self._take(encoded)

    def _take(self, encoded: EncodedBatch) -> None:
        """Take the items in a certain order."""
        self.encoded = encoded
        self.offsets: list[int] = []
        self.units: list[int] = []
        """Write units of all items before an index."""
        # Only now, so that the lists of another order have made room.
        self.offsets = encoded.offsets.tolist()
        self.units = [0, *np.cumsum(encoded.units, dtype=np.int64).tolist()]
        self._deletes: list[int] | None = None
        if encoded.deletes.any():
            self._deletes = [0, *np.cumsum(encoded.deletes, dtype=np.int64).tolist()]

    @property
    def has_fresh(self) -> bool:
        """Whether there are items left to begin, for somebody who still waits for them."""
        return self.next < self.stop and not self.abandoned

    def group(self, items: float) -> None:
        """Put what isn't begun in the order of its rows, in groups of about so many items."""
        wanted = min(max(1.0, items * self._rows / self.items), self._rows)
        if self.next >= self.stop or self._group_rows * SHRINK <= wanted <= self._group_rows * GROW:
            return
        self._group_rows = wanted
        self._take(in_groups(self.encoded, self.next, int(wanted)))

    def finish_rows(self) -> None:
        """Begin no item any more but those of rows up to the last one that is begun."""
        encoded, left = begun_first(self.encoded, self.next)
        self._take(encoded)
        self.stop = self.next + left

    def beyond(self, index: int) -> bool:
        """Whether an item lies behind every row of which one is settled: then none of those waits for it."""
        settled = self.encoded.rows[np.frombuffer(bytes(self._fates), np.uint8) != OPEN]
        return not len(settled) or self.row(index) > int(settled.max())

    @property
    def without_gap(self) -> bool:
        """Whether no open item lies before a settled one, nor in its row."""
        waiting = np.flatnonzero(np.frombuffer(bytes(self._fates), np.uint8) == OPEN)
        return not len(waiting) or self.beyond(int(waiting[self.encoded.rows[waiting].argmin()]))

    def outcome(self) -> WriteReport | Fates:
        """Return what became of the batch: a report when every item is settled, else how each stands."""
        if self.unsettled:
            return self.fates()
        return WriteReport(self._written, self._deleted, self._skipped, tuple(self._dead_letters))

    def fates(self) -> Fates:
        """Return how the items stand."""
        fates = np.frombuffer(bytes(self._fates), np.uint8)
        fates = np.where(self.encoded.deletes & (fates == WRITTEN), np.uint8(DELETED), fates)
        return Fates(self.encoded.rows, fates, tuple(zip(self._letter_rows, self._dead_letters, strict=True)))

    def row(self, index: int) -> int:
        """Return an item's source row."""
        return int(self.encoded.rows[index])

    def is_delete(self, index: int) -> bool:
        """Whether an item is a delete."""
        return self._deletes is not None and self._deletes[index] < self._deletes[index + 1]

    def partitions(self, start: int, stop: int) -> list[int]:
        """Return the partition key hashes of some items."""
        hashes: list[int] = self.encoded.partition_hashes[start:stop].tolist()
        return hashes

    def applied(self, start: int, stop: int) -> int:
        """Settle items that are now in the table, or deleted from it; return how many were deletes."""
        deleted = self._deletes[stop] - self._deletes[start] if self._deletes is not None else 0
        self._deleted += deleted
        self._written += stop - start - deleted
        self.unsettled -= stop - start
        self._fates[start:stop] = ONE_WRITTEN * (stop - start)
        return deleted

    def skip(self, index: int) -> None:
        """Settle an item that rightly wasn't written."""
        self._skipped += 1
        self.unsettled -= 1
        self._fates[index] = SKIPPED

    def refuse(self, index: int, letter: DeadLetter) -> None:
        """Settle an item that can't be written."""
        self._dead_letters.append(letter)
        self._letter_rows.append(self.row(index))
        self.unsettled -= 1
        self._fates[index] = REFUSED
