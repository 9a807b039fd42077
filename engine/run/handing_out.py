"""Who reads which segment, and with which share of the cap: hands out, takes back, sends home.

Invariant: nobody is sent home while a segment may come back; what a worker that is gone held, segments and
share, is its own until `take_back`. Shares add up to the cap.
"""

import asyncio
import logging
from collections import deque
from dataclasses import field

from engine.contracts.state import SegmentState
from engine.frozen import dataclass
from engine.meter import MeterTotals
from engine.run.link import Assign, Limit, NoMore, RunnerEnd, ToWorker
from engine.run.segments import Segments
from engine.run.worker import Usage

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class ConnectedWorker:
    """A worker as the coordinator sees it. `reads` the segments that it was given and hasn't ended."""

    number: int
    link: RunnerEnd
    totals: MeterTotals = field(default_factory=MeterTotals)
    usage: Usage = field(default_factory=lambda: Usage(0.0, 0))
    reads: set[int] = field(default_factory=set)
    share: float | None = None
    spoken: bool = False
    """Whether it has said anything: one that never did holds nothing."""
    finished: bool = False
    talk: "asyncio.Task[None] | None" = None


class HandingOut:
    """Hands the segments of one run to its workers. Units: `cap` as Limit has it; None: there is none."""

    def __init__(self, segments: Segments, cap: float | None) -> None:
        self._segments = segments
        self._cap = cap
        self._waiting: deque[ConnectedWorker] = deque()
        self._stopping = False
        self.workers: list[ConnectedWorker] = []

    def join(self, link: RunnerEnd) -> ConnectedWorker:
        """Take in a worker, at the start or while the run goes on."""
        worker = ConnectedWorker(len(self.workers), link)
        self.workers.append(worker)
        return worker

    def want(self, worker: ConnectedWorker) -> None:
        """Have a worker given a segment, now or as soon as there is one; or sent home when none can come."""
        self._waiting.append(worker)
        self.serve()

    def read_out(self, worker: ConnectedWorker, number: int) -> None:
        """Take note that a segment was read to its end, all of it acked."""
        log.debug("segment %d is read and acked", number)
        worker.reads.discard(number)
        self.serve()

    def leave(self, worker: ConnectedWorker) -> None:
        """Give nothing more to a worker that is gone; what it holds stays its own."""
        self._waiting = deque(other for other in self._waiting if other is not worker)

    def take_back(self, worker: ConnectedWorker) -> None:
        """Have what a worker held given to others: nothing that it has sent can come any more."""
        self._segments.returned(worker.reads)
        worker.reads.clear()
        self.serve()
        self._share()

    def recap(self, cap: float) -> None:
        """Share another cap from now on."""
        self._cap = cap
        self._share()

    def stop(self) -> None:
        """Hand out nothing more."""
        self._stopping = True
        self.serve()

    @property
    def unread(self) -> bool:
        """Whether there is anything that hasn't been read to its end."""
        return self._segments.pending or any(worker.reads for worker in self.workers)

    def serve(self) -> None:
        """Give those who wait what there is."""
        while self._waiting and not self._stopping and (state := self._segments.next()) is not None:
            self._give(self._waiting.popleft(), state)
        if self._stopping or not self.unread:
            while self._waiting:
                self._waiting.popleft().link.send(NoMore())
        if self._waiting:  # whoever reads nothing needs no share
            self._share()

    def send_all(self, message: ToWorker) -> None:
        """Tell all workers."""
        for worker in self.workers:
            if not worker.finished:
                worker.link.send(message)

    def _give(self, worker: ConnectedWorker, state: SegmentState) -> None:
        where = "its start" if state.end is None else "behind its last mark"
        log.debug("segment %d to worker %d, from %s", state.segment.number, worker.number, where)
        worker.reads.add(state.segment.number)
        self._share()
        worker.link.send(Assign(state.segment, state.end))

    def _share(self) -> None:
        """Share the cap among those who read: a worker hears of its share before its first segment."""
        if self._cap is None:
            return
        reading = [worker for worker in self.workers if worker.reads]
        for worker in reading:
            share = self._cap / len(reading)
            if worker.share != share:
                worker.share = share
                worker.link.send(Limit(share))
