"""Work, not time: requests, bytes, Python steps and memory of a fixed load, so that no slow path comes back.

The load is the benchmark's: orders that become items of 15 attributes. What is measured is everything between
rows and sockets; the figures don't hang on the machine. A limit lies a little above what was counted
when it was set: whoever has to raise one has made every load slower, and should know why.
"""

import asyncio
import sys
import threading
import tracemalloc
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from types import FrameType
from typing import Any

import bson
import numpy as np
import pyarrow as pa
import pytest

from bench import documents, orders
from bench.simulator.null import table_description
from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.dynamodb.encoding.encode import Encoder
from connectors.dynamodb.http.connection import Answer, Ended
from connectors.dynamodb.modes import NEWER, PUT, WriteMode
from connectors.dynamodb.table_info import table_info
from connectors.dynamodb.target import TableTarget
from connectors.dynamodb.writing.settings import WriterSettings
from connectors.dynamodb.writing.writer import Writer
from connectors.mongodb.documents import read_columns
from connectors.mongodb.layout import layout_of, schema_of
from engine.batch import Batch, Counts, Cursor, Mark, Segment
from engine.job.model import Job
from engine.kinds import Column, RowSchema, Scalar
from engine.meter import Meter
from engine.rules.fields import wanted_fields
from engine.rules.transform import compile_rules
from engine.run.pipeline import BatchWindow, Stages, run_segment
from tests.support.counting import OWN, calls_of, lines_of, queries_of, watched
from tests.support.fakes import FakeSource

ROWS, BATCH_ROWS = 10_000, 5_000

REQUESTS_MAX = ROWS // 25
BYTES_PER_ITEM_MAX = 505
CALLS_PER_ITEM_MAX = 2.5
LINES_PER_ITEM_MAX = 6.9
QUERIES_PER_BATCH_MAX = 11
NESTED_QUERIES_PER_BATCH_MAX = 9
"""A query takes 0.1 to 0.3 ms however few rows it has: thirty of them were half of what a batch cost."""
PEAK_BYTES_PER_ITEM_MAX = 128
BLOCKS_PER_ITEM_MAX = 1.4

CALLS_PER_REQUEST_MAX = 46
LINES_PER_REQUEST_MAX = 140
TASKS_MAX = 20
"""In mode `newer`, where each item is a request."""

KINDS = {
    "id": Scalar.INT,
    "user_id": Scalar.INT,
    "order_date": Scalar.TIMESTAMPTZ,
    "status": Scalar.STRING,
    "total_amount": Scalar.NUMBER,
    "currency": Scalar.STRING,
    "items_count": Scalar.INT,
    "paid": Scalar.BOOL,
    "email": Scalar.STRING,
    "shipping_address": Scalar.STRING,
    "notes": Scalar.STRING,
    "updated_at": Scalar.TIMESTAMPTZ,
}
SCHEMA = RowSchema(tuple(Column(name, kind) for name, kind in KINDS.items()), ("id",), (frozenset({"id"}),))


TABLE = table_info({**table_description("orders"), "CreationDateTime": None})


def rows(first: int) -> pa.RecordBatch:
    """Some orders as the benchmark's table holds them, as canonical text."""
    numbers = range(first, first + BATCH_ROWS)
    columns = {
        "id": [str(n) for n in numbers],
        "user_id": [str(1 + n * 7919 % 50_000) for n in numbers],
        "order_date": [f"2024-{1 + n % 12:02d}-{1 + n % 28:02d}T{n % 24:02d}:00:00.25Z" for n in numbers],
        "status": [("pending", "paid", "shipped", "completed", "cancelled")[n % 5] for n in numbers],
        "total_amount": [f"{n * 37 % 100_000 / 100:.2f}" for n in numbers],
        "currency": ["USD" for _ in numbers],
        "items_count": [str(1 + n % 9) for n in numbers],
        "paid": ["true" if n % 2 else "false" for n in numbers],
        "email": [f"user{1 + n * 7919 % 50_000}@example.com" for n in numbers],
        "shipping_address": [f"{n % 999} Main Street, Springfield, {n % 50}" for n in numbers],
        "notes": [None if n % 3 == 0 else f"note number {n} lorem ipsum dolor sit amet" for n in numbers],
        "updated_at": ["2024-06-01T00:00:00Z" for _ in numbers],
    }
    return pa.record_batch([pa.array(texts, pa.string()) for texts in columns.values()], names=[*columns])


@dataclass
class Rows(FakeSource):
    """The orders in batches."""

    held: list[Batch] = field(default_factory=list)

    async def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        for batch in self.held:
            yield batch
            await asyncio.sleep(0)


@dataclass
class Wire:
    """What carries requests: nowhere. Some connection is always free."""

    requests: int = 0
    sent_bytes: int = 0
    tasks: int = 0

    def begin(self, operation: str, parts: Sequence[bytes | memoryview], ended: Ended) -> asyncio.Handle:
        self.requests += 1
        self.sent_bytes += sum(map(len, parts))
        body = b'{"UnprocessedItems":{}}' if operation == "BatchWriteItem" else b"{}"
        return asyncio.get_running_loop().call_soon(ended, Answer(200, body, None, 0.001))

    async def send(self, operation: str, parts: Sequence[bytes | memoryview]) -> Answer:
        raise AssertionError("nothing has to wait here")

    def count_tasks(self, loop: asyncio.AbstractEventLoop, main: Any, **settings: Any) -> "asyncio.Task[Any]":
        self.tasks += 1
        return asyncio.Task(main, loop=loop, **settings)

    async def close(self) -> None:
        return None


async def renew() -> None:
    raise AssertionError("nothing expires here")


def load(batches: list[Batch], window_bytes: int = 8 * 2**20, mode: WriteMode = PUT) -> tuple[Wire, Counts]:
    """Carry the orders through the real pipeline to the socket's edge."""

    async def run() -> tuple[Wire, Counts]:
        job = Job.model_validate(orders.job("postgres://127.0.0.1/x", "http://127.0.0.1:1"))
        wire, meter = Wire(), Meter()
        asyncio.get_running_loop().set_task_factory(wire.count_tasks)
        settings = WriterSettings(mode, "orders", ("PK", "SK"), ("Order",), ("id",), 600.0)
        writer = Writer(wire, settings, meter, renew, lambda _: None, Random(1))
        encoder = Encoder(
            TABLE,
            table="orders",
            mode=mode,
            version="OrderID" if mode.compares else None,
            options=job.options,
            key_columns=("id",),
        )
        marks: list[Mark] = []
        with ThreadPoolExecutor(1) as threads:
            line = Stages(
                source=Rows({}, held=batches),
                transform=compile_rules(job, SCHEMA, None, DOCUMENTS),
                target=TableTarget(encoder, writer, wire),  # type: ignore[arg-type]
                window=BatchWindow(window_bytes),
                gate=None,
                threads=threads,
                meter=meter,
            )
            await run_segment(line, Segment(0, None, None, None), None, asyncio.Event(), marks.append)
            await line.target.close()
        return wire, sum((mark.counts for mark in marks), Counts())

    return asyncio.run(run())


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    """The orders; one load has gone before, so that imports and caches are no work of the load's."""
    found = [
        Batch(0, number, rows(1 + number * BATCH_ROWS), Cursor((str((number + 1) * BATCH_ROWS),)))
        for number in range(ROWS // BATCH_ROWS)
    ]
    load(found)
    return found


def test_requests_are_full_and_items_no_larger_than_they_were(batches: list[Batch]) -> None:
    wire, counts = load(batches)

    assert counts.items_written == ROWS
    assert wire.requests <= REQUESTS_MAX
    assert wire.sent_bytes / ROWS <= BYTES_PER_ITEM_MAX


def test_python_is_called_per_batch_and_request_but_not_per_item(batches: list[Batch]) -> None:
    calls = calls_of(lambda: load(batches))

    assert calls.total() / ROWS <= CALLS_PER_ITEM_MAX, calls.most_common(10)


def test_no_loop_in_python_runs_over_the_items(batches: list[Batch]) -> None:
    lines = lines_of(lambda: load(batches))

    assert lines.total() / ROWS <= LINES_PER_ITEM_MAX, lines.most_common(10)


def test_polars_is_asked_little_for_a_batch(batches: list[Batch]) -> None:
    assert queries_of(lambda: load(batches)) / len(batches) <= QUERIES_PER_BATCH_MAX


def test_polars_is_asked_little_for_nested_documents_that_become_two_items() -> None:
    given = documents.job("mongodb://127.0.0.1/x", "users", documents.USER_RULES, "http://127.0.0.1:1")
    job = Job.model_validate(given)
    fields = wanted_fields(job)
    schema = schema_of(fields, Column("_id", Scalar.STRING), keyed=True, unique=True)
    users = [bson.encode(documents.user(number)) for number in range(1_000)]
    starts = np.cumsum([0, *map(len, users[:-1])])
    rows = read_columns(layout_of(fields, schema, DOCUMENTS), b"".join(users), starts)
    transform = compile_rules(job, schema, None, DOCUMENTS)
    encoder = Encoder(TABLE, table="users", mode=PUT, version=None, options=job.options, key_columns=("_id",))
    batch = Batch(0, 0, rows, None)
    assert len(encoder.encode(batch, transform(batch))) == 2_000

    queries = queries_of(lambda: encoder.encode(batch, transform(batch)))

    assert queries <= NESTED_QUERIES_PER_BATCH_MAX


def test_a_request_of_one_item_is_no_task_and_few_calls(batches: list[Batch]) -> None:
    wire, counts = load(batches, mode=NEWER)
    calls = calls_of(lambda: load(batches, mode=NEWER))
    lines = lines_of(lambda: load(batches, mode=NEWER))

    assert counts.items_written == wire.requests == ROWS
    assert wire.tasks <= TASKS_MAX
    assert calls.total() / ROWS <= CALLS_PER_REQUEST_MAX, calls.most_common(20)
    assert lines.total() / ROWS <= LINES_PER_REQUEST_MAX, lines.most_common(20)


SLOW = """
def slow(batch):
    for row in batch.rows.to_pylist():
        row["id"].strip()
    return compiled(batch)
"""


def test_a_slow_path_would_be_seen(batches: list[Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    """One step for each row, as if it stood in the engine, breaks both limits."""
    job = Job.model_validate(orders.job("postgres://127.0.0.1/x", "http://127.0.0.1:1"))
    names = {"compiled": compile_rules(job, SCHEMA, None, DOCUMENTS)}
    exec(compile(SLOW, f"{OWN[0]}/slow.py", "exec"), names)
    monkeypatch.setattr(f"{__name__}.compile_rules", lambda *_: names["slow"])

    assert calls_of(lambda: load(batches)).total() / ROWS > CALLS_PER_ITEM_MAX
    assert lines_of(lambda: load(batches)).total() / ROWS > LINES_PER_ITEM_MAX


def test_items_are_no_python_objects(batches: list[Batch]) -> None:
    """One batch after the other: how far two of them overlap is for the machine to say."""
    tracemalloc.start()
    try:
        before = sys.getallocatedblocks()
        blocks = 0

        def look(frame: FrameType, event: str, _: object) -> None:
            nonlocal blocks
            if event == "return" and frame.f_code.co_filename.startswith(OWN):
                blocks = max(blocks, sys.getallocatedblocks() - before)

        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        watched(sys.setprofile, threading.setprofile, look, lambda: load(batches, window_bytes=1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (peak - held) / ROWS <= PEAK_BYTES_PER_ITEM_MAX
    assert blocks / ROWS <= BLOCKS_PER_ITEM_MAX
