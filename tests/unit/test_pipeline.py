import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.batch import Batch, Counts, Cursor, Mark, Segment
from engine.errors import PermanentError
from engine.run.pipeline import Window, run_segment
from tests.support.fakes import FakeSource, FakeTarget, batch, line

SEGMENT = Segment(0, None, None, None)


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
    await asyncio.wait_for(task, 5)
    assert (sorted(target.written), marks[-1].end, marks[-1].done) == ([1, 2], Cursor(("2",)), False)
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
    window = Window(10)
    await window.enter(50)
    entered = asyncio.create_task(window.enter(1))
    await asyncio.sleep(0)
    assert not entered.done()
    window.leave(50)
    await entered


async def test_who_gives_up_waiting_for_the_window_leaves_no_hole() -> None:
    window = Window(10)
    await window.enter(10)
    waiting = asyncio.create_task(window.enter(10))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    window.leave(10)
    await asyncio.wait_for(window.enter(10), 1)
