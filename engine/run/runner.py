"""One run from its first check to its report.

Invariant: nothing is written to the target or the checkpoint before everything that can be checked has been;
what a run ends with is what its checkpoint says.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.batch import Counts, Effort
from engine.contracts import CheckpointStore, Look, RunState, SegmentState, Source
from engine.errors import BackfillError, JobError, PermanentError
from engine.events import BrokenOff, Event, Notice, Observer, RunEnded, RunStarted, SegmentsPlanned
from engine.job.model import Job
from engine.report import (
    COMPLETE,
    COMPLETE_WITH_DEAD_LETTERS,
    FAILED,
    INTERRUPTED,
    Report,
    build,
    write,
)
from engine.rules.uniqueness import ordered_reason
from engine.run import connect, processes
from engine.run.coordinator import Coordinator
from engine.run.letters import LETTERS_WINDOW_BYTES
from engine.run.link import RunnerEnd, queue_link
from engine.run.pipeline import Line
from engine.run.stopping import stop_on_signals
from engine.run.worker import Usage, work
from engine.state.checkpoint import utc_now
from engine.state.fingerprint import attributes, compare, fingerprint, reshaped
from engine.state.resume import Decision, GoOn, NothingToDo, Start, decide

SEGMENT_ROWS = 50_000
"""Rows below which cutting a segment in two gains nothing: a cursor's start costs more than it reads."""

SEGMENTS_PER_CURSOR = 8
"""Segments for each cursor that reads: enough that the last ones end at about the same time."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says about a run. `workers` is the most processes that may work."""

    state_dir: Path
    workers: int
    fresh: bool = False


async def run(jobs: Sequence[Job], options: RunOptions, observers: Sequence[Observer]) -> list[Report]:
    """Run jobs one after the other; one that doesn't end as complete ends the sequence.

    Raises: JobError and PermanentError before a job has begun; afterwards its report tells.
    """
    reports: list[Report] = []
    for job in jobs:
        with _job_named(job, among=len(jobs)):
            report = await _run_job(job, options, observers)
        reports.append(report)
        if report.outcome in (FAILED, INTERRUPTED):
            break
    return reports


@contextmanager
def _job_named(job: Job, *, among: int) -> Generator[None, None, None]:
    """Say which of several jobs doesn't fit: each has an `items[0]`."""
    try:
        yield
    except JobError as error:
        if among == 1:
            raise
        raise JobError(f"{job.name}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Everything that a run needs, opened and checked."""

    job: Job
    options: RunOptions
    store: CheckpointStore
    source: Source
    table: Any
    line: Line
    look: Look
    ordered: bool
    prints: Mapping[str, str]


class _Voice:
    """Tells the observers, and keeps the notices for the report."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = observers
        self.notices: list[str] = []

    def tell(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)
        for observer in self.observers:
            observer.on(event)

    on = tell

    def say(self, text: str) -> None:
        """Tell what is true only now: the report doesn't keep it."""
        for observer in self.observers:
            observer.on(Notice(text))

    def break_off(self, text: str) -> None:
        self.tell(BrokenOff(text))

    def note(self, text: str) -> None:
        self.tell(Notice(text))

    def warn(self, text: str) -> None:
        self.tell(Notice(text, "warning"))


async def _run_job(job: Job, options: RunOptions, observers: Sequence[Observer]) -> Report:
    voice = _Voice(observers)
    async with AsyncExitStack() as stack:
        store = await connect.open_store(job, options.state_dir)
        stack.push_async_callback(store.close)
        latest = None if options.fresh else await store.load()
        decision = decide(latest, fresh=options.fresh, has_watermark=job.source.watermark is not None)
        prepared = await _prepare(stack, job, options, store, decision, voice)
        if isinstance(decision, NothingToDo):
            return _nothing_to_do(job, decision.run, voice)
        state = await _take_up(prepared, decision)
        report = _kept(await _carry(prepared, state, voice), options.state_dir, voice)
        voice.tell(RunEnded(report))
        return report


def _kept(report: Report, state_dir: Path, voice: _Voice) -> Report:
    """Write the report beside the checkpoint; a file that can't be written doesn't undo what was loaded."""
    try:
        write(report, state_dir / report.job / "report.json")
    except PermanentError as fault:
        voice.warn(str(fault))
        return replace(report, notices=(*report.notices, str(fault)))
    return report


def _nothing_to_do(job: Job, done: RunState, voice: _Voice) -> Report:
    voice.note(
        f"{job.name} is complete since {done.finished_at}, and job, source and table are still the same;"
        " without source.watermark there is nothing to catch up with, and --fresh loads everything again"
    )
    assert done.outcome is not None
    report = build(job.name, done, outcome=done.outcome, notices=voice.notices)
    voice.tell(RunEnded(report))
    return report


async def _prepare(
    stack: AsyncExitStack,
    job: Job,
    options: RunOptions,
    store: CheckpointStore,
    decision: Decision,
    voice: _Voice,
) -> _Prepared:
    """Open both ends and check the job against them; nothing is written.

    A finished run with nothing to catch up with is looked at in the same way: what has changed since is said
    by refusing, never by leaving it out.
    """
    table = await connect.describe_table(job)
    since = decision.since if isinstance(decision, Start) else decision.run.since
    source = await connect.open_source(job, since=since)
    stack.push_async_callback(source.close)
    for text in () if isinstance(decision, NothingToDo) else source.notices:
        voice.warn(text)
    prints = fingerprint(job.fingerprint_parts(), source.identity, connect.table_identity(table))
    before = await _before(store, decision, fresh=options.fresh)
    goes_on = isinstance(decision, GoOn)
    if before is not None and (misfit := compare(before.fingerprint, prints, goes_on=goes_on)):
        raise misfit
    why_ordered = ordered_reason(job, source.ticket.schema)
    if why_ordered is not None:
        voice.note(why_ordered)
    ordered = why_ordered is not None
    line = await stack.enter_async_context(
        connect.open_line(
            job,
            source,
            table,
            ordered=ordered,
            notice=voice.warn,
            letters_bytes=LETTERS_WINDOW_BYTES,
            tenure=store.tenure,
        )
    )
    prints |= attributes(line.transform.rules)
    if before is not None and (misfit := compare(before.fingerprint, prints, goes_on=goes_on)):
        raise misfit
    if before is not None and not goes_on and (change := reshaped(before.fingerprint, prints)):
        voice.warn(f"{change}; items written before keep their shape until --fresh")
    look = await stack.enter_async_context(connect.watch_table(job, table))
    return _Prepared(job, options, store, source, table, line, look, ordered, prints)


async def _before(store: CheckpointStore, decision: Decision, *, fresh: bool) -> RunState | None:
    """Return the run whose job this one has to be; a fresh start looks at nothing, not even at damage."""
    if fresh:
        return None
    return await store.last_complete() if isinstance(decision, Start) else decision.run


async def _take_up(prepared: _Prepared, decision: Start | GoOn) -> RunState:
    """Enter the run into the checkpoint: a new one with its segments, or the unfinished one again."""
    if isinstance(decision, GoOn):
        return await prepared.store.resume()
    rows = await prepared.source.rows_expected()
    segments = await prepared.source.segments(_segments_wanted(prepared, rows))
    state = RunState(
        run_id=uuid.uuid4().hex[:12],
        kind=decision.kind,
        started_at=utc_now(),
        finished_at=None,
        outcome=None,
        fingerprint=prepared.prints,
        since=decision.since,
        watermark=prepared.source.watermark,
        interruptions=0,
        rows_expected=rows,
        segments=tuple(SegmentState(segment, None, done=False) for segment in segments),
        counts=Counts(),
        dead_letters_by_reason={},
        effort=Effort(),
        error=None,
    )
    await prepared.store.begin(state)
    return state


def _segments_wanted(prepared: _Prepared, rows: int | None) -> int:
    """Cut for even work over all cursors; in order, only one cursor may read."""
    if prepared.ordered:
        return 1
    if prepared.job.source.segments != "auto":
        return prepared.job.source.segments
    most = prepared.options.workers * connect.CURSORS * SEGMENTS_PER_CURSOR
    return most if rows is None else max(1, min(most, rows // SEGMENT_ROWS))


async def _carry(prepared: _Prepared, state: RunState, voice: _Voice) -> Report:
    """Work until the run is complete, interrupted or failed, and record which."""
    open_segments = sum(not segment.done for segment in state.segments)
    workers = 1 if prepared.ordered else max(1, min(prepared.options.workers, open_segments))
    voice.tell(
        RunStarted(
            job=prepared.job.name,
            run_id=state.run_id,
            kind=state.kind,
            resumed=state.interruptions > 0,
            rows_expected=state.rows_expected,
            source=prepared.job.source.reads,
            target=prepared.job.target.table,
            workers=workers,
            started_at=state.started_at,
            counts=state.counts,
        )
    )
    voice.tell(SegmentsPlanned(len(state.segments), len(state.segments) - open_segments))
    coordinator = Coordinator(
        prepared.store,
        state,
        [voice],
        max_wcu=prepared.job.target.max_wcu,
        own_usage=processes.usage,
        look=prepared.look,
        patience_s=prepared.job.target.give_up_after_s,
    )
    with stop_on_signals(coordinator.stop, voice.say, voice.break_off) as interrupted:
        async with _workers(prepared, workers) as links:
            await coordinator.run(links)
    return await _conclude(prepared, coordinator, interrupted.is_set(), voice)


async def _conclude(
    prepared: _Prepared, coordinator: Coordinator, interrupted: bool, voice: _Voice
) -> Report:
    """Record the outcome; the report is made of what the checkpoint then holds."""
    error = None
    if coordinator.complete:
        letters = coordinator.counts.items_dead_lettered
        outcome = COMPLETE_WITH_DEAD_LETTERS if letters else COMPLETE
    elif coordinator.fault is not None:
        outcome, error = FAILED, str(coordinator.fault.error)
        if coordinator.fault.traceback:
            logger.debug("%s", coordinator.fault.traceback)
    elif interrupted:
        outcome = INTERRUPTED
    else:
        raise AssertionError(f"segments are left though nothing failed: {coordinator.counts}")
    try:
        await prepared.store.finish(outcome, utc_now(), coordinator.effort(), error)
    except BackfillError as fault:
        voice.warn(f"the outcome could not be recorded: {fault}")
    state = await prepared.store.load()
    assert state is not None
    return build(prepared.job.name, replace(state, error=error), outcome=outcome, notices=voice.notices)


@asynccontextmanager
async def _workers(prepared: _Prepared, count: int) -> AsyncGenerator[Sequence[RunnerEnd], None]:
    """Run the workers: one in this process, several in processes of their own."""
    cursors = 1 if prepared.ordered else connect.CURSORS
    if count == 1:
        ours, theirs = queue_link()
        told = len(prepared.source.notices)
        task = asyncio.create_task(work(prepared.line, theirs, cursors, _counted_by_runner, told))
        try:
            yield [ours]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return
    boot = processes.Boot(
        prepared.job,
        prepared.source.ticket,
        prepared.table,
        ordered=prepared.ordered,
        cursors=cursors,
        credentials=await connect.credentials(),
        lease_end_s=prepared.store.tenure.end_s,
    )
    workers: list[processes.WorkerProcess] = []
    try:
        for _ in range(count):
            workers.append(await processes.spawn(boot, prepared.store.lease_fd))  # noqa: PERF401 - ended below
        yield [worker.link for worker in workers]
    finally:
        await asyncio.gather(*(worker.end() for worker in workers))


def _counted_by_runner() -> Usage:
    return Usage(0.0, 0)
