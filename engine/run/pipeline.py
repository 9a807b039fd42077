"""The straight line: read → transform → encode → write → acknowledge → checkpoint.

Invariant: a batch only moves forward, and holds its slot of the window from being read until it is
acknowledged; so what is in memory is bounded, and a segment is done only when its source has ended and its
ledger is empty. What a stop costs doesn't hang on how large a batch is: its first rows are marked while the
rest is still being written.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import field
from enum import Enum
from time import perf_counter

from engine.batch import Batch, Cursor, DeadLetter, EncodedBatch, Fates, Mark, Segment
from engine.contracts.source import RowReading
from engine.contracts.target import Taken, Target
from engine.contracts.transform import Transform
from engine.frozen import dataclass
from engine.meter import Meter
from engine.run.key_gate import KeyGate, KeyHold
from engine.run.letters import LetterWindow
from engine.state.ledger import Ledger, Ticket
from engine.state.prefix import settled_prefix
from engine.tenure import Tenure

MARK_S = 0.5
"""How often what is settled of an unfinished batch is marked; a faster target has acked it whole by then."""

SETTLE_S = 2.5
"""How long rows that are begun may take to be settled after a stop: acks beyond them would be lost."""

FINISH_S = 1.5
"""How much of that an endless source's rows have to be written whole: then the stop is its end."""


class BatchWindow:
    """Bounds the bytes of rows that are between being read and being acknowledged.

    Ordering: first come, first served, so that a large batch isn't overtaken forever.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def __repr__(self) -> str:
        return f"<BatchWindow {self._bytes} of {self._bytes_max} bytes, {len(self._waiting)} waiting>"

    async def enter(self, nbytes: int) -> None:
        """Wait until there is room, and take it; a batch larger than the whole window has it alone."""
        if not self._waiting and self._fits(nbytes):
            self._bytes += nbytes
            return
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((nbytes, room))
        try:
            await room
        except asyncio.CancelledError:
            if room.done() and not room.cancelled():
                self.leave(nbytes)
            else:
                self._waiting.remove((nbytes, room))
            raise

    def leave(self, nbytes: int) -> None:
        """Give room back and let in whom it suffices for."""
        self._bytes -= nbytes
        while self._waiting and self._fits(self._waiting[0][0]):
            size, room = self._waiting.popleft()
            self._bytes += size
            room.set_result(None)

    def _fits(self, nbytes: int) -> bool:
        return self._bytes == 0 or self._bytes + nbytes <= self._bytes_max


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages that every batch of this process passes.

    `gate` is set where batches with equal keys must follow one another, `settle` where items are left out for
    those of other rows; `letters` is bounded where somebody gives back what was kept; `tenure` is what the
    target sends under. `endless`: the source goes on until a stop, which is its end.
    """

    source: RowReading
    transform: Transform
    target: Target
    window: BatchWindow
    gate: KeyGate | None
    threads: Executor
    meter: Meter
    letters: LetterWindow = field(default_factory=LetterWindow)
    tenure: Tenure = field(default_factory=Tenure)
    settle: Callable[[EncodedBatch], EncodedBatch] | None = None
    endless: bool = False


async def run_segment(
    stages: Stages,
    segment: Segment,
    after: Cursor | None,
    stopping: asyncio.Event,
    emit: Callable[[Mark], None],
) -> None:
    """Carry a segment from behind `after` to its end, or to where `stopping` finds it.

    Every mark goes to `emit`, in source order; the last one says `done` only where the source has ended, an
    endless one by the stop, and all that was read is acked.
    Raises: what the source and the target raise; nothing of this segment is in flight afterwards.
    """
    reading = _Reading(stages, segment, Ledger(segment.number, after), emit)
    async with asyncio.TaskGroup() as beside:
        watches = (
            beside.create_task(reading.keep_marking()),
            beside.create_task(reading.end_soon_after(stopping)),
        )
        await reading.carry(after, stopping)
        for watch in watches:
            watch.cancel()


@dataclass(eq=False, slots=True)
class _Delivery:
    """A batch on its way.

    `batch` until it sets out, `encoded` once it is and while it is in memory; `letters_told` of those that
    the target gave.
    """

    batch: Batch | None
    nbytes: int
    ticket: Ticket
    hold: KeyHold | None
    encoded: EncodedBatch | None = None
    letters_told: int = 0
    in_memory: bool = True


class _Reading:
    """One reading of a segment: the batches that are under way, and what marks have told of them."""

    def __init__(
        self, stages: Stages, segment: Segment, ledger: Ledger, emit: Callable[[Mark], None]
    ) -> None:
        self._stages = stages
        self._segment = segment
        self._ledger = ledger
        self._emit = emit
        self._under_way: dict[int, _Delivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._read_out = False

    async def carry(self, after: Cursor | None, stopping: asyncio.Event) -> None:
        """Read on and deliver every batch."""
        stages = self._stages
        async with (
            asyncio.TaskGroup() as deliveries,
            aclosing(_timed(stages, self._segment, after)) as batches,
        ):
            while isinstance(batch := await _next(stages, batches, stopping), Batch):
                await stages.window.enter(batch.nbytes)
                hold = stages.gate.reserve() if stages.gate is not None else None
                delivery = _Delivery(batch, batch.nbytes, self._ledger.open(batch), hold)
                task = deliveries.create_task(self._deliver(delivery))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            self._read_out = True
            stages.target.flush()
        if batch is _NoBatch.ENDED or stages.endless:
            self._mark(self._ledger.ended())

    async def keep_marking(self) -> None:
        """Mark what is settled of the batch that all others wait for, however long its rest may take."""
        while True:
            await asyncio.sleep(MARK_S)
            self._mark_progress()

    async def end_soon_after(self, stopping: asyncio.Event) -> None:
        """After a stop have the target begin nothing new; what isn't settled then is done again later."""
        await stopping.wait()
        finish_s = FINISH_S if self._stages.endless else 0.0
        await asyncio.sleep(finish_s)
        self._stages.target.drain()
        await asyncio.sleep(SETTLE_S - finish_s)
        self._mark_progress()
        for task in self._tasks:
            task.cancel()

    def _mark_progress(self) -> None:
        first = self._ledger.first_open
        delivery = None if first is None else self._under_way.get(first)
        if delivery is not None and delivery.encoded is not None:
            fates = self._stages.target.progress(delivery.encoded)
            if fates is not None:
                self._reach(delivery, delivery.encoded, fates)

    def _reach(self, delivery: _Delivery, encoded: EncodedBatch, fates: Fates) -> None:
        """Enter how far a batch has come."""
        self._tell(delivery, [letter for _, letter in fates.letters])
        prefix = settled_prefix(encoded, fates)
        if prefix is not None:
            self._mark(self._ledger.reach(delivery.ticket, prefix))

    def _mark(self, mark: Mark | None) -> None:
        if mark is not None:
            self._emit(mark)

    def _tell(self, delivery: _Delivery, letters: Sequence[DeadLetter]) -> None:
        """Count the letters that the target has given since the last time."""
        new = letters[delivery.letters_told :]
        delivery.letters_told = len(letters)
        self._stages.letters.hold(new)
        for letter in new:
            self._stages.meter.dead_lettered[letter.reason] += 1

    async def _deliver(self, delivery: _Delivery) -> None:
        """Bring one batch to its acknowledgement. The slot and the hold are given back whatever happens."""
        stages, batch, hold = self._stages, delivery.batch, delivery.hold
        assert batch is not None, "it sets out"
        delivery.batch = None
        self._under_way[delivery.ticket.sequence] = delivery
        try:
            prepared = await asyncio.get_running_loop().run_in_executor(
                stages.threads, _prepare, stages, batch
            )
            encoded = prepared.encoded
            stages.meter.stage_s["transform"] += prepared.transform_s
            stages.meter.stage_s["encode"] += prepared.encode_s
            stages.letters.hold(encoded.dead_letters)
            if stages.gate is not None and hold is not None:
                await stages.gate.enter(hold, frozenset(encoded.key_hashes.tolist()))
            delivery.encoded = encoded
            began = perf_counter()
            outcome = await stages.target.write(encoded)
            stages.meter.stage_s["write"] += perf_counter() - began
            if isinstance(outcome, Taken):
                del prepared, batch
                delivery.encoded, encoded = None, encoded.emptied()
                self._leave(delivery)
                if self._read_out:
                    stages.target.flush()
                taken = await outcome.report
                if taken is None:
                    return
                outcome = taken
            if isinstance(outcome, Fates):
                self._reach(delivery, encoded, outcome)
                return
            self._tell(delivery, outcome.dead_letters)
            stages.meter.items_coalesced += encoded.coalesced
            for letter in encoded.dead_letters:
                stages.meter.dead_lettered[letter.reason] += 1
            self._mark(self._ledger.ack(delivery.ticket, outcome, encoded))
        finally:
            del self._under_way[delivery.ticket.sequence]
            self._leave(delivery)

    def _leave(self, delivery: _Delivery) -> None:
        """Give back a batch's room, and its keys: what follows is written behind it."""
        if delivery.in_memory:
            delivery.in_memory = False
            if self._stages.gate is not None and delivery.hold is not None:
                self._stages.gate.leave(delivery.hold)
            self._stages.window.leave(delivery.nbytes)


class _NoBatch(Enum):
    ENDED = "the source has ended"
    STOPPED = "nothing more is to be read"


async def _next(
    stages: Stages, batches: AsyncGenerator[Batch, None], stopping: asyncio.Event
) -> Batch | _NoBatch:
    """Return the next batch once there is room for its dead letters, or why there is none.

    Once `stopping` is set, a read under way is given up: it may wait for a server that is away, for a long
    sort, or for a slow checkpoint.
    """

    async def read() -> Batch | _NoBatch:
        await stages.letters.room()
        return await anext(batches, _NoBatch.ENDED)

    if stopping.is_set():
        return _NoBatch.STOPPED
    reading, stopped = asyncio.create_task(read()), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({reading, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else _NoBatch.STOPPED
    finally:
        for task in (reading, stopped):
            task.cancel()
        await asyncio.gather(reading, stopped, return_exceptions=True)


async def _timed(stages: Stages, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
    """Read a segment, counting rows and the time that the source takes."""
    async with aclosing(stages.source.read(segment, after)) as batches:
        began = perf_counter()
        async for batch in batches:
            stages.meter.stage_s["read"] += perf_counter() - began
            stages.meter.rows_read += batch.rows.num_rows
            yield batch
            began = perf_counter()


@dataclass(frozen=True, slots=True)
class _Prepared:
    encoded: EncodedBatch
    transform_s: float
    encode_s: float


def _prepare(stages: Stages, batch: Batch) -> _Prepared:
    """Transform and encode in one hop to a thread: two would cost a switch of the event loop more."""
    began = perf_counter()
    items = stages.transform(batch)
    between = perf_counter()
    encoded = stages.target.encode(batch, items)
    if stages.settle is not None:
        encoded = stages.settle(encoded)
    return _Prepared(encoded, between - began, perf_counter() - between)
