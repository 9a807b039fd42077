"""A slow table gets a batch's rows one group after the other, so that a stop costs seconds of writes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from engine.batch import OPEN, EncodedBatch, Fates, WriteReport
from tests.support.encoded import encoded, put
from tests.support.model_table import ModelTable, fault
from tests.support.virtual_time import run_virtual
from tests.support.writing import Scene, on_virtual_time

ROWS = 4_000


def spread_out(segment: int, sequence: int, rows: int = ROWS) -> EncodedBatch:
    """A batch whose items lie in any order, as spreading over partition keys leaves them."""
    order = list(range(rows))
    Random(sequence).shuffle(order)
    made = encoded([put(f"{segment}-{sequence}-{row}") for row in order], segment=segment, sequence=sequence)
    return replace(made, rows=np.array(order, np.uint32))


class Segments:
    """Two segments whose batches are being written, and how far each has come without a gap."""

    def __init__(self, scene: Scene, batches: int = 2) -> None:
        self.scene = scene
        self.batches = [[spread_out(segment, number) for number in range(batches)] for segment in range(2)]
        self.outcomes: dict[tuple[int, int], WriteReport | Fates] = {}
        self.tasks = [
            asyncio.create_task(self._write(batch)) for segment in self.batches for batch in segment
        ]

    async def _write(self, batch: EncodedBatch) -> None:
        self.outcomes[batch.batch.segment, batch.batch.sequence] = await self.scene.writer.write(batch)

    def prefix(self) -> int:
        """How many rows are settled that marks could cover."""
        return sum(self._rows(segment) for segment in self.batches)

    def _rows(self, segment: list[EncodedBatch]) -> int:
        rows = 0
        for batch in segment:
            place = batch.batch.segment, batch.batch.sequence
            fates = self.outcomes.get(place) or self.scene.writer.progress(batch)
            if not isinstance(fates, WriteReport):
                return rows + (settled(fates) if fates is not None else 0)
            rows += ROWS
        return rows

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.scene.writer.close()


def settled(fates: Fates) -> int:
    waiting = fates.rows[fates.fates == OPEN]
    return int(waiting.min()) if len(waiting) else ROWS


@asynccontextmanager
async def writing(rate: float, cap: float | None = None) -> AsyncIterator[tuple[ModelTable, Segments]]:
    table = ModelTable(rate=rate)
    assert table.bucket is not None
    table.bucket.burst_s, table.bucket.tokens = 0.2, 0.0
    scene = Scene(table)
    scene.writer.limit(cap)
    segments = Segments(scene)
    try:
        yield table, segments
    finally:
        await segments.end()


@pytest.mark.parametrize("rate", [5, 20, 50, 400, 4000])
def test_what_no_mark_could_cover_is_a_second_of_writes(rate: int) -> None:
    """The pace is known from the start, as with a provisioned table or a cap."""

    async def run() -> None:
        async with writing(rate, cap=rate) as (table, segments):
            for _ in range(20):
                await asyncio.sleep(0.5)
                ahead = len(table.items) - segments.prefix()
                assert ahead <= max(2, rate * 0.75), "a kill here would cost more"
            assert len(table.items) > rate * 6 or segments.prefix() == 4 * ROWS

    run_virtual(run())


@pytest.mark.parametrize("rate", [5, 20, 50, 400, 4000])
def test_a_pace_that_must_be_found_out_first_costs_little_more(rate: int) -> None:
    async def run() -> None:
        async with writing(rate) as (table, segments):
            await asyncio.sleep(10)
            for _ in range(20):
                await asyncio.sleep(0.5)
                assert len(table.items) - segments.prefix() <= max(11, rate * 1.5)

    run_virtual(run())


@on_virtual_time
async def test_a_table_that_becomes_slow_in_the_middle_of_a_batch() -> None:
    async with writing(4000) as (table, segments):
        assert table.bucket is not None
        await asyncio.sleep(2)
        before = segments.prefix()
        table.bucket.rate = 50
        await asyncio.sleep(8)
        lost = len(table.items) - segments.prefix()
        assert lost <= 50 * 1.5, f"{lost} of {len(table.items)} items, after {before} rows at full speed"


@on_virtual_time
async def test_a_fast_table_gets_the_items_as_they_are_spread() -> None:
    """Each batch takes 10 ms, and the source needs a second for the next: the table isn't slow for that."""
    scene = Scene(ModelTable())
    for number in range(30):
        batch = spread_out(0, number)
        task = asyncio.create_task(scene.writer.write(batch))
        await asyncio.sleep(0)
        (open_batch,) = scene.writer._waiting
        await task
        await asyncio.sleep(1)
    assert open_batch.encoded is batch
    await scene.writer.close()


@pytest.mark.parametrize("rate", [5, 50, 400, 4000])
def test_a_drain_begins_no_row_and_leaves_nothing_acked_behind_an_open_one(rate: int) -> None:
    async def run() -> None:
        async with writing(rate, cap=rate) as (table, segments):
            await asyncio.sleep(1.7)
            began, there = asyncio.get_running_loop().time(), len(table.items)
            segments.scene.writer.drain()
            await asyncio.gather(*segments.tasks)
            assert asyncio.get_running_loop().time() - began < 2.5
            assert segments.prefix() == len(table.items) == segments.scene.meter.items_written
            assert len(table.items) - there <= max(4, rate * 0.75)

    run_virtual(run())


@on_virtual_time
async def test_a_batch_that_comes_after_a_drain_goes_back_untouched() -> None:
    table = ModelTable()
    scene = Scene(table)
    scene.writer.drain()
    fates = await scene.writer.write(spread_out(0, 0, rows=10))
    assert isinstance(fates, Fates)
    assert fates.fates.tolist() == [OPEN] * 10
    assert table.requests == 0
    await scene.writer.close()


@on_virtual_time
async def test_refused_and_skipped_items_count_with_their_rows() -> None:
    table = ModelTable(rate=50)

    def refuse(entries: list[dict]) -> object:
        return (
            fault(400, "ValidationException", "no") if any("-3" in str(entry) for entry in entries) else None
        )

    table.before = refuse  # type: ignore[assignment]
    scene = Scene(table)
    scene.writer.limit(50)
    batch = spread_out(0, 0, rows=400)
    task = asyncio.create_task(scene.writer.write(batch))
    await asyncio.sleep(3)
    fates = scene.writer.progress(batch)
    assert fates is not None
    names = [letter.item_json for _, letter in fates.letters]
    assert names
    for row, letter in fates.letters:
        assert f'"0-0-{row}"' in str(letter.item_json)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await scene.writer.close()
