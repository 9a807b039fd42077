"""Dead letters until a checkpoint has kept them: bounded, whatever the store and the source do."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from engine.batch import DeadLetter, Effort, Mark
from engine.run.coordinator import Coordinator
from engine.run.letters import LetterWindow, weight
from engine.run.link import Kept, queue_link
from engine.run.worker import Usage, work
from engine.tenure import Tenure
from tests.support.fakes import FakeSource, FakeTarget, Links, batch, encode, line
from tests.unit.test_coordinator import Ear, run_state

LETTER = DeadLetter("Row", "key_empty", "PK is empty", {"id": "1"}, None)
BATCHES, ROWS = 200, 10
ALL_BAD = {0: [range(n * ROWS + 1, n * ROWS + ROWS + 1) for n in range(BATCHES)]}
ONE_BATCH = weight(encode(batch(0, 0, range(101, 101 + ROWS)), bad=frozenset(range(1000))).dead_letters)


class Bad(frozenset[int]):
    """Every id."""

    def __contains__(self, _: object) -> bool:
        return True


class HeldStore:
    """A store that takes nothing until it is let go."""

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.tenure = Tenure()
        self.asked = 0
        self.go_on = asyncio.Event()

    async def advance(self, marks: Sequence[Mark], effort: Effort) -> None:
        self.asked += 1
        await self.go_on.wait()
        self.marks += marks

    @property
    def letters(self) -> list[DeadLetter]:
        return [letter for mark in self.marks for letter in mark.dead_letters]


@asynccontextmanager
async def loading(
    store: HeldStore, source: FakeSource, target: FakeTarget, *, letters_bytes: float, window: int = 2**20
) -> AsyncIterator[tuple[Coordinator, "asyncio.Task[None]", LetterWindow, list[object]]]:
    """A load under way, and what the runner says to its worker."""
    coordinator = Coordinator(
        store,  # type: ignore[arg-type]
        run_state(list(source.batches)),
        [Ear()],
        rate_max=None,
        own_usage=lambda: Usage(0.0, 0),
    )
    ours, theirs = queue_link()
    said: list[object] = []
    send = ours.send
    ours.send = lambda message: (said.append(message), send(message))[1]  # type: ignore[method-assign]
    made = line(source, target, letters_bytes=letters_bytes, window=window)
    worker = asyncio.create_task(work(made, theirs, 2, lambda: Usage(0.0, 0)))
    run = asyncio.create_task(coordinator.run(Links([ours])))
    try:
        yield coordinator, run, made.letters, said
    finally:
        store.go_on.set()
        coordinator.stop()
        await asyncio.wait_for(run, 100)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        made.threads.shutdown()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not true():
            await asyncio.sleep(0)


async def turns(count: int = 300) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def checkpoint_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.run.checkpointer.CHECKPOINT_S", 0.0)


@pytest.fixture(autouse=True)
def threads_take_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.run.pipeline.SETTLE_S", 200.0)
    monkeypatch.setattr("engine.run.coordinator.DRAIN_S", 201.0)


async def test_a_store_that_never_ends_stops_a_bad_source_and_not_for_good() -> None:
    store, source, target = HeldStore(), FakeSource(ALL_BAD), FakeTarget(bad=Bad())
    one = batch(0, 0, [101]).nbytes * ROWS
    async with loading(store, source, target, letters_bytes=3 * ONE_BATCH, window=4 * one) as load:
        coordinator, run, letters, _ = load
        await until(lambda: letters.full and target.in_flight == 0)
        await turns()
        read = len(source.reads)
        assert read <= 3 + 4 + 1, "it read on though nobody kept the dead letters that it had"
        assert letters._bytes <= (3 + 4 + 1) * ONE_BATCH
        store.go_on.set()
        await asyncio.wait_for(run, 100)
        assert coordinator.complete
        assert len(store.letters) == BATCHES * ROWS
        assert letters._bytes <= (3 + 4 + 1) * ONE_BATCH


async def test_a_letter_larger_than_the_window_goes_through() -> None:
    store, source = HeldStore(), FakeSource({0: [[1], [2], [3]]})
    store.go_on.set()
    async with loading(store, source, FakeTarget(bad=Bad()), letters_bytes=1) as (coordinator, run, _, _):
        await asyncio.wait_for(run, 100)
        assert coordinator.complete
        assert len(store.letters) == 3


async def test_letters_behind_a_batch_that_is_stuck_do_not_keep_it_from_its_end() -> None:
    """Their marks come only after its own: were acks to wait for room, nobody would ever go on."""
    stuck: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    target = FakeTarget(bad=Bad(), during=lambda encoded: stuck if encoded.batch.sequence == 0 else None)
    store = HeldStore()
    store.go_on.set()
    async with loading(store, FakeSource(ALL_BAD), target, letters_bytes=2 * ONE_BATCH) as load:
        coordinator, run, letters, _ = load
        await until(lambda: letters.full and target.in_flight == 1)
        stuck.set_result(None)
        await asyncio.wait_for(run, 100)
        assert coordinator.complete


async def test_a_stop_ends_a_load_that_waits_for_the_store() -> None:
    store, source, target = HeldStore(), FakeSource(ALL_BAD), FakeTarget(bad=Bad())
    async with loading(store, source, target, letters_bytes=ONE_BATCH) as (coordinator, run, letters, _):
        await until(lambda: letters.full and target.in_flight == 0)
        coordinator.stop()
        store.go_on.set()
        await asyncio.wait_for(run, 100)
        assert not coordinator.complete
        assert len(store.letters) == len(source.reads) * ROWS, "what was read before the stop is kept"


async def test_much_doesnt_wait_for_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.run.checkpointer.CHECKPOINT_S", 3600.0)
    monkeypatch.setattr("engine.run.checkpointer.LETTERS_CHECKPOINT_BYTES", ONE_BATCH)
    store = HeldStore()
    store.go_on.set()
    source = FakeSource(ALL_BAD)
    async with loading(store, source, FakeTarget(bad=Bad()), letters_bytes=2 * ONE_BATCH) as load:
        await asyncio.wait_for(load[1], 100)
        assert load[0].complete


async def test_without_dead_letters_nothing_is_said_about_them() -> None:
    store = HeldStore()
    store.go_on.set()
    async with loading(store, FakeSource(ALL_BAD), FakeTarget(), letters_bytes=1) as (_, run, _, said):
        await asyncio.wait_for(run, 100)
        assert not [message for message in said if isinstance(message, Kept)]


async def test_a_line_whose_letters_nobody_keeps_is_never_full() -> None:
    window = LetterWindow()
    window.hold([LETTER] * 100_000)
    await asyncio.wait_for(window.room(), 100)


@pytest.mark.parametrize("text", ["plain", "ümläut", "漢字", "\U0001f600"])
def test_a_letter_weighs_the_same_on_both_ends_of_a_link(text: str) -> None:
    letter = DeadLetter("Row", "key_empty", text, {"id": text}, text * 1000)
    text.encode()  # caches its UTF-8, which sys.getsizeof would count
    assert pickle.loads(pickle.dumps(letter)).nbytes == letter.nbytes
    assert letter.nbytes >= 1000 * len(text.encode())
