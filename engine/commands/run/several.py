"""The jobs of a file: run one after the other, or followed side by side in one process.

Invariant: followed together, each job keeps a lease, a checkpoint and a report of its own; one that ends has
all others stop, and each of them ends as if it alone had been told to.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace

from engine.commands import ends
from engine.commands.run.prepare import RunOptions
from engine.commands.run.runner import run_job
from engine.commands.whose import job_named
from engine.contracts.state import CheckpointStore
from engine.errors import JobError
from engine.events import Observer
from engine.job.model import Job
from engine.report import FAILED, INTERRUPTED
from engine.run.stopping import StopTogether, stop_on_signals
from engine.run.voice import Voice
from engine.show import logs
from engine.state.resume import Start, decide

PROGRAM = "backfill"
"""Whose words they are that are about all jobs."""


async def run(jobs: Sequence[Job], options: RunOptions, observers: Sequence[Observer]) -> None:
    """Run jobs one after the other; one that doesn't end as complete ends the sequence.

    To follow are several side by side, once each has had its full run. How a job ended, its report tells,
    which observers are given.
    Raises: JobError and PermanentError before a job has begun.
    """
    if options.follow:
        _check_follow(jobs)
        if len(jobs) > 1:
            await _followed(jobs, options, observers)
            return
    for job in jobs:
        async with _held(job, options, among=len(jobs)) as store:
            with job_named(job, among=len(jobs)):
                report = await run_job(job, options, observers, store)
        if report.outcome in (FAILED, INTERRUPTED):
            return


def _check_follow(jobs: Sequence[Job]) -> None:
    """See that there are logs to follow. Raises: JobError."""
    for job in jobs:
        with job_named(job, among=len(jobs)):
            if job.source.log is None:
                another = "" if len(jobs) == 1 else ", or name another one with --only"
                raise JobError(
                    "--follow needs a job that goes by its source's log: say source.catch_up: {type: log}"
                    + another
                )


@asynccontextmanager
async def _held(job: Job, options: RunOptions, *, among: int) -> AsyncIterator[CheckpointStore]:
    """Hold a job's lease. Raises: JobError where another run does."""
    logs.of_job(job.name)
    with job_named(job, among=among):
        store = await ends.open_store(job, options.state_dir)
    try:
        yield store
    finally:
        await store.close()


async def _followed(jobs: Sequence[Job], options: RunOptions, observers: Sequence[Observer]) -> None:
    """Do what is left of full runs, one after the other; then follow all jobs."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(_held(job, options, among=len(jobs))) for job in jobs]
        full = _Noting()
        for job, store in zip(jobs, stores, strict=True):
            with job_named(job, among=len(jobs)):
                if await _loads(job, options, store):
                    report = await run_job(job, replace(options, follow=False), observers, store, full.stops)
                    if full.stopped or report.outcome in (FAILED, INTERRUPTED):
                        return
        await _side_by_side(jobs, stores, replace(options, fresh=False), observers)


async def _loads(job: Job, options: RunOptions, store: CheckpointStore) -> bool:
    """Whether a job's full run is still to be done, or to be gone on with. Raises: JobError."""
    latest = None if options.fresh else await store.load()
    decision = decide(latest, fresh=options.fresh, watched=job.source.watched)
    return (decision.kind if isinstance(decision, Start) else decision.run.kind) == "full"


class _Noting:
    """Stops on signals, and remembers it: between two jobs nobody else would."""

    def __init__(self) -> None:
        self.stopped = False

    @contextmanager
    def stops(self, stop: Callable[[], None], voice: Voice) -> Generator[asyncio.Event, None, None]:
        """Have a run stop on signals; see Stops."""
        with stop_on_signals(stop, voice) as interrupted:
            yield interrupted
            self.stopped = self.stopped or interrupted.is_set()


async def _side_by_side(
    jobs: Sequence[Job],
    stores: Sequence[CheckpointStore],
    options: RunOptions,
    observers: Sequence[Observer],
) -> None:
    """Follow all jobs until a signal, or until one of them ends. Raises: what the first of them raises."""
    together = StopTogether()

    async def follow(job: Job, store: CheckpointStore) -> None:
        logs.of_job(job.name)
        try:
            with job_named(job, among=len(jobs)):
                await run_job(job, options, observers, store, together.heard)
        finally:
            if not together.asked.is_set():
                Voice(observers, PROGRAM).say(f"{job.name} has ended, so all others stop")
                together.ask()

    with stop_on_signals(together.ask, Voice(observers, PROGRAM)):
        following = [asyncio.create_task(follow(*each)) for each in zip(jobs, stores, strict=True)]
        try:
            await asyncio.wait(following)
        finally:
            for task in following:
                task.cancel()
            ended = await asyncio.gather(*following, return_exceptions=True)
    faults = [fault for fault in ended if isinstance(fault, BaseException)]
    for fault in faults[1:]:
        Voice(observers, PROGRAM).warn(str(fault))
    if faults:
        raise faults[0]
