"""One run from its first check to its report.

Invariant: nothing is written to the target or the checkpoint before everything that can be checked has been;
what a run ends with is what its checkpoint says.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.clock import utc_now
from engine.commands import ends
from engine.commands.run import views
from engine.commands.run.crew import Crew, crew, working
from engine.commands.run.door import Door
from engine.commands.run.following import confirm, confirming, log_figures, log_of, log_watched
from engine.commands.run.prepare import Prepared, RunOptions, prepare, take_up
from engine.commands.run.settling import broken_word, errand, put_to_work
from engine.commands.run.ways import Way, choose
from engine.commands.run.word import BrokenWord
from engine.contracts.state import CheckpointStore, RunState
from engine.errors import BackfillError, PermanentError
from engine.events import Observer, RunEnded, RunStarted, SegmentsPlanned
from engine.frozen import dataclass
from engine.job.model import Job
from engine.report import (
    COMPLETE,
    COMPLETE_WITH_DEAD_LETTERS,
    FAILED,
    FAILED_FOR_GOOD,
    INTERRUPTED,
    Report,
    build,
    write,
)
from engine.run.coordinator import Coordinator
from engine.run.shared import Shared
from engine.run.voice import Voice
from engine.run.worker import Usage
from engine.state import dead_letters
from engine.state.beside import KeptView
from engine.state.resume import NothingToDo, Start, decide, reached

if TYPE_CHECKING:
    from engine.commands.run.afar import Afar

logger = logging.getLogger(__name__)


async def run_job(
    job: Job,
    options: RunOptions,
    observers: Sequence[Observer],
    store: CheckpointStore,
    shared: Shared,
    door: Door | None = None,
) -> Report:
    """Run a job once; once more behind what was a log's end yesterday, or what isn't yet followed.

    `store` holds its lease; `shared` is what it has in common with others, and tells it when to stop;
    `door` has workers of other hosts.
    Raises: JobError and PermanentError before it has begun; afterwards its report tells.
    """
    voice = Voice(observers, job.name)
    while True:
        passed = await _pass(job, options, voice, store, shared, door)
        if not (passed.goes_on and (options.follow or passed.read_out)):
            return passed.report
        voice, options = Voice(observers, job.name), replace(options, fresh=False)


@dataclass(frozen=True, slots=True)
class _Passed:
    """A run, or this process's part of it. `goes_on`: it is complete by itself, not by being stopped.

    `read_out`: it had been read to its end before, and only had to be closed.
    """

    report: Report
    goes_on: bool = False
    read_out: bool = False


async def _pass(
    job: Job,
    options: RunOptions,
    voice: Voice,
    store: CheckpointStore,
    shared: Shared,
    door: Door | None,
) -> _Passed:
    async with AsyncExitStack() as stack:
        used = stack.enter_context(shared.usage.counted())
        latest = None if options.fresh else await store.load()
        decision = decide(latest, fresh=options.fresh, watched=job.source.watched)
        log_from = None
        if job.source.log is not None and isinstance(decision, Start) and decision.kind == "full":
            log_from = await _keep_log(job, options, store, decision, voice, shared)
        prepared = await prepare(stack, job, options, store, decision, voice, shared)
        if isinstance(decision, NothingToDo):
            letters = await asyncio.to_thread(dead_letters.count, await store.collect_dead_letters())
            return _Passed(_nothing_to_do(job, decision.run, letters, voice))
        if door is not None and options.listen is not None:
            await door.listener.expected(options.listen.expect)
        way = await choose(prepared, decision, voice)
        state = await take_up(prepared, decision, way.segments, log_from)
        if log_from is not None:
            shared.logs.of(job, voice.warn).needs(log_from)
        prepared = await put_to_work(prepared, way, state, voice)
        differ = way.settled is not None and not len(way.settled)
        view = await views.keep(store, prepared.ends, state, differ=differ)
        afar = None if door is None else await _afar(prepared, way, door, voice, view)
        report, stopped = await _carry(prepared, way, state, voice, shared, used, afar)
        report = _kept(report, options.state_dir, voice)
        voice.tell(RunEnded(report))
        by_log = log_of(prepared.ends, state.kind) is not None
        read_out = by_log and all(segment.done for segment in state.segments)
        return _Passed(report, report.closed and not stopped, read_out)


async def _keep_log(
    job: Job,
    options: RunOptions,
    store: CheckpointStore,
    decision: Start,
    voice: Voice,
    shared: Shared,
) -> str | None:
    """Have the log kept from before the run's snapshot on, once everything else has been checked.

    Returns the position; None: the source's watermark.
    """
    async with AsyncExitStack() as trial:
        prepared = await prepare(trial, job, options, store, decision, Voice((), job.name), shared)
        feed = prepared.ends.source.abilities.feed
        assert feed is not None, "the job goes by a log"
        return await feed.set_up(voice.note)


def _kept(report: Report, state_dir: Path, voice: Voice) -> Report:
    """Write the report beside the checkpoint; a file that can't be written doesn't undo what was loaded."""
    try:
        write(report, state_dir / report.job / "report.json")
    except PermanentError as fault:
        voice.warn(str(fault))
        return replace(report, notices=(*report.notices, str(fault)))
    return report


def _nothing_to_do(job: Job, done: RunState, letters_open: int, voice: Voice) -> Report:
    voice.note(
        f"{job.name} is complete since {done.finished_at}, and job, source and table are still the same;"
        " without source.watermark there is nothing to catch up with, and --fresh loads everything again"
    )
    assert done.outcome is not None
    report = build(job.name, done, outcome=done.outcome, notices=voice.notices, letters_open=letters_open)
    voice.tell(RunEnded(report))
    return report


async def _carry(
    prepared: Prepared,
    way: Way,
    state: RunState,
    voice: Voice,
    shared: Shared,
    used: Callable[[], Usage],
    afar: "Afar | None",
) -> tuple[Report, bool]:
    """Work until the run is complete, interrupted or failed, and record which; say whether it was stopped."""
    open_segments = sum(not segment.done for segment in state.segments)
    size = _size(prepared, way, open_segments, alone=afar is None)
    if afar is not None:
        afar.leave_room_for(size)
        afar.place(open_segments)
    voice.tell(await _started(prepared, state, size.workers))
    voice.tell(SegmentsPlanned(len(state.segments), len(state.segments) - open_segments))
    coordinator = Coordinator(
        confirming(prepared.ends, prepared.store, state),
        state,
        [voice],
        rate_max=prepared.ends.job.target.rate_max,
        own_usage=used,
        look=prepared.look,
        patience_s=prepared.ends.job.target.give_up_after_s,
        log_figures=lambda: log_figures(prepared.ends),
    )

    def late_s() -> float:
        """Say how long what was sent may still be applied: all of it is answered, unless the run failed."""
        return 0.0 if coordinator.fault is None else prepared.ends.connector.abilities.late_s

    with (
        shared.stops(coordinator.stop, voice) as interrupted,
        shared.caps.held(prepared.ends.job.target, coordinator.limit, late_s),
    ):
        async with (
            log_watched(prepared.ends),
            working(prepared, size, errand(prepared, way, state), voice.warn, afar) as working_crew,
        ):
            await coordinator.run(working_crew)
    broken = None
    if coordinator.complete:
        noted_by = None if working_crew.replaced else size.workers
        broken = await broken_word(prepared, way, state, noted_by, voice)
    stopped = interrupted.is_set()
    return await _conclude(prepared, coordinator, state, broken, stopped, voice), stopped


def _size(prepared: Prepared, way: Way, open_segments: int, *, alone: bool) -> Crew:
    """Return how many work here. `alone`: whether no worker of another host does."""
    cursors_max = prepared.ends.source.ticket.cursors_max
    if prepared.options.reads_nothing and not alone:
        return Crew(0, 0)
    if way.in_order:
        return crew(1, 1, cursors_max)
    workers = max(1, min(prepared.workers, open_segments))
    # The first is there before the others: with few segments it leaves one for each of them.
    return crew(workers, max(1, min(ends.CURSORS, open_segments // workers)), cursors_max)


async def _afar(prepared: Prepared, way: Way, door: Door, voice: Voice, view: KeptView) -> "Afar | None":
    """Return the workers of other hosts; None, and they are sent home, where the run is this host's alone."""
    why = way.here_only
    if why is None:
        from engine.commands.run.afar import Afar  # only where somebody may dial in

        return Afar(prepared, door, voice, view)
    voice.note(f"workers of other hosts take no part in this run: {why}")
    await door.listener.not_needing(why)
    return None


async def _started(prepared: Prepared, state: RunState, workers: int) -> RunStarted:
    """Return what is told of a run as it begins, or goes on."""
    job, closed = prepared.ends.job, await prepared.store.last_complete()
    return RunStarted(
        job=job.name,
        run_id=state.run_id,
        kind=state.kind,
        resumed=state.interruptions > 0,
        rows_expected=state.rows_expected,
        source=job.source.reads,
        target=job.target.writes_to,
        workers=workers,
        started_at=state.started_at,
        counts=state.counts,
        letters_open=await asyncio.to_thread(dead_letters.count, prepared.store.dead_letters),
        last_success=None if closed is None else closed.finished_at,
        unit_usd=prepared.ends.connector.unit_usd(prepared.ends.target),
    )


async def _conclude(
    prepared: Prepared,
    coordinator: Coordinator,
    begun: RunState,
    broken: BackfillError | None,
    interrupted: bool,
    voice: Voice,
) -> Report:
    """Record the outcome; the report is made of what the checkpoint then holds."""
    error = None
    if broken is not None:
        outcome, error = FAILED, str(broken)
    elif coordinator.complete and not (prepared.line.endless and coordinator.fault):
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
        kept = FAILED_FOR_GOOD if isinstance(broken, BrokenWord) else outcome
        read_up_to = _read_up_to(prepared.ends, begun, coordinator)
        await prepared.store.finish(kept, utc_now(), coordinator.effort(), error, read_up_to)
    except BackfillError as fault:
        voice.warn(f"the outcome could not be recorded: {fault}")
    state = await prepared.store.load()
    assert state is not None
    if state.closed:
        await confirm(prepared.ends, state, voice)
    return build(
        prepared.ends.job.name,
        replace(state, error=error),
        outcome=outcome,
        notices=voice.notices,
        letters_open=await asyncio.to_thread(dead_letters.count, prepared.store.dead_letters),
        log=log_figures(prepared.ends),
    )


def _read_up_to(opened: ends.Ends, begun: RunState, coordinator: Coordinator) -> str | None:
    """Return where a run by the log has come, which is where the next one begins; None: no other run asks.

    The store isn't asked: by now another runner may have taken the run over.
    """
    if log_of(opened, begun.kind) is None:
        return None
    return reached(replace(begun, segments=coordinator.states))
