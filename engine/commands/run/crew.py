"""The workers of a run, or of a pass over keys: how many there are, where they run, how they start and end.

Invariant: one worker is this process; several are processes of their own, and none outlives its crew.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from engine.commands.run import processes
from engine.commands.run.prepare import Prepared
from engine.job import handed
from engine.run.link import RunnerEnd, queue_link
from engine.run.pipeline import Stages
from engine.run.worker import Usage, work


@dataclass(frozen=True, slots=True)
class Crew:
    """How many workers there are, and how many cursors each has."""

    workers: int
    cursors: int


def crew(workers: int, cursors: int, cursors_max: int | None) -> Crew:
    """Return the crew that a source has room for; workers go before cursors."""
    if cursors_max is None:
        return Crew(workers, cursors)
    workers = min(workers, cursors_max)
    return Crew(workers, min(cursors, cursors_max // workers))


@dataclass(frozen=True, slots=True)
class Errand:
    """What a crew is to do besides carrying segments.

    `line` what one worker in this process passes batches through, and `at_end` what it does behind the last;
    `told` names the same for a process by its number: see Boot's `notes` and `settled`.
    """

    line: Stages
    at_end: Callable[[], None] | None
    told: Callable[[processes.Boot, int], processes.Boot]


@asynccontextmanager
async def working(
    prepared: Prepared, size: Crew, errand: Errand
) -> AsyncGenerator[Sequence[RunnerEnd], None]:
    """Run the workers: one in this process, several in processes of their own."""
    if size.workers == 1:
        ours, theirs = queue_link()
        told = len(prepared.ends.source.notices)
        task = asyncio.create_task(
            work(errand.line, theirs, size.cursors, _counted_by_runner, told, errand.at_end)
        )
        try:
            yield [ours]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return
    boot = processes.Boot(
        handed.write(prepared.ends.job),
        prepared.ends.source.ticket.as_json(),
        prepared.ends.target.as_text(),
        cursors=size.cursors,
        credentials=await prepared.ends.connector.hand_over(),
        lease_end_s=prepared.store.tenure.end_s,
    )
    workers: list[processes.WorkerProcess] = []
    try:
        for number in range(size.workers):
            started = await processes.spawn(errand.told(boot, number), prepared.store.lease_fd)
            workers.append(started)
        yield [worker.link for worker in workers]
    finally:
        await asyncio.gather(*(worker.end() for worker in workers))


def _counted_by_runner() -> Usage:
    return Usage(0.0, 0)
