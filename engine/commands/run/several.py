"""The jobs of a file: run one after the other, several at a time, or followed side by side in one process.

Invariant: each job keeps a lease, a checkpoint and a report of its own, and ends as if it alone had been told
to. Of jobs that run at one time none can make an item that another makes; of those that are followed
together, one that ends has all others stop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.commands import ends
from engine.commands.log_needs import by_checkpoints
from engine.commands.run import processes
from engine.commands.run.door import cluster_held, door_open
from engine.commands.run.prepare import RunOptions
from engine.commands.run.runner import run_job
from engine.commands.whose import job_named
from engine.contracts.state import CheckpointStore
from engine.errors import JobError
from engine.events import JobsPlanned, Observer
from engine.job.model import Job
from engine.registry import TARGETS
from engine.report import FAILED, INTERRUPTED, Report
from engine.rules.jobs_apart import waits_for
from engine.run.one_log import LogUses
from engine.run.shared import OwnUsage, Shared
from engine.run.stopping import Stops, StopTogether, stop_on_signals
from engine.run.voice import Voice
from engine.show import logs
from engine.state.resume import Start, decide

if TYPE_CHECKING:
    from engine.commands.run.cluster.holding import RayCluster

PROGRAM = "backfill"
"""Whose words they are that are about all jobs."""


async def run(jobs: Sequence[Job], options: RunOptions, observers: Sequence[Observer]) -> bool:
    """Run jobs one after the other; one that doesn't end as complete ends the sequence.

    With `abreast` several run at one time. To follow are all side by side, once each has had its full run.
    How a job ended, its report tells, which observers are given; returned is whether a signal has left some
    that weren't begun.
    Raises: JobError and PermanentError before a job has begun.
    """
    if options.listen is not None and options.ray is None and len(jobs) > 1:
        raise JobError("--listen is about one job: name it with --only; one command each")
    for observer in observers:
        observer.on(JobsPlanned(len(jobs)))
    async with AsyncExitStack() as stack:
        kinds = {job.target.type for job in jobs}
        targets = {kind: await stack.enter_async_context(TARGETS[kind].shared()) for kind in kinds}
        usage, uses = OwnUsage(processes.usage), LogUses(by_checkpoints(options.state_dir))
        return await _all(jobs, options, observers, Shared(usage, uses, targets=targets))


async def _all(
    jobs: Sequence[Job], options: RunOptions, observers: Sequence[Observer], shared: Shared
) -> bool:
    if options.follow:
        _check_follow(jobs, options)
        if len(jobs) > 1:
            return await _followed(jobs, options, observers, shared)
    if min(options.abreast, len(jobs)) > 1:
        return await _Abreast(jobs, options, observers, shared).run()
    async with cluster_held(options.ray, Voice(observers, PROGRAM)) as cluster:
        return await _one_by_one(jobs, options, observers, shared, cluster)


async def _one_by_one(
    jobs: Sequence[Job],
    options: RunOptions,
    observers: Sequence[Observer],
    shared: Shared,
    cluster: "RayCluster | None",
) -> bool:
    noting = _Noting()
    sharing = replace(shared, stops=noting.stops)
    for number, job in enumerate(jobs, start=1):
        report = await _run(job, options, observers, sharing, cluster, among=len(jobs))
        if noting.stopped or report.outcome in (FAILED, INTERRUPTED):
            return noting.stopped and number < len(jobs)
    return False


async def _run(
    job: Job,
    options: RunOptions,
    observers: Sequence[Observer],
    shared: Shared,
    cluster: "RayCluster | None" = None,
    *,
    among: int,
) -> Report:
    """Run one job under its lease. Raises: JobError and PermanentError before it has begun."""
    voice = Voice(observers, job.name)
    async with (
        _held(job, options, voice, among=among) as store,
        door_open(options.listen, cluster, voice) as door,
    ):
        with job_named(job, among=among):
            return await run_job(job, options, observers, store, shared, door)


def _check_follow(jobs: Sequence[Job], options: RunOptions) -> None:
    """See that there are logs to follow. Raises: JobError."""
    if options.abreast > 1:
        raise JobError("--parallel-jobs is about loads: leave it out, --follow goes on with all jobs at once")
    for job in jobs:
        with job_named(job, among=len(jobs)):
            if job.source.log is None:
                another = "" if len(jobs) == 1 else ", or name another one with --only"
                raise JobError(
                    "--follow needs a job that goes by its source's log: say source.catch_up: {type: log}"
                    + another
                )


@asynccontextmanager
async def _held(job: Job, options: RunOptions, voice: Voice, *, among: int) -> AsyncIterator[CheckpointStore]:
    """Hold a job's lease. Raises: JobError where another run does."""
    logs.of_job(job.name)
    with job_named(job, among=among):
        store = await ends.open_store(job, options.state_dir, voice.say)
    try:
        yield store
    finally:
        await store.close()


async def _followed(
    jobs: Sequence[Job], options: RunOptions, observers: Sequence[Observer], shared: Shared
) -> bool:
    """Do what is left of full runs, one after the other; then follow all jobs."""
    for job, before in zip(jobs, waits_for(jobs), strict=True):
        if before:
            Voice(observers, PROGRAM).warn(
                f"{job.name} may make the items of {_named(jobs, before)}, too: the last that changes has it,"
                " and what one deletes another may still make; give keys different texts to begin or end with"
            )
    async with AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(_held(job, options, Voice(observers, job.name), among=len(jobs)))
            for job in jobs
        ]
        full = _Noting()
        for job, store in zip(jobs, stores, strict=True):
            with job_named(job, among=len(jobs)):
                if await _loads(job, options, store):
                    loading, sharing = replace(options, follow=False), replace(shared, stops=full.stops)
                    report = await run_job(job, loading, observers, store, sharing)
                    if full.stopped or report.outcome in (FAILED, INTERRUPTED):
                        return full.stopped
        return await _side_by_side(jobs, stores, replace(options, fresh=False), observers, shared)


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
    shared: Shared,
) -> bool:
    """Follow all jobs until a signal, or until one of them ends; return whether some weren't begun by then.

    Raises: what the first of them raises.
    """
    together, begun = StopTogether(), list[str]()

    async def follow(job: Job, store: CheckpointStore) -> None:
        logs.of_job(job.name)
        try:
            with job_named(job, among=len(jobs)):
                if await together.carried(
                    lambda stops: run_job(job, options, observers, store, replace(shared, stops=stops))
                ):
                    begun.append(job.name)
        finally:
            if not together.asked.is_set():
                Voice(observers, PROGRAM).say(f"{job.name} has ended, so all others stop")
                together.ask()

    voice = Voice(observers, PROGRAM)
    with stop_on_signals(together.ask, voice):
        await _all_of([follow(*each) for each in zip(jobs, stores, strict=True)], voice)
    return len(begun) < len(jobs)


async def _all_of(runs: Sequence[Coroutine[None, None, None]], voice: Voice) -> None:
    """Carry all of them to their ends. Raises: what the first of them raises; the others' faults are told."""
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    faults = [fault for fault in ended if isinstance(fault, BaseException)]
    for fault in faults[1:]:
        voice.warn(str(fault))
    if faults:
        raise faults[0]


def _named(jobs: Sequence[Job], places: Collection[int]) -> str:
    return ", ".join(jobs[at].name for at in sorted(places))


class _Abreast:
    """Runs as many jobs at a time as are asked for, begun in their order.

    Where one doesn't end as complete, none is begun any more, and those that go on come to their ends.
    """

    def __init__(
        self, jobs: Sequence[Job], options: RunOptions, observers: Sequence[Observer], shared: Shared
    ) -> None:
        self._jobs = jobs
        self._options = options
        self._observers = observers
        self._voice = Voice(observers, PROGRAM)
        self._together = StopTogether()
        self._shared = shared
        self._room = asyncio.Semaphore(options.abreast)
        self._over = [asyncio.Event() for _ in jobs]
        self._waits_for = waits_for(jobs)
        self._failed = False
        self._ended = 0

    async def run(self) -> bool:
        """Run all; return whether a signal has left some that weren't begun.

        Raises: JobError and PermanentError of the first that couldn't begin.
        """
        for job, before in zip(self._jobs, self._waits_for, strict=True):
            if before:
                names = _named(self._jobs, before)
                self._voice.note(f"{job.name} waits for {names}: their items may have the same keys")
        with stop_on_signals(self._together.ask, self._voice):
            await _all_of([self._run_one(number) for number in range(len(self._jobs))], self._voice)
        return self._together.asked.is_set() and self._ended < len(self._jobs)

    async def _run_one(self, number: int) -> None:
        try:
            for before in self._waits_for[number]:
                await self._over[before].wait()
            async with self._room:
                if not (self._failed or self._together.asked.is_set()):
                    await self._begin(self._jobs[number])
        finally:
            self._over[number].set()

    async def _begin(self, job: Job) -> None:
        well = False

        def run(stops: Stops) -> Coroutine[None, None, Report]:
            sharing = replace(self._shared, stops=stops)
            return _run(job, self._options, self._observers, sharing, among=len(self._jobs))

        try:
            if (report := await self._together.carried(run)) is not None:
                self._ended += 1
                well = report.outcome not in (FAILED, INTERRUPTED)
        finally:
            if not (well or self._failed or self._together.asked.is_set()):
                self._failed = True
                self._voice.say(f"{job.name} hasn't ended as complete: no other job is begun")
