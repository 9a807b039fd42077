"""Talks with the workers: hands out segments, takes in marks and figures, shares the cap, stops, ticks.

Invariant: the first fault stops every worker; whatever one did beyond its last durable mark is done again
after an interruption.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from engine.batch import Counts, Effort
from engine.contracts.state import MarkStore, RunState
from engine.contracts.target import Look
from engine.errors import PermanentError, TargetUnfit
from engine.events import Event, Notice, Observer, Tick
from engine.meter import MeterTotals
from engine.run.checkpointer import Checkpointer
from engine.run.echoes import Echoes
from engine.run.lease_watch import LeaseWatch
from engine.run.link import (
    Advanced,
    Assign,
    Drain,
    Finished,
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
from engine.run.segments import Segments
from engine.run.target_watch import TargetWatch
from engine.run.worker import Usage
from engine.tenure import NEVER

log = logging.getLogger(__name__)

TICK_S = 0.5

DRAIN_S = SETTLE_S + 0.5
"""How long workers may take after a stop; one that takes longer is abandoned, what its marks don't cover is
done again later. With the last checkpoint a stop takes less than five seconds, whatever hangs."""


@dataclass(slots=True)
class ConnectedWorker:
    """A worker as the coordinator sees it."""

    link: RunnerEnd
    totals: MeterTotals = field(default_factory=MeterTotals)
    usage: Usage = field(default_factory=lambda: Usage(0.0, 0))
    finished: bool = False


class Coordinator:
    """Runs the segments of one run over its workers."""

    def __init__(
        self,
        store: MarkStore,
        run: RunState,
        observers: Sequence[Observer],
        *,
        rate_max: float | None,
        own_usage: Callable[[], Usage],
        look: Look | None = None,
        patience_s: float = 0.0,
        log_retained: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._observers = observers
        self._max_wcu = rate_max
        self._own_usage = own_usage
        self._log_retained = log_retained
        self._own_start = own_usage()
        self._watermark = run.watermark
        self._segments = Segments(run)
        self._workers: list[ConnectedWorker] = []
        self._began = time.monotonic()
        self._fault: Finished | None = None
        self._stop_asked = asyncio.Event()
        self._echoes = Echoes()
        self._target_watch = TargetWatch(look, patience_s)
        self._lease_watch = LeaseWatch(store.tenure, self._send_all, self.tell)
        self._checkpointer = Checkpointer(
            store, self._segments, self._target_watch, self.effort, self._fail, self._stop_asked
        )

    @property
    def fault(self) -> Finished | None:
        """The first fault that ended a worker or the checkpoint, if any."""
        return self._fault

    @property
    def complete(self) -> bool:
        """Whether every segment is done and durable, every item accounted for, the target the same."""
        return self._segments.done and self._target_watch.confirmed

    @property
    def counts(self) -> Counts:
        """What is durable."""
        return self._segments.counts

    async def run(self, links: Sequence[RunnerEnd]) -> None:
        """Hand out segments until all are done, a fault or a stop ends it; then checkpoint once more."""
        self._workers = [ConnectedWorker(link) for link in links]
        self._share_cap()
        checkpoints = asyncio.create_task(self._checkpointer.keep_on())
        ticks = asyncio.create_task(self._ticks())
        conversations = [asyncio.create_task(self._converse(worker)) for worker in self._workers]
        try:
            await self._until_over(conversations)
        finally:
            self._checkpointer.end()
            for task in (ticks, *conversations):
                task.cancel()
            await asyncio.gather(checkpoints, ticks, *conversations, return_exceptions=True)
        await self._checkpointer.keep(force=True)
        if self._segments.done and (why := await self._target_watch.confirm(self._stop_asked)) is not None:
            self._fail(Finished(why))
        self._tick()

    def stop(self) -> None:
        """Have the workers finish what is in flight and read no further."""
        if not self._stop_asked.is_set():
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

    async def _converse(self, worker: ConnectedWorker) -> None:
        while not worker.finished:
            match await worker.link.receive():
                case Want():
                    self._assign(worker)
                case Advanced(mark):
                    if mark.done:
                        log.debug("segment %d is read and acked", mark.segment)
                    self._checkpointer.gather(worker.link, mark)
                case Ticked(totals, cpu_s, peak_rss_bytes):
                    worker.totals, worker.usage = totals, Usage(cpu_s, peak_rss_bytes)
                case Noted(text):
                    if self._echoes.new(self._workers.index(worker), text, time.monotonic()):
                        self.tell(Notice(text, "warning"))
                case Finished() as finished:
                    worker.finished = True
                    log.debug("worker %d has finished", self._workers.index(worker))
                    if finished.error is not None:
                        self._fail(finished)
                case None:
                    worker.finished = True
                    self._worker_died()
        self._share_cap()

    def _assign(self, worker: ConnectedWorker) -> None:
        state = None if self._stop_asked.is_set() else self._segments.next()
        if state is not None:
            where = "its start" if state.end is None else "behind its last mark"
            number, to = state.segment.number, self._workers.index(worker)
            log.debug("segment %d to worker %d, from %s", number, to, where)
        worker.link.send(NoMore() if state is None else Assign(state.segment, state.end))

    def _share_cap(self) -> None:
        active = [worker for worker in self._workers if not worker.finished]
        if self._max_wcu is not None:
            for worker in active:
                worker.link.send(Limit(self._max_wcu / len(active)))

    def _worker_died(self) -> None:
        """Fail, unless all are to stop anyway: the signal may have met a worker that was only starting."""
        if self._stop_asked.is_set():
            text = "a worker process ended while stopping; what it had in flight is done again"
            self.tell(Notice(text, "warning"))
            return
        why = "a worker process died; nothing acked is lost: run the same command to go on"
        self._fail(Finished(PermanentError(why)))

    def _send_all(self, message: ToWorker) -> None:
        for worker in self._workers:
            worker.link.send(message)

    def _fail(self, finished: Finished) -> None:
        if self._fault is None:
            self._fault = finished
        self.stop()
        if isinstance(finished.error, TargetUnfit):  # not even what is in flight would be worth anything
            for worker in self._workers:
                if not worker.finished:
                    worker.link.send(Until(-NEVER, str(finished.error)))

    def effort(self) -> Effort:
        """Add up what the run has cost since this process took it up, over its workers."""
        now = self._own_usage()
        totals = self._totals()
        usages = [worker.usage for worker in self._workers]
        return Effort(
            requests=sum(totals.requests.values()),
            items_unprocessed=totals.items_unprocessed,
            requests_throttled=sum(totals.throttled.values()),
            retries=totals.retries,
            elapsed_s=time.monotonic() - self._began,
            cpu_s=now.cpu_s - self._own_start.cpu_s + sum(used.cpu_s for used in usages),
            peak_rss_bytes=now.peak_rss_bytes + sum(used.peak_rss_bytes for used in usages),
            consumed_wcu=totals.consumed,
            latency=totals.latency,
        )

    def _totals(self) -> MeterTotals:
        return sum((worker.totals for worker in self._workers), MeterTotals())

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if (lost := self._lease_watch.look()) is not None:
                self._fail(Finished(lost))
            self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        self.tell(
            Tick(
                at_s=now,
                meter=self._totals(),
                counts=self._segments.counts,
                segments=self._segments.tally,
                checkpoint_age_s=now - self._checkpointer.durable_at,
                elapsed_s=now - self._began,
                watermark_lag_s=lag_s(self._watermark, datetime.now(UTC)),
                log_retained_bytes=self._log_retained(),
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
