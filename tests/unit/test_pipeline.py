import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from engine.batch import (
    OPEN,
    WRITTEN,
    Batch,
    Counts,
    Cursor,
    EncodedBatch,
    Fates,
    Mark,
    Segment,
    WriteReport,
)
from engine.errors import PermanentError
from engine.run import pipeline
from engine.run.pipeline import BatchWindow, run_segment
from tests.support.fakes import FakeSource, FakeTarget, batch, line

SEGMENT = Segment(0, None, None, None)


@pytest.fixture(autouse=True)
def threads_take_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in flight at a stop is settled, however late a thread comes to it."""
    monkeypatch.setattr(pipeline, "FINISH_S", 100.0)
    monkeypatch.setattr(pipeline, "SETTLE_S", 200.0)


async def carry(
    source: FakeSource, target: FakeTarget, after: Cursor | None = None, **how: object
) -> list[Mark]:
    marks: list[Mark] = []
    made = line(source, target, **how)  # type: ignore[arg-type]
    try:
        await run_segment(made, SEGMENT, after, asyncio.Event(), marks.append)
    finally:
        made.threads.shutdown()
    assert made.window._bytes == 0, "a slot of the window was not given back"
    return marks


async def test_every_row_is_written_and_the_last_mark_says_done() -> None:
    target = FakeTarget()
    marks = await carry(FakeSource({0: [[1, 2], [3], [4, 5, 6]]}), target)
    assert sorted(target.written) == [1, 2, 3, 4, 5, 6]
    assert [mark.done for mark in marks] == [False] * (len(marks) - 1) + [True]
    assert sum((mark.counts for mark in marks), Counts()).rows_read == 6
    assert marks[-1].end == Cursor(("6",))


async def test_a_segment_without_rows_is_done() -> None:
    marks = await carry(FakeSource({0: []}), FakeTarget())
    assert [(mark.done, mark.counts) for mark in marks] == [(True, Counts())]


async def test_no_mark_passes_a_batch_that_is_still_in_flight() -> None:
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    marks: list[Mark] = []
    target = FakeTarget(during=lambda encoded: held if encoded.batch.sequence == 0 else None)
    made = line(FakeSource({0: [[1], [2], [3]]}), target)
    task = asyncio.create_task(run_segment(made, SEGMENT, None, asyncio.Event(), marks.append))
    while len(target.written) < 2:
        await asyncio.sleep(0)
    assert marks == [], "a mark ran ahead of the first batch, which nobody acked"
    held.set_result(None)
    await task
    assert marks[0].end == Cursor(("3",))
    made.threads.shutdown()


async def test_a_fault_of_the_target_ends_the_segment_and_nothing_is_marked_beyond_it() -> None:
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.set_exception(PermanentError("no permission"))
    target = FakeTarget(during=lambda encoded: failed if encoded.batch.sequence == 1 else None)
    marks: list[Mark] = []
    made = line(FakeSource({0: [[1], [2], [3]]}), target)
    with pytest.raises(BaseExceptionGroup) as fault:
        await run_segment(made, SEGMENT, None, asyncio.Event(), marks.append)
    assert fault.group_contains(PermanentError, match="no permission")
    assert all(mark.end == Cursor(("1",)) for mark in marks)
    assert made.window._bytes == 0
    made.threads.shutdown()


async def test_a_stop_finishes_what_is_in_flight_and_reads_no_further() -> None:
    stopping = asyncio.Event()

    def stop_at_second(_segment: int, position: int) -> None:
        if position == 1:
            stopping.set()

    marks: list[Mark] = []
    target = FakeTarget()
    made = line(FakeSource({0: [[1], [2], [3], [4]]}, before=stop_at_second), target)
    await run_segment(made, SEGMENT, None, stopping, marks.append)
    assert sorted(target.written) == [1, 2]
    assert marks[-1].end == Cursor(("2",))
    assert not marks[-1].done
    made.threads.shutdown()


@dataclass
class HoldsSecond(FakeTarget):
    """Has nothing of a segment's second batch when it is drained, which that waits for."""

    drained: asyncio.Event = field(default_factory=asyncio.Event)

    def drain(self) -> None:
        self.drained.set()

    async def write(self, encoded: EncodedBatch) -> WriteReport | Fates:
        if encoded.batch.sequence != 1:
            return await super().write(encoded)
        await self.drained.wait()
        return Fates(encoded.rows, np.full(len(encoded), OPEN, np.uint8), ())


@pytest.mark.parametrize("settles", [True, False])
async def test_an_endless_source_ends_with_the_stop_if_all_that_was_read_is_settled(
    settles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not settles:
        monkeypatch.setattr(pipeline, "FINISH_S", 0.0)
    stopping, acked, marks = asyncio.Event(), asyncio.Event(), list[Mark]()

    async def stop_at_second() -> None:
        await acked.wait()
        stopping.set()

    def emit(mark: Mark) -> None:
        marks.append(mark)
        acked.set()

    source = FakeSource(
        {0: [[1], [2], [3], [4]]}, before=lambda _, position: stop_at_second() if position == 1 else None
    )
    made = line(source, FakeTarget() if settles else HoldsSecond())
    await run_segment(replace(made, endless=True), SEGMENT, None, stopping, emit)
    assert marks[-1].done is settles
    assert marks[-1].end == Cursor(("2" if settles else "1",))
    made.threads.shutdown()


async def test_a_stop_does_not_wait_for_a_source_that_has_nothing_to_give() -> None:
    stopping, asked = asyncio.Event(), asyncio.Event()

    class Away(FakeSource):
        async def read(self, segment: Segment, after: Cursor | None) -> AsyncIterator[Batch]:
            async for found in super().read(segment, after):
                yield found
            asked.set()
            await asyncio.Event().wait()

    marks: list[Mark] = []
    target = FakeTarget()
    made = line(Away({0: [[1], [2]]}), target)
    task = asyncio.create_task(run_segment(made, SEGMENT, None, stopping, marks.append))
    await asked.wait()
    stopping.set()
    await asyncio.wait_for(task, 100)
    assert (sorted(target.written), marks[-1].end, marks[-1].done) == ([1, 2], Cursor(("2",)), False)
    made.threads.shutdown()


@dataclass
class Slow(FakeTarget):
    """Has settled the first `settled` items of a batch, and waits with the others until it is drained."""

    settled: int = 2
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    writing: asyncio.Event = field(default_factory=asyncio.Event)

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        fates = np.where(np.arange(len(encoded)) < self.settled, np.uint8(WRITTEN), np.uint8(OPEN))
        return Fates(encoded.rows, fates, ())

    async def write(self, encoded: EncodedBatch) -> WriteReport | Fates:
        self.writing.set()
        await self.drained.wait()
        fates = self.progress(encoded)
        assert fates is not None
        return fates

    def drain(self) -> None:
        self.drained.set()


@dataclass
class Cuts:
    ids: list[int]

    def before(self, row: int) -> tuple[int, Cursor] | None:
        return (row, Cursor((str(self.ids[row - 1]),))) if row > 0 else None


class WithCuts(FakeSource):
    async def read(self, segment: Segment, after: Cursor | None) -> AsyncIterator[Batch]:
        async for found in super().read(segment, after):
            yield replace(found, cuts=Cuts([int(text) for text in found.rows.column(0).to_pylist()]))


async def test_what_is_settled_of_an_unfinished_batch_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kill comes without a warning."""
    monkeypatch.setattr(pipeline, "MARK_S", 0.001)
    marks: asyncio.Queue[Mark] = asyncio.Queue()
    target = Slow()
    made = line(WithCuts({0: [[1, 2, 3, 4], [5, 6, 7, 8]]}), target)
    task = asyncio.create_task(run_segment(made, SEGMENT, None, asyncio.Event(), marks.put_nowait))
    mark = await asyncio.wait_for(marks.get(), 100)
    assert (mark.end, mark.counts) == (Cursor(("2",)), Counts(2, 2, items_written=2))
    target.settled = 3
    mark = await asyncio.wait_for(marks.get(), 100)
    assert (mark.end, mark.counts, mark.done) == (Cursor(("3",)), Counts(1, 1, items_written=1), False)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    made.threads.shutdown()


async def test_a_stop_keeps_the_settled_rows_of_batches_that_are_given_back() -> None:
    """All is read, and the target would take minutes for what is in the window."""
    stopping = asyncio.Event()
    marks: list[Mark] = []
    made = line(WithCuts({0: [[1, 2, 3, 4], [5, 6, 7, 8]]}), Slow())
    task = asyncio.create_task(run_segment(made, SEGMENT, None, stopping, marks.append))
    while made.meter.rows_read < 8:
        await asyncio.sleep(0)
    stopping.set()
    await asyncio.wait_for(task, 100)
    assert [(mark.end, mark.counts.rows_read, mark.done) for mark in marks] == [(Cursor(("2",)), 2, False)]
    assert made.window._bytes == 0
    made.threads.shutdown()


async def test_a_stop_does_not_wait_for_a_target_that_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "SETTLE_S", 0.01)

    class Stuck(Slow):
        def drain(self) -> None:
            """Nobody answers."""

    stopping = asyncio.Event()
    marks: list[Mark] = []
    target = Stuck()
    made = line(WithCuts({0: [[1, 2, 3, 4]]}), target)
    task = asyncio.create_task(run_segment(made, SEGMENT, None, stopping, marks.append))
    await asyncio.wait_for(target.writing.wait(), 100)
    stopping.set()
    await asyncio.wait_for(task, 100)
    assert [(mark.end, mark.counts.rows_read) for mark in marks] == [(Cursor(("2",)), 2)]
    made.threads.shutdown()


async def test_dead_letters_ride_in_the_marks_and_the_counts_balance() -> None:
    marks = await carry(FakeSource({0: [[1, 2], [3]]}), FakeTarget(bad=frozenset({2, 3})))
    counts = sum((mark.counts for mark in marks), Counts())
    assert counts == Counts(rows_read=3, items_emitted=3, items_written=1, items_dead_lettered=2)
    assert [letter.source_key for mark in marks for letter in mark.dead_letters] == [{"id": "2"}, {"id": "3"}]


async def test_the_window_bounds_what_is_between_reading_and_acking() -> None:
    one = batch(0, 0, [1]).nbytes
    target = FakeTarget()
    await carry(FakeSource({0: [[n] for n in range(1, 30)]}), target, window=3 * one)
    assert target.most_in_flight <= 3


async def test_equal_keys_are_written_in_the_order_of_their_rows() -> None:
    gates = {0: asyncio.get_running_loop().create_future()}
    target = FakeTarget(keys=lambda n: n % 2, during=lambda encoded: gates.get(encoded.batch.sequence))
    made = line(FakeSource({0: [[1], [3], [2], [5]]}), target, ordered=True)
    task = asyncio.create_task(run_segment(made, SEGMENT, None, asyncio.Event(), lambda mark: None))
    while target.written != [2]:
        await asyncio.sleep(0)
    gates[0].set_result(None)
    await task
    assert target.written == [2, 1, 3, 5], "a row with the same key overtook an earlier one"
    made.threads.shutdown()


async def test_a_batch_larger_than_the_window_has_it_alone() -> None:
    window = BatchWindow(10)
    await window.enter(50)
    entered = asyncio.create_task(window.enter(1))
    await asyncio.sleep(0)
    assert not entered.done()
    assert repr(window) == "<BatchWindow 50 of 10 bytes, 1 waiting>"
    window.leave(50)
    await entered


async def test_who_gives_up_waiting_for_the_window_leaves_no_hole() -> None:
    window = BatchWindow(10)
    await window.enter(10)
    waiting = asyncio.create_task(window.enter(10))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    window.leave(10)
    await asyncio.wait_for(window.enter(10), 20)
