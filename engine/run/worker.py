"""One process's event loop: asks for segments, carries each through the pipeline, reports what is acked.

Invariant: Finished is the last thing a worker says, and is said only when nothing is in flight.
"""

import asyncio
import traceback
from collections.abc import Callable

from engine.batch import Mark
from engine.documents.walking import CUTS, SHARE
from engine.errors import BackfillError, PermanentError
from engine.frozen import dataclass
from engine.run.link import (
    Advanced,
    Assign,
    Drain,
    Finished,
    Kept,
    Limit,
    NoMore,
    Noted,
    Ticked,
    Until,
    Want,
    WorkerEnd,
)
from engine.run.pipeline import Stages, run_segment
from engine.tasks import ended

TICK_S = 0.5


@dataclass(frozen=True, slots=True)
class Usage:
    """What this process has used. Units: seconds of CPU, bytes at the peak."""

    cpu_s: float
    peak_rss_bytes: int


async def work(
    stages: Stages,
    link: WorkerEnd,
    cursors: int,
    usage: Callable[[], Usage],
    notices_told: int = 0,
    at_end: Callable[[], None] | None = None,
) -> None:
    """Read up to `cursors` segments side by side until there are no more, or until told to drain.

    A fault ends every segment of this worker and is told in Finished; it is not raised. The source's first
    `notices_told` notices are known to the user already. `at_end` is done before Finished is said.
    """
    stopping = asyncio.Event()
    orders: asyncio.Queue[Assign | NoMore] = asyncio.Queue()
    teller = _Teller(stages, link, usage, notices_told)
    background = [
        asyncio.create_task(_listen(stages, link, orders, stopping, cursors)),
        asyncio.create_task(teller.keep_telling()),
    ]
    try:
        async with asyncio.TaskGroup() as readers:
            for _ in range(cursors):
                readers.create_task(_read(stages, link, orders, stopping))
        if at_end is not None:
            at_end()
        finished = Finished()
    except (BaseExceptionGroup, BackfillError) as faults:
        finished = describe(faults)
    finally:
        await ended(*background)
    teller.tell()
    SHARE.tell()
    CUTS.tell()
    link.send(finished)


async def _read(
    stages: Stages, link: WorkerEnd, orders: "asyncio.Queue[Assign | NoMore]", stopping: asyncio.Event
) -> None:
    """Be one cursor: take a segment, carry it to its end, take the next."""

    def emit(mark: Mark) -> None:
        link.send(Advanced(mark))

    while not stopping.is_set():
        link.send(Want())
        order = await orders.get()
        if isinstance(order, NoMore):
            return
        await run_segment(stages, order.segment, order.after, stopping, emit)


async def _listen(
    stages: Stages,
    link: WorkerEnd,
    orders: "asyncio.Queue[Assign | NoMore]",
    stopping: asyncio.Event,
    cursors: int,
) -> None:
    """Take the runner's messages; a runner that is gone means drain.

    It goes on while the worker drains, for the link may be what notices that the runner is gone.
    """
    while True:
        match message := await link.receive():
            case Assign() | NoMore() as order:
                orders.put_nowait(order)
            case Limit(units_per_s):
                stages.target.limit(units_per_s)
            case Kept(letters_bytes):
                stages.letters.give_back(letters_bytes)
            case Until(end_s, lost):
                if lost is not None:
                    stages.tenure.lose(lost)
                stages.tenure.until(end_s)
            case Drain() | None:
                stopping.set()
                for _ in range(cursors):
                    orders.put_nowait(NoMore())
                if message is None:
                    return


class _Teller:
    """Tells the runner this process's figures and what its source has to say, each notice once."""

    def __init__(
        self, stages: Stages, link: WorkerEnd, usage: Callable[[], Usage], notices_told: int
    ) -> None:
        self._stages = stages
        self._link = link
        self._usage = usage
        self._told = notices_told

    def tell(self) -> None:
        for text in self._stages.source.notices[self._told :]:
            self._link.send(Noted(text))
            self._told += 1
        used = self._usage()
        self._link.send(Ticked(self._stages.meter.snapshot(), used.cpu_s, used.peak_rss_bytes))

    async def keep_telling(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.tell()


def describe(faults: BaseException) -> Finished:
    """Turn what ended a worker into what the user is told: the first fault of the outside, or a bug."""
    flat = list(_leaves(faults))
    for fault in flat:
        if isinstance(fault, BackfillError):
            return Finished(fault, "".join(traceback.format_exception(fault)))
    first = flat[0]
    what = f"{type(first).__name__}: {first}" if str(first) else type(first).__name__
    error = PermanentError(
        f"internal error: {what}; nothing acked is lost; please report it (-v shows where)"
    )
    return Finished(error, "".join(traceback.format_exception(first)))


def _leaves(fault: BaseException) -> "list[BaseException]":
    if isinstance(fault, BaseExceptionGroup):
        return [leaf for inner in fault.exceptions for leaf in _leaves(inner)]
    return [fault]
