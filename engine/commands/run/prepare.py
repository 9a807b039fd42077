"""What a run needs before it may begin: both ends opened and checked, its place in the checkpoint.

Invariant: nothing is written before everything that can be checked has been.
"""

import logging
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.batch import Segment
from engine.commands.ends import CURSORS, Ends, open_ends
from engine.commands.peers import by_log, needed, refusal
from engine.commands.run.catching_up import caught_up
from engine.commands.run.following import followed, gone_on, log_checked, log_of
from engine.commands.run.views import kept_before
from engine.contracts.source import Sharing, Source
from engine.contracts.state import CheckpointStore, RunState
from engine.contracts.target import Look
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.model import Job
from engine.rules.peers import Untold
from engine.run.letters import LETTERS_WINDOW_BYTES
from engine.run.pipeline import Stages
from engine.run.shared import Shared
from engine.run.voice import Voice
from engine.state.beside import KeptView, kept_standing
from engine.state.fingerprint import STANDING, attributes, changed, compare, reshaped, same_target, upgraded
from engine.state.former import dumped, former_rules, told
from engine.state.resume import Decision, GoOn, NothingToDo, Start

if TYPE_CHECKING:
    from engine.commands.run.cluster.holding import RayOptions
    from engine.commands.run.listening import Listen

log = logging.getLogger(__name__)

SEGMENT_ROWS = 50_000
"""Rows below which cutting a segment in two gains nothing: a cursor's start costs more than it reads."""

SEGMENTS_PER_CURSOR = 8
"""Segments for each cursor that reads: enough that the last ones end at about the same time."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says about a run. `workers`: the most processes; None: as many as it is worth.

    `follow`: a catch-up run goes on until it is stopped. `abreast`: the most jobs that run at one time.
    `listen`: for workers of other hosts. `ray`: they are placed on a cluster, and `workers` counts these.
    """

    state_dir: Path
    workers: int | None
    fresh: bool = False
    follow: bool = False
    abreast: int = 1
    listen: "Listen | None" = None
    ray: "RayOptions | None" = None

    @property
    def reads_nothing(self) -> bool:
        """Whether all is left to workers of other hosts."""
        return self.workers == 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that a run needs, opened and checked.

    `workers`: the most processes that may work here, `placed`: the most that are placed on a cluster.
    """

    options: RunOptions
    workers: int
    placed: int
    store: CheckpointStore
    ends: Ends
    line: Stages
    look: Look
    prints: Mapping[str, str]
    former: tuple[str, ...]
    before: KeptView | None = None
    """What is known of the view that this run has read before."""


async def prepare(
    stack: AsyncExitStack,
    job: Job,
    options: RunOptions,
    store: CheckpointStore,
    decision: Decision,
    voice: Voice,
    shared: Shared,
) -> Prepared:
    """Open both ends and check the job against them; nothing is written.

    A finished run with nothing to catch up with is looked at in the same way: what has changed since is said
    by refusing, never by leaving it out.
    """
    since = decision.since if isinstance(decision, Start) else decision.run.since
    seen = await kept_before(store, decision)
    views = () if seen is None else seen.names
    ends = await open_ends(stack, job, since=since, connector=shared.target(job), views=views)
    source = ends.source
    if source.abilities.feed is not None:
        source.abilities.feed.share(shared.logs.of(job, voice.warn))
    for text in () if isinstance(decision, NothingToDo) else source.notices:
        voice.warn(text)
    if isinstance(decision, Start) and decision.kind == "catch_up" and since is None:
        voice.warn(
            "No run before could keep from when on changes are to be read, so this catch-up run reads the"
            " whole source."
        )
    prints = ends.prints()
    if (continuity := source.abilities.continuity) is not None:
        prints[STANDING] = continuity.standing
    before = await _before(store, decision, job, fresh=options.fresh)
    goes_on = isinstance(decision, GoOn)
    if before is not None:
        told = len(source.notices)
        _compare(job, before, prints, goes_on=goes_on)
        await _held_to(before, source, goes_on=goes_on)
        for text in source.notices[told:]:
            voice.warn(text)
    line = await _line(stack, ends, store, decision, voice, endless=options.follow)
    prints |= attributes(line.transform.rules)
    if before is not None:
        # Once more: how attributes are shaped is known only now, and what the job itself says had to be told
        # before anything that its rules make impossible.
        _compare(job, before, prints, goes_on=goes_on)
        if not goes_on and (change := reshaped(before, prints)):
            voice.warn(f"{change}; items written before keep their shape until --fresh")
    former = await _former(store, decision, job, prints, voice)
    look = await stack.enter_async_context(ends.watch())
    if source.abilities.feed is None and since is not None and not isinstance(decision, NothingToDo):
        line = await caught_up(stack, ends, line, voice)
    elif job.source.watched and isinstance(untold := needed(ends), Untold):
        voice.warn(refusal(ends, untold))
    workers = options.workers
    if workers is None:
        workers = await _worth(ends, decision, options)
    workers, placed = (max(1, workers), 0) if options.ray is None else _placed(workers, options)
    return Prepared(options, workers, placed, store, ends, line, look, prints, former, seen)


async def _line(
    stack: AsyncExitStack,
    ends: Ends,
    store: CheckpointStore,
    decision: Decision,
    voice: Voice,
    *,
    endless: bool,
) -> Stages:
    """Return the stages of a run, which may be one that reads the source's log."""
    feed = ends.source.abilities.feed
    follows = None if feed is None else await log_checked(ends, feed, decision)
    line = await stack.enter_async_context(
        ends.stages(
            voice.warn,
            ordered=False,
            letters_bytes=LETTERS_WINDOW_BYTES,
            tenure=store.tenure,
            transform=follows,
        )
    )
    if feed is None or follows is None:
        return line
    if isinstance(besides := by_log(ends), Sharing):
        for text in await ends.source.abilities.peers_cost(besides):
            voice.warn(text)
    return await followed(stack, ends, line, feed, follows, endless=endless)


def _placed(workers: int, options: RunOptions) -> tuple[int, int]:
    """Return how many work here, and on a cluster: those that were asked for, or are worth it."""
    return 1, workers if options.workers is not None else workers - 1


async def _worth(ends: Ends, decision: Decision, options: RunOptions) -> int:
    """Choose how many processes work, and say why to whoever looks with `-v`."""
    kind = decision.kind if isinstance(decision, Start) else decision.run.kind
    if isinstance(decision, NothingToDo) or log_of(ends, kind) is not None:
        return 1  # nothing is read side by side
    rows = await ends.source.rows_expected()
    if isinstance(decision, GoOn) and rows is not None:
        states = decision.run.segments
        rows = round(rows * sum(not state.done for state in states) / max(1, len(states)))
    found = ends.worth(rows, options.abreast, here=options.ray is None)
    log.debug("workers %d: %s", found.workers, found.why)
    return found.workers


def _compare(job: Job, before: Mapping[str, str], prints: Mapping[str, str], *, goes_on: bool) -> None:
    """See that job, source and target are those of an earlier run. Raises: JobError."""
    if misfit := compare(before, prints, goes_on=goes_on, same_positions=job.source.same_positions):
        raise misfit


async def _held_to(before: Mapping[str, str], source: Source, *, goes_on: bool) -> None:
    """See that the source, by its own account, is that of an earlier run. Raises: JobError."""
    standing, continuity = before.get(STANDING), source.abilities.continuity
    if standing is None or continuity is None:
        return
    if (what := await continuity.misfit(standing, goes_on=goes_on)) is not None:
        raise changed(f"the source changed ({what})", goes_on=goes_on)


async def _before(
    store: CheckpointStore, decision: Decision, job: Job, *, fresh: bool
) -> Mapping[str, str] | None:
    """Return the fingerprint that this job has to have; a fresh start looks at nothing, damage neither."""
    if fresh:
        return None
    run = await store.last_complete() if isinstance(decision, Start) else decision.run
    if run is None:
        return None
    before = upgraded(run.fingerprint, job.former_parts(), job.fingerprint_parts())
    standing = await kept_standing(store, run.run_id)
    return before if standing is None else {**before, STANDING: standing}


async def _former(
    store: CheckpointStore, decision: Decision, job: Job, prints: Mapping[str, str], voice: Voice
) -> tuple[str, ...]:
    """Return the rules of runs before whose items another key leaves in the table, and say so once."""
    if not isinstance(decision, Start):
        return ()
    try:
        before = await store.load()
    except JobError:  # a fresh start is the way out of damage; what was there before nobody knows
        return ()
    if before is None or not same_target(before.fingerprint, prints):
        return ()
    former = former_rules(before, job.items)
    if decision.kind == "full" and former:
        voice.warn(told(before, former, job.name))
    elif (
        decision.kind == "full"
        and before.rules is None
        and before.fingerprint.get("mapping") != prints["mapping"]
    ):
        voice.warn(
            "The mapping isn't that of the last run, which an earlier version made: if its keys were others,"
            " their items stay in the table, and verify can't tell them."
        )
    return former


async def take_up(
    prepared: Prepared, decision: Start | GoOn, segments: Sequence[Segment], log_from: str | None
) -> RunState:
    """Enter the run into the checkpoint: a new one with its segments, or the unfinished one again.

    `log_from`: the position from which on the log is kept for it, where that isn't the source's watermark.
    """
    if isinstance(decision, GoOn):
        return gone_on(prepared.ends, await prepared.store.resume(), endless=prepared.line.endless)
    by_log, watched = log_of(prepared.ends, decision.kind) is not None, prepared.ends.job.source.watched
    rows = None if by_log else await prepared.ends.source.rows_expected()
    read_up_to = log_from or prepared.ends.source.watermark
    state = replace(
        RunState.begun(uuid.uuid4().hex[:12], decision.kind, segments),
        fingerprint=prepared.prints,
        since=decision.since,
        watermark=read_up_to if watched and not prepared.line.endless else None,
        rows_expected=rows,
        base=read_up_to if decision.kind == "full" else decision.base,
        watched=watched,
        rules=dumped(prepared.ends.job.items, prepared.ends.job.variables),
        former=prepared.former,
    )
    await prepared.store.begin(state)
    return state


def segments_wanted(prepared: Prepared, rows: int | None) -> int:
    """Cut for even work over all cursors."""
    if prepared.ends.job.source.segments != "auto":
        return prepared.ends.job.source.segments
    listen = prepared.options.listen
    workers = prepared.workers + prepared.placed + (0 if listen is None else listen.expect)
    most = workers * CURSORS * SEGMENTS_PER_CURSOR
    return most if rows is None else max(1, min(most, rows // SEGMENT_ROWS))
