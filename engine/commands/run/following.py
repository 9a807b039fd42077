"""A catch-up run from the source's log: whether a job can have one, its stages, and what it confirms.

Invariant: the log is let go only of what a durable checkpoint covers; where it can't be told which items a
row made before it changed, nothing is written.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa

from engine.batch import Batch, Cursor, Effort, Mark, Segment
from engine.commands.ends import Ends
from engine.commands.peers import by_log
from engine.contracts.feed import ChangeFeed, Deciding, LogFigures, LogNeeds
from engine.contracts.readback import Hashes
from engine.contracts.state import CheckpointStore, MarkStore, RunState
from engine.errors import BackfillError, JobError
from engine.frozen import dataclass
from engine.rules.old_keys import OldKeys, WithOldKeys, old_keys
from engine.rules.peers import Untold
from engine.run.pipeline import Stages
from engine.run.superseded import Superseded
from engine.run.touched import Touched, every_row
from engine.run.voice import Voice
from engine.state.beside import keep_standing
from engine.state.resume import Decision, GoOn, NothingToDo, Start, reached
from engine.tasks import ended
from engine.tenure import Tenure

ASK_S = 30.0
"""How often the source is asked how much of its log it keeps."""


def log_of(ends: Ends, kind: str) -> ChangeFeed | None:
    """Return the log that a run of this kind reads; None: it reads rows."""
    return ends.source.abilities.feed if kind == "catch_up" else None


async def log_checked(ends: Ends, feed: ChangeFeed, decision: Decision) -> WithOldKeys | None:
    """See that a job can be caught up from its log; return the rules of a run that is to read it.

    Raises: JobError, and what asking the source raises.
    """
    kind: str
    match decision:
        case Start():
            kind, position = decision.kind, decision.since
        case GoOn(run) | NothingToDo(run):
            kind, position = run.kind, reached(run)
    old, needs = _old_keys(ends)
    await feed.check(needs, position)
    return WithOldKeys(ends.transform(), old.made, old.keys) if kind == "catch_up" else None


async def foretold(ends: Ends) -> tuple[Sequence[str], bool]:
    """Say for a plan what a log means for a job, or why it can't go by it; and whether a run is refused."""
    feed = ends.source.abilities.feed
    if feed is None:
        return (), False
    why = await lacking(ends, feed)
    if why is not None:
        return (f"It can't run as it is: {why}.",), True
    shared = ", ".join(mate.name for mate in ends.job.log_mates)
    with_whom = f" It is kept for {shared} as well, up to whichever of them is the furthest behind."
    return (f"{feed.foretold}{with_whom if shared else ''}",), False


async def lacking(ends: Ends, feed: ChangeFeed) -> str | None:
    """Say why a job can't go by a log, or what is missing for it; None: it can."""
    try:
        await feed.check(_old_keys(ends)[1], None)
    except BackfillError as error:
        return str(error)
    return None


def _old_keys(ends: Ends) -> tuple[OldKeys, LogNeeds]:
    """Return the rules for the keys of rows as they were, where mode, target and keys let them be deleted."""
    if ends.job.target.mode == "insert":
        raise JobError(
            "source.catch_up: changes from the log need target.mode put or newer; mode insert keeps what is"
            " there: use another, or go by source.watermark"
        )
    if not ends.connector.abilities.deletes:
        raise JobError(
            f"source.catch_up: a {ends.job.target.type} target can't delete, and the log tells of rows that"
            " are gone; go by source.watermark"
        )
    found = by_log(ends)
    if isinstance(found, Untold):
        raise JobError(
            f"source.catch_up: {ends.proof.reason}, so the item of a row that is gone may be another row's by"
            f" now, which can't be seen to ({found.reason}); {found.way_out}"
        )
    old = old_keys(ends.job, ends.source.ticket.schema, ends.connector.documents())
    return old, LogNeeds(old.needed, () if found is None else found.by, old.elements)


async def followed(
    stack: AsyncExitStack,
    ends: Ends,
    line: Stages,
    feed: ChangeFeed,
    transform: WithOldKeys,
    *,
    endless: bool,
) -> Stages:
    """Return the stages of a run that reads the log. `line`: opened for the rules of this transform."""
    alone = await ends.plain_target(transform.keys_alone.rules)
    stack.push_async_callback(alone.close)
    row_key = ends.source.ticket.schema.key

    def keys_of(batch: Batch, rule: str | None) -> Hashes:
        return alone.encode(batch, transform.keys(batch, rule)).key_hashes

    def touched(batch: Batch) -> Touched:
        was = replace(batch, rows=batch.rows.slice(0, batch.old), old=0)
        return Touched(np.unique(keys_of(was, None)), np.unique(every_row(was, row_key)), row_key)

    settle = Superseded(keys_of, touched if by_log(ends) is not None else None).of

    def rows_left(batch: Batch) -> pa.RecordBatch:
        settled = settle(line.target.encode(batch, transform(batch)))
        rows = np.unique(np.concatenate((settled.rows, settled.letter_rows)))
        return batch.rows.take(pa.array(rows[rows >= batch.old]))

    async def deciding(batch: Batch) -> pa.RecordBatch:
        return await asyncio.get_running_loop().run_in_executor(line.threads, rows_left, batch)

    return replace(line, source=_Log(feed, deciding), settle=settle, endless=endless)


@asynccontextmanager
async def log_watched(ends: Ends) -> AsyncGenerator[None, None]:
    """Ask now and then how much of its log the source keeps, while a run goes on that doesn't read it."""
    feed = ends.source.abilities.feed
    if feed is None:
        yield
        return

    async def ask() -> None:
        while True:
            await asyncio.sleep(ASK_S)
            with suppress(BackfillError):  # only a figure
                await feed.look()

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        await ended(asking)


def log_figures(ends: Ends) -> LogFigures:
    """Return how the log stands by which a job goes, as far as it is known."""
    feed = ends.source.abilities.feed
    return LogFigures() if feed is None else feed.figures


def whole(since: str, until: str | None) -> Segment:
    """Return the log from a position to a position, or without an end."""
    return Segment(0, Cursor((since,)), None if until is None else Cursor((until,)), None)


def log_end(ends: Ends, *, endless: bool) -> str | None:
    """Return up to where this process reads the log: to where it has got by now, or without an end."""
    assert ends.source.watermark is not None, "a log has an end"
    return None if endless else ends.source.watermark


def gone_on(ends: Ends, run: RunState, *, endless: bool) -> RunState:
    """Return an unfinished run as this process reads on: how far is its own matter, whoever began it."""
    if log_of(ends, run.kind) is None:
        return run
    assert run.since is not None, "a run by the log begins where the one before has ended"
    segment = whole(run.since, log_end(ends, endless=endless))
    return replace(run, segments=(replace(run.segments[0], segment=segment),))


@dataclass(frozen=True, slots=True)
class _Log:
    """A feed as a pipeline reads it; see contracts.RowReading."""

    feed: ChangeFeed
    deciding: Deciding

    @property
    def notices(self) -> Sequence[str]:
        """The feed's."""
        return self.feed.notices

    def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        """Read the log's changes."""
        return self.feed.read(segment, after, self.deciding)


def confirming(ends: Ends, store: CheckpointStore, run: RunState) -> MarkStore:
    """Return the store for a run's marks; a feed that is read hears of them, and keeps its standing there."""
    feed = log_of(ends, run.kind)
    if feed is None:
        return store
    feed.keep_standing(partial(keep_standing, store, run.run_id))
    return Confirming(store, feed.kept)


@dataclass(frozen=True, slots=True)
class Confirming:
    """A store whose feed hears of every mark that is durable; see contracts.MarkStore."""

    store: MarkStore
    kept: Callable[[Cursor], None]

    @property
    def tenure(self) -> Tenure:
        """The store's."""
        return self.store.tenure

    async def advance(self, marks: Sequence[Mark], effort: Effort) -> None:
        """Make marks durable, then say so."""
        await self.store.advance(marks, effort)
        for mark in marks:
            if mark.end is not None:
                self.kept(mark.end)


async def confirm(ends: Ends, run: RunState, voice: Voice) -> None:
    """Let the log go of what a finished catch-up run has read; if that fails, the next run does it."""
    feed = log_of(ends, run.kind)
    if feed is None:
        return
    assert run.watermark is not None, "a run by the log has its end"
    try:
        await feed.confirm(run.watermark)
    except BackfillError as error:
        voice.warn(f"{error}: the next run tells the server that its log was read")
