"""The protocols between the pipeline and everything that it calls.

Invariant: calls go one way, read → transform → encode → write → acknowledge → checkpoint. A source knows no
target, a target knows no checkpoint.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import polars as pl

from engine.batch import Batch, Counts, Cursor, Effort, EncodedBatch, Fates, Mark, Segment, WriteReport
from engine.errors import PermanentError
from engine.kinds import Kind, RowSchema
from engine.tenure import Tenure


@dataclass(frozen=True, slots=True)
class SourceTicket:
    """All that another process needs to read the same view of the same source; picklable, no secrets.

    `details` belongs to the source (a snapshot's name, resolved types …). `since` is the watermark from
    which a catch-up run reads, as the source prints it; None in a full run. `cursors_max`: how many may read
    at a time, over all processes; None: as many as one likes.
    """

    schema: RowSchema
    since: str | None
    details: Mapping[str, Any]
    cursors_max: int | None = None


class Source(Protocol):
    """Where rows are read. Opened by its builder, which has checked the job against the server."""

    @property
    def ticket(self) -> SourceTicket:
        """What a worker process needs to open the same view."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What makes this source the same one tomorrow: server, database, table; no secrets."""

    @property
    def standing(self) -> str | None:
        """What the run begins with, as opaque text for the checkpoint; None where nothing can be said.

        For what has an order (how far the server's log has got) or needs a look at rows (whether a table was
        emptied), so that equality, as of `identity`, can't tell.
        """

    async def misfit(self, standing: str, *, goes_on: bool) -> str | None:
        """Say why this isn't the source that an earlier run's `standing` tells of; None when it is.

        `goes_on`: that run is gone on with from its cursors; False: a catch-up run follows on it.
        """

    @property
    def watermark(self) -> str | None:
        """The watermark from which the next catch-up run has to read so that it misses no commit.

        Taken before the snapshot of this run; None where none can be promised, or where the job has no
        watermark and this isn't the start of a run.
        """

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about this source, a sentence each."""

    async def rows_expected(self) -> int | None:
        """Estimate the rows that a whole pass reads, without reading them; None when unknown."""

    async def segments(self, wanted: int) -> Sequence[Segment]:
        """Cut the source into at most about `wanted` disjoint segments, even by rows, that cover it all.

        Ordering: by key, ascending. One segment when `wanted` is 1 or the source has no key.
        """

    def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        """Read a segment from behind `after` (None: from its start) to its end.

        Ordering: by key. A batch is handed over only when it is complete; the iteration ends only when the
        server has said that nothing follows. Lost connections are mended inside, without a row lost or read
        twice.
        Raises: PermanentError, RetriesExhausted.
        """

    async def close(self) -> None:
        """Give back every connection."""


class KeysRefused(PermanentError):
    """Some texts can't be keys of the source. Raised at a lookup's end, when all others have been read."""

    def __init__(self, message: str, keys: frozenset[Cursor]) -> None:
        super().__init__(message)
        self.keys = keys


@runtime_checkable
class Lookup(Protocol):
    """What a Source with a key can do besides, for verify and redrive."""

    async def sample_keys(self, count: int, seed: int) -> Sequence[Cursor]:
        """Return the keys of up to `count` random rows from the whole source, the same for the same seed."""

    def rows_by_key(self, keys: Sequence[Cursor]) -> AsyncGenerator[Batch, None]:
        """Read the rows that have these keys; keys without a row give none. Ordering: none promised.

        Raises: KeysRefused (of texts that can't be such keys), PermanentError, TransientError.
        """


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute that a rule gives its items: its name in DynamoDB and the kind of its values."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class RuleItems:
    """What one rule makes of one batch: a frame with a row per item.

    Shape: `frame` has a column per attribute, named by its position (`"0"`, `"1"` …) and held as its kind
    says (strings as Polars String, lists as List, documents as Struct); then `ROW` (UInt32, index of the
    source row in the batch), `DELETE` (Boolean), and `FLAW` (String: null, or `reason: detail` for an item
    that the transform already knows can't be written). Null means that the attribute is left out, or NULL
    with `nulls: keep`.
    Ordering: source rows in their order, the elements of one row in theirs.
    """

    rule: int
    name: str
    attributes: tuple[Attribute, ...]
    frame: pl.DataFrame


ROW, DELETE, FLAW = "row", "delete", "flaw"


@dataclass(frozen=True, slots=True)
class RuleShape:
    """What one rule gives for every batch: its name, and its items' attributes, those of the key first."""

    name: str
    attributes: tuple[Attribute, ...]


class Transform(Protocol):
    """The item rules, compiled once. Pure and safe to call from several threads."""

    @property
    def rules(self) -> Sequence[RuleShape]:
        """What each rule gives, in the rules' order."""

    def __call__(self, batch: Batch) -> Sequence[RuleItems]:
        """Turn a batch of rows into the items of every rule, in the rules' order."""


Look: TypeAlias = Callable[[], Awaitable[str | None]]
"""Looks whether the target is still the one that the run began with: None when it is, a sentence when that
can't be told now. Raises: PermanentError when it isn't."""


class Target(Protocol):
    """Where items are written."""

    def encode(self, batch: Batch, items: Sequence[RuleItems]) -> EncodedBatch:
        """Turn items into wire text, with every limit checked. Pure and safe to call from several threads."""

    async def write(self, encoded: EncodedBatch) -> WriteReport | Fates:
        """Write all items and return once each is written, deleted, skipped or refused for good.

        After `drain` it returns as soon as nothing of the batch is in flight, with the items' fates if some
        are open.
        Ordering: the target's own, but rows settle from the first to the last by about half a second of work
        at a time, so that a prefix of them can be acked.
        Raises: PermanentError (no permission, no table), RetriesExhausted (the target was away for too long).
        """

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        """Return how the items of a batch stand that is being written; None: nothing is known yet."""

    def drain(self) -> None:
        """Begin nothing new, for good: settle only rows that are begun, since others' acks wait for them."""

    def limit(self, wcu_per_s: float | None) -> None:
        """Set this process's share of the hard cap; None: no cap."""

    async def close(self) -> None:
        """Close every connection. What is in flight is abandoned."""


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment as the checkpoint knows it. `end` is where reading goes on; None: from the start."""

    segment: Segment
    end: Cursor | None
    done: bool


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as the checkpoint knows it.

    Units: times are ISO 8601 in UTC. `outcome` is None while the run isn't finished, else the report's word.
    `since` and `watermark`: see SourceTicket and Source.
    """

    run_id: str
    kind: str
    started_at: str
    finished_at: str | None
    outcome: str | None
    fingerprint: Mapping[str, str]
    since: str | None
    watermark: str | None
    interruptions: int
    rows_expected: int | None
    segments: tuple[SegmentState, ...]
    counts: Counts
    dead_letters_by_reason: Mapping[str, int]
    effort: Effort
    error: str | None
    base: str | None = None
    """The watermark of the full run that this run follows on, or is: all before it has been read."""
    watched: tuple[str, ...] = ()
    """What brought rows into this run besides being there (Section.watched)."""
    rules: str | None = None
    """The item rules of this run (engine.state.former)."""
    former: tuple[str, ...] = ()
    """Rules of runs before it whose keys this one doesn't make."""

    @property
    def closed(self) -> bool:
        """Whether the run went to its end; one that failed or was interrupted goes on."""
        return self.outcome is not None and self.outcome.startswith("complete")


class CheckpointStore(Protocol):
    """Durable state of one job. Only the process that holds its lease may write."""

    @property
    def lease_fd(self) -> int:
        """The descriptor of the local lease: workers inherit it, so that an orphan keeps the lease."""

    @property
    def tenure(self) -> Tenure:
        """Until when whoever writes under this lease may send, kept up to date while it is held."""

    @property
    def dead_letters(self) -> Path:
        """The file of dead letters."""

    async def load(self) -> RunState | None:
        """Return the latest run, or None; changes nothing. Raises: JobError when the state is damaged."""

    async def last_complete(self) -> RunState | None:
        """Return the latest run that went to its end, without its segments: a catch-up follows on it."""

    async def begin(self, run: RunState) -> None:
        """Start a run and forget the one before it, even a damaged one.

        A full run sets the dead letters of earlier runs aside, a catch-up run adds to them.
        """

    async def resume(self) -> RunState:
        """Go on with the unfinished run: count the interruption and drop what no mark covers.

        A segment that can't be resumed from (a source without a key) loses its counts and dead letters,
        because it is read again from its start.
        """

    async def advance(self, marks: Sequence[Mark], effort: Effort) -> None:
        """Make marks durable, their counts and dead letters with them, or nothing of it.

        Units: `effort` is all that this process has spent on the run so far; the store adds what the
        processes before it spent.
        Raises: PermanentError; then nothing of these marks is acked.
        """

    async def finish(self, outcome: str, finished_at: str, effort: Effort, error: str | None) -> None:
        """Record how this process's part of the run ended; only `complete…` outcomes close the run."""

    async def collect_dead_letters(self) -> Path:
        """Make the file of dead letters complete, as far as a closed run counts them, and return it."""

    async def replace_dead_letters(self, lines: Iterable[bytes]) -> None:
        """Put other lines in place of all dead letters of closed runs, whole or not at all.

        Raises: PermanentError; then those from before are still there.
        """

    async def close(self) -> None:
        """Give the lease back."""
