"""Workers that join, leave and die while a run goes on: all is read once, and counted once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from engine.batch import EncodedBatch
from engine.contracts.state import RunState
from engine.meter import MeterTotals
from engine.run.coordinator import Coordinator
from engine.run.link import Limit, NoMore, queue_link
from engine.run.worker import Usage, work
from tests.support.fakes import FakeSource, FakeTarget, Links, line
from tests.unit.test_coordinator import BATCHES, RememberingStore, run_state


class Mortal:
    """A worker that can be killed: what it has said arrives, then its link has ended."""

    def __init__(self, target: FakeTarget, batches: Mapping[int, Sequence[Sequence[int]]]) -> None:
        self._ours, theirs = queue_link()
        self.target, self.said = target, list[object]()
        self._stages = line(FakeSource(batches), target)
        self._ended = asyncio.Event()
        self._work = asyncio.create_task(work(self._stages, theirs, 1, lambda: Usage(2.0, 50)))

    def send(self, message: object) -> None:
        self.said.append(message)
        self._ours.send(message)  # type: ignore[arg-type]

    async def receive(self) -> object:
        message = asyncio.create_task(self._ours.receive())
        ended = asyncio.create_task(self._ended.wait())
        await asyncio.wait({message, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        return message.result() if message.done() else message.cancel() and None

    async def kill(self) -> None:
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)
        self._ended.set()

    async def close(self) -> None:
        await self.kill()
        self._stages.threads.shutdown()


@asynccontextmanager
async def mortals(
    state: RunState, store: RememberingStore, buried_after: Callable[[], Awaitable[object]] | None
) -> AsyncIterator[tuple[Coordinator, Links, Callable[..., Mortal], "asyncio.Task[None]"]]:
    """A run whose workers join by `join(during)`, and can be killed."""
    coordinator = Coordinator(store, state, [], rate_max=1000.0, own_usage=lambda: Usage(0.0, 0))  # type: ignore[arg-type]
    links, made = Links([], buried_after), list[Mortal]()

    def join(during: Callable[[EncodedBatch], "asyncio.Future[None] | None"] | None = None) -> Mortal:
        made.append(Mortal(FakeTarget(during=during), BATCHES))
        links.join(made[-1])  # type: ignore[arg-type]
        return made[-1]

    run = asyncio.create_task(coordinator.run(links))
    try:
        async with asyncio.timeout(100):
            yield coordinator, links, join, run
    finally:
        coordinator.stop()
        for each in made:
            await each.close()
        await asyncio.wait_for(run, 100)


async def so(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.005)


def held_at(sequence: int) -> tuple[asyncio.Event, Callable[[EncodedBatch], "asyncio.Future[None] | None"]]:
    """Return what holds a target up from the batches with this number on, and lets go when set."""
    go_on = asyncio.Event()

    def during(encoded: EncodedBatch) -> "asyncio.Future[None] | None":
        return asyncio.ensure_future(go_on.wait()) if encoded.batch.sequence >= sequence else None  # type: ignore[return-value]

    return go_on, during


ALL = sorted(n for batches in BATCHES.values() for ids in batches for n in ids)


async def test_another_worker_reads_on_what_one_that_died_was_reading() -> None:
    store, gone = RememberingStore(), asyncio.Event()
    _, during = held_at(3)
    async with mortals(run_state(range(6)), store, gone.wait) as scene:
        coordinator, _, join, run = scene
        first = join(during)
        await so(lambda: len(first.target.written) == 3)
        second = join()
        dying = coordinator._handing_out.workers[0]
        await first.kill()
        await so(lambda: bool(coordinator._burials.going_on))  # all that it has said is heard
        dying.totals = MeterTotals(retries=7, rate_limit=500.0, requests_in_flight=3)
        await so(lambda: len(second.target.written) == 25)
        assert dying.totals.rate_limit == 500.0, "it may still send"
        assert not run.done(), "what may come back is waited for"
        assert NoMore() not in second.said
        assert [each for each in second.said if isinstance(each, Limit)] == [Limit(500.0)]
        gone.set()
        await run
        assert coordinator.complete
        assert dying.totals == MeterTotals(retries=7), "what it had done counts, what it did doesn't"
        assert Limit(1000.0) in second.said
        assert sorted(second.target.written[25:]) == [4, 5], "from behind its last mark"
        assert sorted(first.target.written + second.target.written) == ALL
    assert coordinator.counts.rows_read == len(ALL)
    assert sum(mark.counts.rows_read for mark in store.marks) == len(ALL)


async def test_a_worker_that_joins_at_the_last_segment_gets_it_when_its_reader_dies() -> None:
    _, during = held_at(3)
    async with mortals(run_state([0]), RememberingStore(), asyncio.Event().wait) as (
        coordinator,
        links,
        join,
        run,
    ):
        links._buried_after = lambda: asyncio.sleep(0)
        first = join(during)
        await so(lambda: len(first.target.written) == 3)
        second = join()
        await first.kill()
        await run
        assert coordinator.complete
        assert sorted(second.target.written) == [4, 5]


async def test_all_die_and_one_that_joins_later_ends_the_run() -> None:
    _, during = held_at(3)
    async with mortals(run_state([0, 1]), RememberingStore(), lambda: asyncio.sleep(0)) as (
        coordinator,
        _,
        join,
        run,
    ):
        for _ in range(2):
            dying = join(during)
            await so(lambda dying=dying: len(dying.target.written) >= 1)  # type: ignore[misc]
            await dying.kill()
        last = join()
        await run
        assert coordinator.complete
        assert coordinator.counts.rows_read == 10
        assert last.target.written


async def test_a_run_that_is_done_waits_for_nobody_who_only_starts() -> None:
    async with mortals(run_state([0]), RememberingStore(), None) as scene:
        coordinator, links, join, run = scene
        links.join(queue_link()[0])  # never says anything
        join()
        await run
        assert coordinator.complete


async def test_a_stop_waits_for_no_burial() -> None:
    _, during = held_at(3)
    async with mortals(run_state([0]), RememberingStore(), asyncio.Event().wait) as (
        coordinator,
        _,
        join,
        run,
    ):
        first = join(during)
        await so(lambda: len(first.target.written) == 3)
        await first.kill()
        await so(lambda: bool(coordinator._burials.going_on))
        coordinator.stop()
        await run
    assert coordinator.fault is None
    assert coordinator.counts.rows_read == 3
