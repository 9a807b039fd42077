"""A target that acks by object: batches wait for their acks outside the memory, and none waits for good."""

import asyncio
import gc
import weakref
from dataclasses import dataclass, field

import pytest

from engine.batch import EncodedBatch, Segment, WriteReport
from engine.contracts.target import Taken
from engine.run import pipeline
from tests.support.fakes import FakeSource, FakeTarget, line


@dataclass
class ObjectTarget(FakeTarget):
    """Closes an object once it has so many batches, or when it is told that nothing follows."""

    batches_per_object: int = 100
    stop_at: int | None = None  # which batch asks for it
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    taken: int = 0
    open: list[tuple[EncodedBatch, "asyncio.Future[WriteReport | None]"]] = field(default_factory=list)
    objects: list[list[int]] = field(default_factory=list)
    flushes: int = 0

    async def write(self, encoded: EncodedBatch) -> Taken:
        ids = [int(text) for text in encoded.batch.rows.column(0).to_pylist()]
        report = asyncio.get_running_loop().create_future()
        self.open.append((ids, report))
        self.taken += 1
        if self.taken == self.stop_at:
            self.stopping.set()
        if len(self.open) == self.batches_per_object:
            self.end_object()
        return Taken(report)

    def end_object(self) -> None:
        closed, self.open = self.open, []
        if closed:
            self.objects.append([n for ids, _ in closed for n in ids])
        for ids, report in closed:
            report.set_result(WriteReport(len(ids), 0, 0, ()))

    def flush(self) -> None:
        self.flushes += 1
        self.end_object()

    def drain(self) -> None:
        for _, report in self.open:
            report.set_result(None)
        self.open = []


BATCHES = [[n] for n in range(1, 51)]


async def carried(target: ObjectTarget, *, ordered: bool = False) -> list:
    source = FakeSource({0: BATCHES})
    marks = []
    stages = line(source, target, window=24, ordered=ordered)  # room for four batches
    async with asyncio.timeout(60):
        await pipeline.run_segment(stages, Segment(0, None, None, None), None, asyncio.Event(), marks.append)
    return marks


@pytest.mark.parametrize("ordered", [False, True])
async def test_an_object_larger_than_the_window_is_filled_and_acked(ordered):
    target = ObjectTarget(batches_per_object=20, keys=lambda _: 7)  # all of one key
    marks = await carried(target, ordered=ordered)
    assert [len(each) for each in target.objects[:2]] == [20, 20]
    assert sorted(n for each in target.objects for n in each) == list(range(1, 51))
    assert marks[-1].done
    assert sum(mark.counts.items_written for mark in marks) == 50
    assert sum(mark.counts.rows_read for mark in marks) == 50


async def test_the_last_object_is_closed_when_the_segment_has_ended():
    target = ObjectTarget()
    marks = await carried(target)
    assert sorted(n for each in target.objects for n in each) == list(range(1, 51))
    assert marks[-1].done


async def test_what_an_open_object_holds_is_read_again_after_a_stop():
    target, marks = ObjectTarget(batches_per_object=10, stop_at=25), []
    stages = line(FakeSource({0: BATCHES}), target, window=60, threads=1)  # in order, twelve ahead at most
    async with asyncio.timeout(60):
        await pipeline.run_segment(stages, Segment(0, None, None, None), None, target.stopping, marks.append)
    acked = sum(mark.counts.rows_read for mark in marks)
    assert 20 <= acked <= sum(len(each) for each in target.objects) < 50
    assert not marks[-1].done
    assert marks[-1].end is not None
    assert int(marks[-1].end.key[0]) == acked


async def test_a_taken_batch_keeps_no_rows():
    rows: list[weakref.ref[object]] = []
    alive: list[int] = []

    class Watching(ObjectTarget):
        async def write(self, encoded: EncodedBatch) -> Taken:
            gc.collect()
            alive.append(sum(ref() is not None for ref in rows))
            rows.append(weakref.ref(encoded.batch.rows))
            return await super().write(encoded)

    gc.freeze()  # what other tests have left isn't looked through at every write
    try:
        await carried(Watching())
    finally:
        gc.unfreeze()
    assert max(alive) < 6, "some are on their way, none is kept until its ack"
