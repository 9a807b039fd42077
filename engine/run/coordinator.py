"""Who reads which segment, and what of it is safe: hands out segments, gathers marks, checkpoints, ticks.

Invariant: a mark counts only once its checkpoint transaction is durable; whatever a worker did beyond its
last durable mark is done again after an interruption. What marks hold is bounded: a worker whose dead letters
no checkpoint has kept yet reads no further (see letters.py).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from engine.batch import Counts, Effort, Mark
from engine.contracts.state import CheckpointStore, RunState
from engine.contracts.target import Look
from engine.errors import PermanentError, TargetUnfit
from engine.events import Event, Notice, Observer, SegmentTally, Tick
from engine.meter import MeterTotals
from engine.run.echoes import Echoes
from engine.run.lease_watch import LeaseWatch
from engine.run.letters import LETTERS_WINDOW_BYTES, weight
from engine.run.link import (
    Advanced,
    Assign,
    Drain,
    Finished,
    Kept,
    Limit,
    NoMore,
    Noted,
    RunnerEnd,
    Ticked,
    ToWorker,
    Until,
    Want,
)
from engine.run.pipeline import SETTLE_S
from engine.run.target_watch import TargetWatch
from engine.run.worker import Usage, describe
from engine.tenure import NEVER

CHECKPOINT_S = 1.0
"""How long marks may wait for their transaction: a second of work is what a crash costs at most."""

LETTERS_CHECKPOINT_BYTES = LETTERS_WINDOW_BYTES // 2
"""Dead letters that don't wait for the second to pass: their worker would soon have to."""

EFFORT_CHECKPOINT_S = 10.0
"""How often the effort alone is made durable while no mark comes."""

TICK_S = 0.5

STOPPED_LOOK_S = 0.5
"""How long a look at the target may take once a stop was asked for: one that hangs mustn't hold it up."""

DRAIN_S = SETTLE_S + 0.5
"""How long workers may take after a stop; one that takes longer is abandoned, what its marks don't cover is
done again later. With the last checkpoint a stop takes less than five seconds, whatever hangs."""


@dataclass(slots=True)
class ConnectedWorker:
    """A worker as the coordinator sees it. `letters_bytes`: its dead letters that wait for a checkpoint."""

    link: RunnerEnd
    totals: MeterTotals = field(default_factory=MeterTotals)
    usage: Usage = field(default_factory=lambda: Usage(0.0, 0))
    finished: bool = False
    letters_bytes: int = 0


class Coordinator:
    """Runs the segments of one run over its workers."""

    def __init__(
        self,
        store: CheckpointStore,
        run: RunState,
        observers: Sequence[Observer],
        *,
        max_wcu: float | None,
        own_usage: Callable[[], Usage],
        look: Look | None = None,
        patience_s: float = 0.0,
    ) -> None:
        self._store = store
        self._observers = observers
        self._max_wcu = max_wcu
        self._own_usage = own_usage
        self._own_start = own_usage()
        self._watermark = run.watermark
        self._states = {state.segment.number: state for state in run.segments}
        self._pending = deque(state for state in run.segments if not state.done)
        self._running: set[int] = set()
        self._counts = run.counts
        self._marks: list[Mark] = []
        self._peers: list[ConnectedWorker] = []
        self._began = time.monotonic()
        self._durable_at = self._began
        self._stopping = False
        self._store_failed = False
        self._fault: Finished | None = None
        self._stop_asked = asyncio.Event()
        self._over = False
        self._echoes = Echoes()
        self._target_watch = TargetWatch(look, patience_s)
        self._lease_watch = LeaseWatch(store.tenure, self._send_all, self.tell)
        self._checkpoint_due = asyncio.Event()

    @property
    def fault(self) -> Finished | None:
        """The first fault that ended a worker or the checkpoint, if any."""
        return self._fault

    @property
    def complete(self) -> bool:
        """Whether every segment is done and durable, every item accounted for, the target the same."""
        return self._all_done and self._target_watch.confirmed

    @property
    def _all_done(self) -> bool:
        return all(state.done for state in self._states.values()) and self._counts.balanced

    @property
    def counts(self) -> Counts:
        """What is durable."""
        return self._counts

    async def run(self, links: Sequence[RunnerEnd]) -> None:
        """Hand out segments until all are done, a fault or a stop ends it; then checkpoint once more."""
        self._peers = [ConnectedWorker(link) for link in links]
        self._share_cap()
        checkpoints = asyncio.create_task(self._checkpoints())
        ticks = asyncio.create_task(self._ticks())
        conversations = [asyncio.create_task(self._converse(peer)) for peer in self._peers]
        try:
            await self._until_over(conversations)
        finally:
            self._over = True  # not a cancel: it would tear a transaction whose marks are gone from the list
            self._checkpoint_due.set()
            for task in (ticks, *conversations):
                task.cancel()
            await asyncio.gather(checkpoints, ticks, *conversations, return_exceptions=True)
        await self._checkpoint(force=True)
        if self._all_done and (why := await self._target_watch.confirm(self._stop_asked)) is not None:
            self._fail(Finished(why))
        self._tick()

    def stop(self) -> None:
        """Have the workers finish what is in flight and read no further."""
        if not self._stopping:
            self._stopping = True
            self._send_all(Drain())
            self._stop_asked.set()

    async def _until_over(self, conversations: "Sequence[asyncio.Task[None]]") -> None:
        """Wait for every worker to finish; after a stop, no longer than DRAIN_S."""
        stop = asyncio.create_task(self._stop_asked.wait())
        left: set[asyncio.Task[Any]] = set(conversations)
        while left and not stop.done():
            _, waiting = await asyncio.wait({*left, stop}, return_when=asyncio.FIRST_COMPLETED)
            left = waiting - {stop}
        stop.cancel()
        if left:
            await asyncio.wait(left, timeout=DRAIN_S)
        for talk in conversations:
            if talk.done():
                talk.result()

    async def _converse(self, peer: ConnectedWorker) -> None:
        while not peer.finished:
            match await peer.link.receive():
                case Want():
                    self._assign(peer)
                case Advanced(mark):
                    self._gather(peer, mark)
                case Ticked(totals, cpu_s, peak_rss_bytes):
                    peer.totals, peer.usage = totals, Usage(cpu_s, peak_rss_bytes)
                case Noted(text):
                    if self._echoes.new(self._peers.index(peer), text, time.monotonic()):
                        self.tell(Notice(text, "warning"))
                case Finished() as finished:
                    peer.finished = True
                    if finished.error is not None:
                        self._fail(finished)
                case None:
                    peer.finished = True
                    self._worker_died()
        self._share_cap()

    def _gather(self, peer: ConnectedWorker, mark: Mark) -> None:
        self._marks.append(mark)
        peer.letters_bytes += weight(mark.dead_letters)
        if peer.letters_bytes >= LETTERS_CHECKPOINT_BYTES:
            self._checkpoint_due.set()

    def _assign(self, peer: ConnectedWorker) -> None:
        if self._pending and not self._stopping:
            state = self._pending.popleft()
            self._running.add(state.segment.number)
            peer.link.send(Assign(state.segment, state.end))
        else:
            peer.link.send(NoMore())

    def _share_cap(self) -> None:
        active = [peer for peer in self._peers if not peer.finished]
        if self._max_wcu is not None:
            for peer in active:
                peer.link.send(Limit(self._max_wcu / len(active)))

    def _worker_died(self) -> None:
        """Fail, unless all are to stop anyway: the signal may have met a worker that was only starting."""
        if self._stopping:
            text = "a worker process ended while stopping; what it had in flight is done again"
            self.tell(Notice(text, "warning"))
            return
        why = "a worker process died; nothing acked is lost: run the same command to go on"
        self._fail(Finished(PermanentError(why)))

    def _send_all(self, message: ToWorker) -> None:
        for peer in self._peers:
            peer.link.send(message)

    def _fail(self, finished: Finished) -> None:
        if self._fault is None:
            self._fault = finished
        self.stop()
        if isinstance(finished.error, TargetUnfit):  # not even what is in flight would be worth anything
            for peer in self._peers:
                if not peer.finished:
                    peer.link.send(Until(-NEVER, str(finished.error)))

    async def _checkpoints(self) -> None:
        while not self._over:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECKPOINT_S):
                    await self._checkpoint_due.wait()
            self._checkpoint_due.clear()
            await self._checkpoint(force=time.monotonic() - self._durable_at > EFFORT_CHECKPOINT_S)

    async def _checkpoint(self, *, force: bool) -> None:
        """Make the gathered marks durable; only then do they count. A store that failed isn't asked again."""
        marks, self._marks = self._marks, []
        letters_bytes = [peer.letters_bytes for peer in self._peers]
        for peer in self._peers:
            peer.letters_bytes = 0
        if self._store_failed or not (marks or force):
            if self._target_watch.due:
                await self._look()
            return
        if not await self._look():
            return
        try:
            await self._store.advance(marks, self.effort())
        except Exception as error:  # a bug too: marks behind those that are gone must never be durable
            self._store_failed = True
            self._fail(describe(error))
            return
        self._durable_at = time.monotonic()
        for mark in marks:
            state = self._states[mark.segment]
            self._states[mark.segment] = replace(state, end=mark.end, done=mark.done)
            self._counts += mark.counts
            if mark.done:
                self._running.discard(mark.segment)
        for peer, nbytes in zip(self._peers, letters_bytes, strict=True):
            if nbytes and not peer.finished:
                peer.link.send(Kept(nbytes))

    async def _look(self) -> bool:
        """Look whether the target is the same, after marks were taken: acks of another are worth nothing."""
        if not await self._target_watch.same(STOPPED_LOOK_S if self._stopping else None):
            assert self._target_watch.moved is not None
            self._fail(Finished(self._target_watch.moved))
            return False
        return True

    def effort(self) -> Effort:
        """Add up what the run has cost since this process took it up, over its workers."""
        now = self._own_usage()
        totals = self._totals()
        workers = [peer.usage for peer in self._peers]
        return Effort(
            requests=sum(totals.requests.values()),
            items_unprocessed=totals.items_unprocessed,
            requests_throttled=sum(totals.throttled.values()),
            retries=totals.retries,
            elapsed_s=time.monotonic() - self._began,
            cpu_s=now.cpu_s - self._own_start.cpu_s + sum(used.cpu_s for used in workers),
            peak_rss_bytes=now.peak_rss_bytes + sum(used.peak_rss_bytes for used in workers),
            consumed_wcu=totals.consumed,
            latency=totals.latency,
        )

    def _totals(self) -> MeterTotals:
        return sum((peer.totals for peer in self._peers), MeterTotals())

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if (lost := self._lease_watch.look()) is not None:
                self._fail(Finished(lost))
            self._tick()

    def _tick(self) -> None:
        complete = sum(state.done for state in self._states.values())
        running = len(self._running)
        now = time.monotonic()
        self.tell(
            Tick(
                at_s=now,
                meter=self._totals(),
                counts=self._counts,
                segments=SegmentTally(len(self._states), len(self._pending), running, complete),
                checkpoint_age_s=now - self._durable_at,
                elapsed_s=now - self._began,
                watermark_lag_s=lag_s(self._watermark, datetime.now(UTC)),
            )
        )

    def tell(self, event: Event) -> None:
        """Tell every observer."""
        for observer in self._observers:
            observer.on(event)


def lag_s(watermark: str | None, now: datetime) -> float | None:
    """How far the watermark lies behind the clock, in seconds; None where there is none."""
    if watermark is None:
        return None
    try:
        at = datetime.fromisoformat(watermark)
    except ValueError:
        return None
    return max(0.0, (now - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds())
