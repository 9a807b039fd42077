"""The values that move through the pipeline. All are frozen: a batch only moves forward."""

from collections.abc import Mapping, Sequence
from dataclasses import field, fields, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.figures import Additive, peak
from engine.frozen import dataclass

DEAD_LETTER_HEAD_BYTES = 450
"""What a dead letter holds besides its texts: the object, its dict and the heads of its strings, measured."""

WIDEST_CHARACTER_BYTES = 4
"""What a character takes in a string that isn't all ASCII, at most. Source: PEP 393."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in a source: the key of the last row before it, as the source prints it.

    Opaque to everyone but its source; compared by the server only.
    """

    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A disjoint range of the source that one cursor reads: after < key <= until.

    Units: `rows_expected` an estimate in rows, None when unknown. None as a bound means open.
    """

    number: int
    after: Cursor | None
    until: Cursor | None
    rows_expected: int | None


class Cuts(Protocol):
    """The places inside a batch where reading could begin."""

    def before(self, row: int) -> tuple[int, Cursor] | None:
        """Return the last such place at or before `row`, and the cursor that stands there.

        The place is the index of the row that would be read first; its cursor is the key of the row before
        it, since reading goes on behind a cursor. None: there is none but the batch's own beginning.
        """


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one segment in source order, and the cursor behind the last of them.

    Shape: `rows` as the source's RowSchema says. `sequence` counts from 0 within one reading of the segment.
    `end` is None when the source has no key: such a segment starts over after an interruption. Without
    `cuts` the batch is acked whole or not at all. The first `old` rows are as they were before a change, and
    make no items, but say which may have to go.
    """

    segment: int
    sequence: int
    rows: pa.RecordBatch
    end: Cursor | None
    cuts: Cuts | None = field(default=None, repr=False, compare=False)
    old: int = 0

    @property
    def nbytes(self) -> int:
        """What the rows hold in memory, in bytes."""
        return int(self.rows.nbytes)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An item that can't be written, kept with its reason (one of dead_letters.REASONS)."""

    rule: str
    reason: str
    detail: str
    source_key: Mapping[str, str | None]
    item_json: str | None
    """The item as JSON in the target's notation, or None when there is none."""

    @property
    def nbytes(self) -> int:
        """What the letter holds in memory, in bytes, rounded up: the same figure in every process."""
        key = (text or "" for pair in self.source_key.items() for text in pair)
        texts = (self.detail, self.item_json or "", *key)
        return DEAD_LETTER_HEAD_BYTES + sum(
            len(text) * (1 if text.isascii() else WIDEST_CHARACTER_BYTES) for text in texts
        )


@dataclass(frozen=True, slots=True)
class Counts(Additive):
    """Rows and items that are accounted for; they add up.

    Invariant, once everything is acked:
    emitted = written + deleted + skipped + coalesced + dead_lettered.
    """

    rows_read: int = 0
    items_emitted: int = 0
    items_written: int = 0
    items_deleted: int = 0
    items_skipped: int = 0
    items_coalesced: int = 0
    items_dead_lettered: int = 0

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(Counts)))

    @property
    def items_settled(self) -> int:
        """Items whose fate is known."""
        return (
            self.items_written
            + self.items_deleted
            + self.items_skipped
            + self.items_coalesced
            + self.items_dead_lettered
        )

    @property
    def balanced(self) -> bool:
        """Whether every emitted item is accounted for."""
        return self.items_emitted == self.items_settled


NO_ROWS: npt.NDArray[np.uint32] = np.empty(0, np.uint32)


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """The items of one batch as wire text, in the order in which they are to be sent.

    Shape: item i is `text[offsets[i]:offsets[i + 1]]`, ending in a comma, so that any run of items is one
    slice of the body. `units` what each item takes of the target's capacity; `key_hashes` uint64 of the
    item's key; `partition_hashes` uint64 of the part of it by which the target spreads; `deletes` true where
    the item is a delete;
    `rows` the source row's index in `batch.rows`; `rules` the index of the item's rule. Of the items that
    aren't in the text, `skipped_rows`, `coalesced_rows` and `letter_rows` (beside `dead_letters`) tell the
    source rows; `survivor_rows` those of the items that the coalesced ones were left out for.
    """

    batch: Batch
    text: memoryview
    offsets: npt.NDArray[np.int64]
    units: npt.NDArray[np.int32]
    key_hashes: npt.NDArray[np.uint64]
    partition_hashes: npt.NDArray[np.uint64]
    deletes: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.uint32]
    rules: npt.NDArray[np.uint16]
    emitted: int
    dead_letters: tuple[DeadLetter, ...]
    letter_rows: npt.NDArray[np.uint32] = field(default_factory=lambda: NO_ROWS)
    skipped_rows: npt.NDArray[np.uint32] = field(default_factory=lambda: NO_ROWS)
    coalesced_rows: npt.NDArray[np.uint32] = field(default_factory=lambda: NO_ROWS)
    survivor_rows: npt.NDArray[np.uint32] = field(default_factory=lambda: NO_ROWS)

    @property
    def coalesced(self) -> int:
        """Items left out for another one with the same key."""
        return len(self.coalesced_rows)

    @property
    def skipped(self) -> int:
        """Items that the target's mode rightly leaves out."""
        return len(self.skipped_rows)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def emptied(self) -> "EncodedBatch":
        """Return it without rows and items: what is left for its ack to count."""
        none = pa.RecordBatch.from_pylist([], self.batch.rows.schema)
        return replace(self, batch=replace(self.batch, rows=none, cuts=None), **NO_ITEMS)

    def item(self, index: int) -> bytes:
        """Return one item's wire text without the comma."""
        return bytes(self.text[self.offsets[index] : self.offsets[index + 1] - 1])

    def subset(self, chosen: Sequence[int] | npt.NDArray[np.intp]) -> "EncodedBatch":
        """Return some of the items, and nothing else that the batch accounts for."""
        at = np.asarray(chosen, np.int64)
        texts = [self.text[self.offsets[each] : self.offsets[each + 1]] for each in at.tolist()]
        return replace(
            self,
            text=memoryview(b"".join(texts)),
            offsets=np.concatenate(([0], np.cumsum([len(text) for text in texts], dtype=np.int64))),
            units=self.units[at],
            key_hashes=self.key_hashes[at],
            partition_hashes=self.partition_hashes[at],
            deletes=self.deletes[at],
            rows=self.rows[at],
            rules=self.rules[at],
            emitted=len(at),
            dead_letters=(),
        )

    def without(self, chosen: npt.NDArray[np.intp]) -> "EncodedBatch":
        """Leave some items out that another row's item stands for: they count as coalesced, and as settled.

        Nothing waits for the other row's item, which may be in any batch.
        """
        stays = np.ones(len(self), np.bool_)
        stays[chosen] = False
        gone = self.rows[chosen]
        return replace(
            self.subset(np.flatnonzero(stays)),
            emitted=self.emitted,
            dead_letters=self.dead_letters,
            coalesced_rows=np.concatenate((self.coalesced_rows, gone)),
            survivor_rows=np.concatenate((self.survivor_rows, gone)),
        )


NO_ITEMS: Mapping[str, Any] = {
    "text": memoryview(b""),
    "offsets": np.zeros(1, np.int64),
    "units": np.empty(0, np.int32),
    "key_hashes": np.empty(0, np.uint64),
    "partition_hashes": np.empty(0, np.uint64),
    "deletes": np.empty(0, np.bool_),
    "rows": NO_ROWS,
    "rules": np.empty(0, np.uint16),
}
"""The fields of an EncodedBatch that has none."""

OPEN, WRITTEN, DELETED, SKIPPED, REFUSED = range(5)
"""What has become of an item that is to be sent."""


@dataclass(frozen=True, slots=True)
class Fates:
    """How the items of an EncodedBatch stand before all of them are settled.

    Shape: for each item its source row and its fate (OPEN to REFUSED), in any order; `letters` with their
    source rows, in the order in which the target refused them.
    """

    rows: npt.NDArray[np.uint32]
    fates: npt.NDArray[np.uint8]
    letters: tuple[tuple[int, DeadLetter], ...]


@dataclass(frozen=True, slots=True)
class WriteReport:
    """How the items of one EncodedBatch ended; each is in exactly one of these."""

    items_written: int
    items_deleted: int
    items_skipped: int
    dead_letters: tuple[DeadLetter, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of a segment's contiguous acked prefix, with what has been counted since the last mark.

    `end` None with `done` False means that nothing can be resumed from (a source without a key).
    """

    segment: int
    end: Cursor | None
    counts: Counts
    dead_letters: tuple[DeadLetter, ...]
    done: bool


@dataclass(frozen=True, slots=True)
class Effort(Additive):
    """What the run cost in requests, time and capacity; kept with the checkpoint, added across interruptions.

    Units: seconds; write units by index name, the table itself under "". `latency` is a histogram: bucket
    index → requests (see meter.LATENCY_BOUNDS_S).
    """

    requests: int = 0
    items_unprocessed: int = 0
    requests_throttled: int = 0
    retries: int = 0
    elapsed_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = peak()
    consumed_wcu: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[int, int] = field(default_factory=dict)


def source_key_of(batch: Batch, key_columns: Sequence[str], row: int) -> Mapping[str, str | None]:
    """Return what tells a source row from the others, as the source prints it."""
    return {name: batch.rows.column(name)[row].as_py() for name in key_columns}
