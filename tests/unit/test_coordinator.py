"""The coordinator and its workers over in-process links, and a store that remembers what is durable."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile

import pytest

from engine.batch import Counts, Cursor, Effort, Mark, Segment
from engine.contracts.state import RunState, SegmentState
from engine.contracts.target import Look
from engine.errors import PermanentError, TargetUnfit
from engine.events import Event, Notice, Tick
from engine.run.coordinator import Coordinator, lag_s
from engine.run.link import Want, queue_link
from engine.run.worker import Usage, work
from engine.tenure import Tenure
from tests.support.fakes import FakeSource, FakeTarget, Links, line


class RememberingStore:
    """Keeps every durable mark; fails when told to."""

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.tenure = Tenure()
        self.effort = Effort()
        self.fails: Exception | None = None
        self.fails_once = False
        self.takes_s = 0.0

    async def advance(self, marks: Sequence[Mark], effort: Effort) -> None:
        if (fails := self.fails) is not None:
            self.fails = None if self.fails_once else fails
            raise fails
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        self.marks += marks
        self.effort = effort


class Ear:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on(self, event: Event) -> None:
        self.events.append(event)


def run_state(segments: Sequence[int], done: Sequence[int] = (), end: Cursor | None = None) -> RunState:
    states = [SegmentState(Segment(n, None, None, None), end, n in done) for n in segments]
    return replace(RunState.begun("r1", "full", ()), segments=tuple(states))


async def carry(
    state: RunState,
    workers: Sequence[tuple[FakeSource, FakeTarget]],
    store: RememberingStore,
    *,
    rate_max: float | None = None,
    stop_after_marks: int | None = None,
    look: Look | None = None,
    patience_s: float = 10.0,
) -> tuple[Coordinator, Ear]:
    ear = Ear()
    coordinator = Coordinator(
        store,  # type: ignore[arg-type]
        state,
        [ear],
        rate_max=rate_max,
        own_usage=lambda: Usage(1.0, 100),
        look=look,
        patience_s=patience_s,
    )
    links, tasks, lines = [], [], []
    for source, target in workers:
        ours, theirs = queue_link()
        links.append(ours)
        lines.append(line(source, target))
        tasks.append(asyncio.create_task(work(lines[-1], theirs, 2, lambda: Usage(2.0, 50))))
    if stop_after_marks is not None:
        coordinator.stop()
    await asyncio.wait_for(coordinator.run(Links(links)), 100)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for made in lines:
        made.threads.shutdown()
    return coordinator, ear


BATCHES = {number: [[number * 100 + n] for n in range(1, 6)] for number in range(6)}


async def test_every_segment_is_read_once_over_several_workers() -> None:
    store = RememberingStore()
    workers = [(FakeSource(BATCHES), FakeTarget()) for _ in range(3)]
    coordinator, _ = await carry(run_state(range(6)), workers, store)
    assert coordinator.complete
    written = sorted(n for _, target in workers for n in target.written)
    assert written == sorted(n for batches in BATCHES.values() for ids in batches for n in ids)
    assert coordinator.counts.rows_read == 30
    assert store.effort.cpu_s == 6.0, "the CPU of all workers counts"


async def test_a_done_segment_is_not_read_again_and_an_open_one_from_its_end() -> None:
    source = FakeSource(BATCHES)
    state = run_state([0, 1], done=[0], end=Cursor(("103",)))
    coordinator, _ = await carry(state, [(source, FakeTarget())], RememberingStore())
    assert coordinator.complete
    assert source.reads == [(1, 3), (1, 4)]


async def test_a_workers_fault_stops_the_others_and_keeps_what_was_acked() -> None:
    store, bad = RememberingStore(), FakeTarget()

    def written_of(segment: int) -> list[int]:
        """Return what is written of a segment from its first row on, without a gap."""
        return [*takewhile(lambda n: n in bad.written, (segment * 100 + n for n in range(1, 6)))]

    async def fail(segment: int) -> None:
        while len(written_of(segment)) < 2:
            await asyncio.sleep(0)
        raise PermanentError("no permission to write")

    bad.during = lambda encoded: (
        asyncio.ensure_future(fail(encoded.batch.segment)) if encoded.batch.sequence == 2 else None
    )
    coordinator, _ = await carry(run_state(range(6)), [(FakeSource(BATCHES), bad)], store)
    assert not coordinator.complete
    assert coordinator.fault is not None
    assert "no permission" in str(coordinator.fault.error)
    ends = {mark.segment: mark.end for mark in store.marks}
    acked = {segment: written_of(segment) for segment in range(6)}
    assert ends == {segment: Cursor((str(rows[-1]),)) for segment, rows in acked.items() if rows}
    assert 2 in {len(rows) for rows in acked.values()} <= {0, 1, 2}


async def test_a_store_that_fails_acks_nothing() -> None:
    store = RememberingStore()
    store.fails = PermanentError("the disk is full")
    coordinator, _ = await carry(run_state([0]), [(FakeSource({0: [[1]]}), FakeTarget())], store)
    assert not coordinator.complete
    assert coordinator.counts == Counts()
    assert coordinator.fault is not None
    assert "disk is full" in str(coordinator.fault.error)


async def test_a_bug_in_the_store_lets_no_later_mark_overtake_those_that_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.run.checkpointer.CHECKPOINT_S", 0.0)
    store = RememberingStore()
    store.fails, store.fails_once = AssertionError("no dead letter has the reason odd"), True
    coordinator, _ = await carry(run_state(range(6)), [(FakeSource(BATCHES), FakeTarget())], store)
    assert store.marks == [], "a resumed run would begin behind rows whose dead letters are lost"
    assert coordinator.fault is not None
    assert "the reason odd" in str(coordinator.fault.error)


async def test_a_checkpoint_under_way_when_the_work_ends_is_not_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.run.checkpointer.CHECKPOINT_S", 0.0)
    store = RememberingStore()
    store.takes_s = 0.005
    coordinator, _ = await carry(run_state(range(6)), [(FakeSource(BATCHES), FakeTarget())], store)
    assert coordinator.complete, "marks were lost between the list and the store"
    assert sum(mark.counts.rows_read for mark in store.marks) == 30


async def test_the_cap_is_shared_and_whoever_is_left_gets_it_all() -> None:
    fast, slow = FakeTarget(), FakeTarget()

    async def once_alone() -> None:
        while len(slow.limits) < 2:
            await asyncio.sleep(0.01)

    slow.during = lambda _: asyncio.ensure_future(once_alone())
    workers = [(FakeSource(BATCHES), fast), (FakeSource(BATCHES), slow)]
    await carry(run_state(range(6)), workers, RememberingStore(), rate_max=1000.0)
    assert fast.limits in ([1000.0, 500.0], [500.0]), "alone until the other one wants something"
    assert slow.limits == [500.0, 1000.0]


async def test_a_stop_before_the_start_reads_nothing() -> None:
    source = FakeSource(BATCHES)
    coordinator, _ = await carry(
        run_state(range(6)), [(source, FakeTarget())], RememberingStore(), stop_after_marks=0
    )
    assert not coordinator.complete
    assert coordinator.fault is None


async def test_notices_of_a_worker_reach_the_user_and_the_last_tick_tells_all() -> None:
    source = FakeSource({0: [[1]]}, notices=["the snapshot is a new one"])
    _, ear = await carry(run_state([0]), [(source, FakeTarget())], RememberingStore())
    assert Notice("the snapshot is a new one", "warning") in ear.events
    last = [event for event in ear.events if isinstance(event, Tick)][-1]
    assert last.meter.rows_read == 1
    assert last.segments.complete == last.segments.total == 1


def test_the_lag_is_behind_the_clock_and_none_without_a_watermark() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert lag_s("2026-01-01T11:59:00Z", now) == 60
    assert lag_s(None, now) is None
    assert lag_s("infinity", now) is None


class CutLink:
    """A worker that wants a segment and then is gone."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self._left: list[object] = [Want(), None]
        self._before = before

    def send(self, message: object) -> None: ...

    async def receive(self) -> object:
        if len(self._left) == 1:
            self._before()
        return self._left.pop(0)


async def run_cut(*, stopped: bool) -> tuple[Coordinator, Ear]:
    ear = Ear()
    coordinator = Coordinator(
        RememberingStore(),
        run_state([0]),
        [ear],
        rate_max=None,
        own_usage=lambda: Usage(0.0, 0),  # type: ignore[arg-type]
    )
    await asyncio.wait_for(
        coordinator.run(Links([CutLink(coordinator.stop if stopped else lambda: None)])), 20
    )  # type: ignore[list-item]
    return coordinator, ear


async def test_a_worker_that_dies_fails_the_run() -> None:
    coordinator, _ = await run_cut(stopped=False)
    assert coordinator.fault is not None
    assert "a worker process died" in str(coordinator.fault.error)


async def test_a_worker_that_dies_of_the_signal_that_stops_all_is_no_fault() -> None:
    coordinator, ear = await run_cut(stopped=True)
    assert coordinator.fault is None, "an interruption would be called a failure"
    assert not coordinator.complete
    assert any("ended while stopping" in event.text for event in ear.events if isinstance(event, Notice))


def looks(*answers: str | Exception | None) -> Look:
    """Answer looks in turn, the last answer for ever."""
    left = list(answers)

    async def look() -> str | None:
        said = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(said, Exception):
            raise said
        return said

    return look


async def test_what_was_acked_before_another_target_was_found_does_not_count() -> None:
    store = RememberingStore()
    moved = TargetUnfit("table t was replaced")
    workers = [(FakeSource({0: [[1], [2]]}), FakeTarget())]
    coordinator, _ = await carry(run_state([0]), workers, store, look=looks(moved))
    assert not coordinator.complete
    assert coordinator.fault is not None
    assert coordinator.fault.error is moved
    assert store.marks == []
    assert coordinator.counts == Counts()


async def test_the_last_look_finds_a_target_that_was_replaced_after_the_last_ack() -> None:
    store = RememberingStore()
    moved = PermanentError("table t was replaced")
    state = run_state([0], done=[0])
    coordinator, _ = await carry(state, [(FakeSource({}), FakeTarget())], store, look=looks(None, moved))
    assert not coordinator.complete
    assert coordinator.fault is not None
    assert coordinator.fault.error is moved


async def test_a_target_that_is_too_busy_to_be_looked_at_holds_nothing_up() -> None:
    store = RememberingStore()
    look = looks("Throttling: slow down", "Throttling: slow down", None)
    coordinator, _ = await carry(
        run_state([0]), [(FakeSource({0: [[1], [2]]}), FakeTarget())], store, look=look
    )
    assert coordinator.complete
    assert store.marks


@pytest.mark.parametrize("said", ["AccessDenied: no", "HTTP 500 without a readable answer"])
async def test_a_run_whose_target_can_not_be_looked_at_is_not_called_complete(said: str) -> None:
    workers = [(FakeSource({0: [[1], [2]]}), FakeTarget())]
    coordinator, _ = await carry(
        run_state([0]), workers, RememberingStore(), look=looks(said), patience_s=0.0
    )
    assert not coordinator.complete
    assert coordinator.fault is not None
    assert said in str(coordinator.fault.error)
    assert coordinator.counts.items_written == 2, "it is written and kept, and only has to be looked at"


async def test_no_worker_goes_on_with_a_target_that_another_one_has_found_unfit() -> None:
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.set_exception(TargetUnfit("table t refuses everything"))
    held = asyncio.Event()
    ours, theirs, lines = [], [], []
    for during in (lambda _: failed, lambda _: asyncio.ensure_future(held.wait())):
        runner_end, worker_end = queue_link()
        ours.append(runner_end)
        theirs.append(worker_end)
        lines.append(line(FakeSource(BATCHES), FakeTarget(during=during)))  # type: ignore[arg-type]
    store = RememberingStore()
    coordinator = Coordinator(store, run_state(range(2)), [], rate_max=None, own_usage=lambda: Usage(0.0, 0))  # type: ignore[arg-type]
    working = [
        asyncio.create_task(work(each, end, 1, lambda: Usage(0.0, 0)))
        for each, end in zip(lines, theirs, strict=True)
    ]
    running = asyncio.create_task(coordinator.run(Links(ours)))
    while lines[1].tenure.lost is None:
        await asyncio.sleep(0.01)
    assert lines[1].tenure.lost == "table t refuses everything"
    held.set()
    await running
    await asyncio.gather(*working)
    assert "refuses everything" in str(coordinator.fault.error)  # type: ignore[union-attr]
    for made in lines:
        made.threads.shutdown()
