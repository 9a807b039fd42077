"""Talks with the workers: takes in those that join, marks and figures; buries those that die; stops, ticks.

Invariant: the first fault stops every worker; whatever one did beyond its last durable mark is done again, by
another worker once nothing of the first can be under way, or after an interruption.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from engine.batch import Counts, Effort
from engine.contracts.feed import LogFigures
from engine.contracts.state import MarkStore, RunState, SegmentState
from engine.contracts.target import Look
from engine.errors import BackfillError, TargetUnfit
from engine.events import Event, Notice, Observer, Tick
from engine.run.burials import Burials
from engine.run.checkpointer import Checkpointer
from engine.run.echoes import Echoes
from engine.run.handing_out import ConnectedWorker, HandingOut
from engine.run.lease_watch import LeaseWatch
from engine.run.link import Advanced, Drain, Finished, Noted, Ticked, Until, Want
from engine.run.pipeline import SETTLE_S
from engine.run.segments import Segments
from engine.run.spending import Spending, totals_of
from engine.run.target_watch import TargetWatch
from engine.run.worker import Usage
from engine.run.workforce import Workforce
from engine.tenure import NEVER

log = logging.getLogger(__name__)

TICK_S = 0.5

DRAIN_S = SETTLE_S + 0.5
"""How long workers may take after a stop; one that takes longer is abandoned, what its marks don't cover is
done again later. With the last checkpoint a stop takes less than five seconds, whatever hangs."""


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
        log_figures: Callable[[], LogFigures] = LogFigures,
    ) -> None:
        self._observers = observers
        self._log_figures = log_figures
        self._spending = Spending(own_usage)
        self._watermark = run.watermark
        self._segments = Segments(run)
        self._handing_out = HandingOut(self._segments, rate_max)
        self._joined = asyncio.Event()
        self._burials = Burials(self._segments, self._handing_out, self._fail)
        self._fault: Finished | None = None
        self._stop_asked = asyncio.Event()
        self._echoes = Echoes()
        self._target_watch = TargetWatch(look, patience_s)
        self._lease_watch = LeaseWatch(store.tenure, self._handing_out.send_all, self.tell)
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
    def states(self) -> tuple[SegmentState, ...]:
        """How each segment stands, as far as it is durable."""
        return self._segments.states

    @property
    def counts(self) -> Counts:
        """What is durable."""
        return self._segments.counts

    async def run(self, workforce: Workforce) -> None:
        """Hand out segments until all are done, a fault or a stop ends it; then checkpoint once more."""
        checkpoints = asyncio.create_task(self._checkpointer.keep_on())
        beside = [asyncio.create_task(self._ticks()), asyncio.create_task(self._take_in(workforce))]
        try:
            await self._until_over(beside)
        finally:
            self._checkpointer.end()
            beside += [*self._talks(), *self._burials.going_on]
            for task in beside:
                task.cancel()
            await asyncio.gather(checkpoints, *beside, return_exceptions=True)
        await self._checkpointer.keep(force=True)
        if self._segments.done and (why := await self._target_watch.confirm(self._stop_asked)) is not None:
            self._fail(Finished(why))
        self._tick()

    def limit(self, units_per_s: float) -> None:
        """Set another cap over all workers."""
        self._handing_out.recap(units_per_s)

    def stop(self) -> None:
        """Have the workers finish what is in flight and read no further."""
        if not self._stop_asked.is_set():
            self._handing_out.send_all(Drain())
            self._stop_asked.set()
            self._handing_out.stop()

    async def _take_in(self, workforce: Workforce) -> None:
        """Talk with whoever joins, until the run is over."""
        while True:
            try:
                link = await workforce.joining()
            except BackfillError as fault:
                self._fail(Finished(fault))
                return
            worker = self._handing_out.join(link)
            log.debug("worker %d joins", worker.number)
            worker.talk = asyncio.create_task(self._converse(worker, workforce))
            self._joined.set()

    def _talks(self, *, spoken: bool = False) -> "set[asyncio.Task[None]]":
        """Return the conversations that go on; `spoken`: of those workers that have said something."""
        workers = [worker for worker in self._handing_out.workers if worker.spoken or not spoken]
        return {worker.talk for worker in workers if worker.talk is not None and not worker.talk.done()}

    async def _until_over(self, beside: "Sequence[asyncio.Task[None]]") -> None:
        """Wait until all is read and every worker has finished; after a stop, no longer than DRAIN_S.

        A worker that was still starting when nothing was left isn't waited for.
        """
        stop = asyncio.create_task(self._stop_asked.wait())
        while not stop.done() and (
            self._handing_out.unread or self._talks(spoken=True) or self._burials.going_on
        ):
            self._joined.clear()
            joined = asyncio.create_task(self._joined.wait())
            over = {stop, joined, *beside, *self._talks(), *self._burials.going_on}
            done, _ = await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            joined.cancel()
            for task in done - {joined}:
                task.result()
            beside = [task for task in beside if not task.done()]
        stop.cancel()
        if left := self._talks(spoken=True):
            done, _ = await asyncio.wait(left, timeout=DRAIN_S)
            for task in done:
                task.result()

    async def _converse(self, worker: ConnectedWorker, workforce: Workforce) -> None:
        while not worker.finished:
            message = await worker.link.receive()
            worker.spoken = True
            match message:
                case Want():
                    self._handing_out.want(worker)
                case Advanced(mark):
                    self._segments.gathered(mark)
                    self._checkpointer.gather(worker.link, mark)
                    if mark.done:
                        self._handing_out.read_out(worker, mark.segment)
                case Ticked(totals, cpu_s, peak_rss_bytes):
                    worker.totals, worker.usage = totals, Usage(cpu_s, peak_rss_bytes)
                case Noted(text):
                    if self._echoes.new(worker.number, text, time.monotonic()):
                        self.tell(Notice(text, "warning"))
                case Finished() as finished:
                    worker.finished = True
                    log.debug("worker %d has finished", worker.number)
                    self._handing_out.leave(worker)
                    if finished.error is not None:
                        self._fail(finished)
                    self._handing_out.take_back(worker)  # nothing of it is in flight
                case None:
                    worker.finished = True
                    self._lost(worker, workforce)

    def _lost(self, worker: ConnectedWorker, workforce: Workforce) -> None:
        """See to a worker that died, unless all stop anyway: the signal may have met it at its start."""
        if self._stop_asked.is_set():
            text = "a worker process ended while stopping; what it had in flight is done again"
            self.tell(Notice(text, "warning"))
        else:
            self._burials.begin(worker, workforce)

    def _fail(self, finished: Finished) -> None:
        if self._fault is None:
            self._fault = finished
        self.stop()
        if isinstance(finished.error, TargetUnfit):  # not even what is in flight would be worth anything
            self._handing_out.send_all(Until(-NEVER, str(finished.error)))

    def effort(self) -> Effort:
        """Add up what the run has cost since this process took it up, over its workers."""
        return self._spending.effort(self._handing_out.workers)

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if (lost := self._lease_watch.look()) is not None:
                self._fail(Finished(lost))
            self._handing_out.serve()  # a segment may wait for its last marks to be durable
            self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        self.tell(
            Tick(
                at_s=now,
                meter=totals_of(self._handing_out.workers),
                counts=self._segments.counts,
                segments=self._segments.tally,
                checkpoint_age_s=now - self._checkpointer.durable_at,
                elapsed_s=self._spending.elapsed_s,
                watermark_lag_s=lag_s(self._watermark, datetime.now(UTC)),
                log=self._log_figures(),
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
