"""Stand-ins that cut a pipeline off: a source that ends early, and what takes the place of later stages.

Invariant: whatever they leave out, counts still balance, so that the ledger takes them for the real thing.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from engine.batch import Batch, Counts, Cursor, EncodedBatch, Fates, Mark, Segment, WriteReport
from engine.contracts.source import RowReading
from engine.contracts.target import Taken, Target
from engine.contracts.transform import RuleItems, RuleShape, Transform

PREPARED_BYTES_MAX = 128 * 2**20
"""Encoded items that are held for writing alone."""


@dataclass(slots=True)
class StageTally:
    """What passed. Units: bytes of rows and of items' text, write units of the table."""

    counts: Counts = field(default_factory=Counts)
    row_bytes: int = 0
    text_bytes: int = 0
    wcu: int = 0

    def mark(self, mark: Mark) -> None:
        """Add what a mark covers."""
        self.counts += mark.counts


@dataclass(slots=True)
class Limited:
    """A reading that ends after so many rows, or the batch with the last of them."""

    inner: RowReading
    rows: int

    @property
    def notices(self) -> Sequence[str]:
        """Nothing to tell."""
        return ()

    async def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        """Read until there have been enough."""
        async with aclosing(self.inner.read(segment, after)) as batches:
            if self.rows <= 0:
                return
            async for batch in batches:
                self.rows -= batch.rows.num_rows
                yield batch
                if self.rows <= 0:
                    return


@dataclass(slots=True)
class CountingTarget:
    """The target, with what passes it counted."""

    inner: Target
    tally: StageTally

    def encode(self, batch: Batch, items: Sequence[RuleItems]) -> EncodedBatch:
        """Encode, and count."""
        encoded = self.inner.encode(batch, items)
        self.tally.text_bytes += len(encoded.text)
        self.tally.wcu += int(encoded.units.sum())
        return encoded

    async def write(self, encoded: EncodedBatch) -> WriteReport | Fates | Taken:
        """Write."""
        return await self.inner.write(encoded)

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        """Return how the items stand."""
        return self.inner.progress(encoded)

    def drain(self) -> None:
        """Begin nothing new."""
        self.inner.drain()

    def flush(self) -> None:
        """Do nothing: items are acked one by one."""

    def limit(self, units_per_s: float | None) -> None:
        """Set the cap."""
        self.inner.limit(units_per_s)

    async def close(self) -> None:
        """Leave the inner target to who opened it."""


@dataclass(slots=True)
class NoTransform:
    """The rules, not applied."""

    inner: Transform

    @property
    def rules(self) -> Sequence[RuleShape]:
        """What each rule would give."""
        return self.inner.rules

    def __call__(self, batch: Batch) -> Sequence[RuleItems]:
        """Give no items."""
        del batch
        return ()


@dataclass(slots=True)
class NoEncoding:
    """A target for which batches hold no items; it counts the rows' bytes."""

    tally: StageTally

    def encode(self, batch: Batch, items: Sequence[RuleItems]) -> EncodedBatch:
        """Return nothing to write."""
        del items
        self.tally.row_bytes += batch.nbytes
        return EncodedBatch(
            batch=batch,
            text=memoryview(b""),
            offsets=np.zeros(1, np.int64),
            units=np.zeros(0, np.int32),
            key_hashes=np.zeros(0, np.uint64),
            partition_hashes=np.zeros(0, np.uint64),
            deletes=np.zeros(0, np.bool_),
            rows=np.zeros(0, np.uint32),
            rules=np.zeros(0, np.uint16),
            emitted=0,
            dead_letters=(),
        )

    async def write(self, encoded: EncodedBatch) -> WriteReport:
        """Write nothing."""
        del encoded
        return WriteReport(0, 0, 0, ())

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        """Return nothing: a write takes no time."""

    def drain(self) -> None:
        """Nothing waits."""

    def flush(self) -> None:
        """Do nothing: items are acked one by one."""

    def limit(self, units_per_s: float | None) -> None:
        """Nothing is written, so nothing is limited."""

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class NoWriting:
    """A target that encodes and takes every item for written; it holds on to batches up to a bound."""

    inner: Target
    held_bytes_max: int = 0
    held: list[EncodedBatch] = field(default_factory=list)
    held_bytes: int = 0

    def encode(self, batch: Batch, items: Sequence[RuleItems]) -> EncodedBatch:
        """Encode for real."""
        return self.inner.encode(batch, items)

    async def write(self, encoded: EncodedBatch) -> WriteReport:
        """Take the items for written."""
        if self.held_bytes + len(encoded.text) <= self.held_bytes_max:
            self.held.append(encoded)
            self.held_bytes += len(encoded.text)
        deletes = int(encoded.deletes.sum())
        return WriteReport(len(encoded) - deletes, deletes, 0, ())

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        """Return nothing: a write takes no time."""

    def drain(self) -> None:
        """Nothing waits."""

    def flush(self) -> None:
        """Do nothing: items are acked one by one."""

    def limit(self, units_per_s: float | None) -> None:
        """Nothing is written, so nothing is limited."""

    async def close(self) -> None:
        """Leave the inner target to who opened it."""
