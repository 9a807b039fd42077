"""What is durable of a job: its run, its segments, its dead letters."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from engine.batch import Counts, Cursor, Effort, Mark, Segment
from engine.clock import utc_now
from engine.frozen import dataclass
from engine.tenure import Tenure


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

    @classmethod
    def begun(cls, run_id: str, kind: str, segments: Sequence[Segment]) -> "RunState":
        """Return a run that begins now, and of which nothing is known but its segments."""
        return cls(
            run_id=run_id,
            kind=kind,
            started_at=utc_now(),
            finished_at=None,
            outcome=None,
            fingerprint={},
            since=None,
            watermark=None,
            interruptions=0,
            rows_expected=None,
            segments=tuple(SegmentState(segment, None, done=False) for segment in segments),
            counts=Counts(),
            dead_letters_by_reason={},
            effort=Effort(),
            error=None,
        )

    @property
    def closed(self) -> bool:
        """Whether the run went to its end; one that failed or was interrupted goes on."""
        return self.outcome is not None and self.outcome.startswith("complete")


class MarkStore(Protocol):
    """Where marks go, under a lease."""

    @property
    def tenure(self) -> Tenure:
        """Until when whoever writes under this lease may send, kept up to date while it is held."""

    async def advance(self, marks: Sequence[Mark], effort: Effort) -> None:
        """Make marks durable, their counts and dead letters with them, or nothing of it.

        Units: `effort` is all that this process has spent on the run so far; the store adds what the
        processes before it spent.
        Raises: PermanentError; then nothing of these marks is acked.
        """


class CheckpointStore(MarkStore, Protocol):
    """Durable state of one job. Only the process that holds its lease may write."""

    @property
    def lease_fd(self) -> int:
        """The descriptor of the local lease: workers inherit it, so that an orphan keeps the lease."""

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

    async def finish(
        self, outcome: str, finished_at: str, effort: Effort, error: str | None, watermark: str | None = None
    ) -> None:
        """Record how this process's part of the run ended; only `complete…` outcomes close the run.

        `watermark`: up to where it has read, where that shows only at its end.
        """

    async def collect_dead_letters(self) -> Path:
        """Make the file of dead letters complete, as far as a closed run counts them, and return it."""

    async def replace_dead_letters(self, lines: Iterable[bytes]) -> None:
        """Put other lines in place of all dead letters of closed runs, whole or not at all.

        Raises: PermanentError; then those from before are still there.
        """

    async def keep_beside(self, name: str, text: str | None) -> None:
        """Keep a text beside the checkpoint, for whoever has the lease next; None: none any more.

        No damage to the checkpoint hides it, and no other run of the job takes it away.
        """

    async def beside(self, name: str) -> str | None:
        """Return what is kept there under that name."""

    async def close(self) -> None:
        """Give the lease back."""
