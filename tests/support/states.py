"""Runs, marks and dead letters for the tests of whatever keeps them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from engine.batch import Batch, Counts, Cursor, DeadLetter, EncodedBatch, Mark, Segment, WriteReport
from engine.contracts.state import RunState, SegmentState

NOTHING = np.zeros(0, dtype=np.uint64)


def a_run(run_id: str = "run-1", *, kind: str = "full", segments: int = 2, watermark: str | None = "w1"):
    states = []
    for number in range(segments):
        after = Cursor((str(100 * number),)) if number else None
        until = Cursor((str(100 * (number + 1)),)) if number < segments - 1 else None
        states.append(SegmentState(Segment(number, after, until, 100), None, False))
    return replace(
        RunState.begun(run_id, kind, ()),
        started_at="2026-01-02T03:04:05.000Z",
        fingerprint={"source": "5eed", "source.table": "public.orders", "target.arn": "arn:x"},
        watermark=watermark,
        rows_expected=100 * segments,
        segments=tuple(states),
    )


def a_letter(key: str, reason: str = "key_null", item_json: str | None = '{"PK":{"S":"ü"}}') -> DeadLetter:
    return DeadLetter("Order", reason, "PK has no value", {"id": key}, item_json)


def a_mark(segment: int, end: str | None, written: int = 0, letters=(), *, done: bool = False) -> Mark:
    counts = Counts(
        rows_read=written + len(letters),
        items_emitted=written + len(letters),
        items_written=written,
        items_dead_lettered=len(letters),
    )
    return Mark(segment, None if end is None else Cursor((end,)), counts, tuple(letters), done)


def a_batch(sequence: int, end: str | None, rows: int = 3, segment: int = 0) -> Batch:
    columns = pa.record_batch({"id": pa.array([str(row) for row in range(rows)], pa.string())})
    return Batch(segment, sequence, columns, None if end is None else Cursor((end,)))


def items_of(batch: Batch, emitted: int, *, coalesced: int = 0, skipped: int = 0, letters=()) -> EncodedBatch:
    """What a target would have made of a batch, without the text."""
    return EncodedBatch(
        batch=batch,
        text=memoryview(b""),
        offsets=np.zeros(1, dtype=np.int64),
        units=np.zeros(0, dtype=np.int32),
        key_hashes=NOTHING,
        partition_hashes=NOTHING,
        deletes=np.zeros(0, dtype=np.bool_),
        rows=np.zeros(0, dtype=np.uint32),
        rules=np.zeros(0, dtype=np.uint16),
        emitted=emitted,
        dead_letters=tuple(letters),
        letter_rows=np.zeros(len(letters), dtype=np.uint32),
        skipped_rows=np.zeros(skipped, dtype=np.uint32),
        coalesced_rows=np.zeros(coalesced, dtype=np.uint32),
        survivor_rows=np.zeros(coalesced, dtype=np.uint32),
    )


def written(count: int, letters=()) -> WriteReport:
    return WriteReport(items_written=count, items_deleted=0, items_skipped=0, dead_letters=tuple(letters))
