"""What a source's log tells: which rows have changed, in the order in which that was committed.

The log says which rows, the source says what they are now. A batch of a feed begins with rows as they were
(`Batch.old`), which give nothing but the keys of items that may have to go; rows as they are now follow.

Invariant: no row is handed over as older than the change that brought it; whatever lies behind a position
that was confirmed is given again, so what was given twice must change nothing.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import field
from typing import Protocol, TypeAlias

import pyarrow as pa

from engine.batch import Batch, Cursor, Segment
from engine.frozen import dataclass

Deciding: TypeAlias = Callable[[Batch], Awaitable[pa.RecordBatch]]
"""Returns, of a batch's rows as they are now, those that decide what its keys' items are, in their order: no
more than there are keys of its old rows and rows that have changed, however many share values with them."""

Keeping: TypeAlias = Callable[[str], Awaitable[None]]
"""Makes a source's standing durable; see Continuity."""


@dataclass(frozen=True, slots=True)
class ElementKeys:
    """What the keys of a list's elements are made of: `columns` of the row, `fields` of the element.

    `fields` None: of more than that, such as its place in the list, all of it, or what has a version.
    """

    columns: frozenset[str]
    fields: frozenset[str] | None

    def joined(self, other: "ElementKeys") -> "ElementKeys":
        """Return what both are made of."""
        some = None if self.fields is None or other.fields is None else self.fields | other.fields
        return ElementKeys(self.columns | other.columns, some)


@dataclass(frozen=True, slots=True)
class LogNeeds:
    """What a job needs of a log: columns of rows as they were, by what rows have peers, lists that give keys.

    `by` as in Sharing: the rows that may make the items of changed ones, or of what these were, are read
    besides. `elements` of the lists among the columns.
    """

    columns: frozenset[str]
    by: tuple[tuple[str, ...], ...] = ()
    elements: Mapping[str, ElementKeys] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogPlace:
    """How far a feed has come: what stands in the `end` of each of its batches.

    `number` tells apart what shares a position, and grows. `at`: all that was committed before lies before
    this place, by the source's clock; ISO 8601 in UTC, None where that isn't known.
    """

    position: str
    number: int = 0
    at: str | None = None

    @classmethod
    def of(cls, end: Cursor) -> "LogPlace":
        """Read it from a cursor, which a segment's bounds are, too: a position alone."""
        if len(end.key) == 1:
            return cls(end.key[0])
        position, number, at = end.key
        return cls(position, int(number), at or None)

    def cursor(self) -> Cursor:
        """Write it as a cursor."""
        return Cursor((self.position, str(self.number), self.at or ""))


@dataclass(frozen=True, slots=True)
class LogFigures:
    """How a feed stands. None: not known.

    `lag_s`: how long ago the latest moment was before which all that was committed is durable in the target.
    `held_back_bytes`: how much of its log the server kept for this job when it was last asked.
    """

    lag_s: float | None = None
    held_back_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class LogUser:
    """A job that goes by a log, and from where on it needs it; None: not before its next full run.

    `known` False: that can't be told.
    """

    name: str
    position: str | None
    known: bool = True


class LogSharing(Protocol):
    """What the feeds of jobs that go by one log have to know of each other: nothing is let go that one needs.

    `others`: names of the other jobs of the file, in its order. `sessions`: of this process, by which the log
    is read for any of them.
    """

    @property
    def others(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def sessions(self) -> set[int]: ...  # noqa: D102

    @property
    def turn(self) -> AbstractAsyncContextManager[object]:
        """Held by whoever uses the log: of one process one job at a time."""

    def needs(self, position: str) -> None:
        """Hear from where on this job needs the log, all before which is durable."""

    async def begins(self, position: str) -> None:
        """Hear from where on this job will need the log; until `needs`, what it needed before counts."""

    async def needed(self) -> Sequence[str] | None:
        """Return from where on others need it; None: of one that can't be told now, so all has to stay.

        A job that was never loaded needs nothing: it will from its full run on.
        """


@dataclass(frozen=True, slots=True)
class Alone:
    """A log that one job goes by; see LogSharing."""

    others: Sequence[str] = ()
    sessions: set[int] = field(default_factory=set)
    turn: AbstractAsyncContextManager[object] = field(default_factory=nullcontext)

    def needs(self, position: str) -> None:
        """Do nothing: nobody asks."""

    async def begins(self, position: str) -> None:
        """Do nothing: nobody asks."""

    async def needed(self) -> Sequence[str] | None:
        """Return none."""
        return ()


class ChangeFeed(Protocol):
    """The log of one source, as far as one job goes by it. Positions are texts of the source's own."""

    def share(self, sharing: LogSharing) -> None:
        """Hear with whom the log is shared; before anything else."""

    def keep_standing(self, keep: Keeping) -> None:
        """Have kept what the next part of the run, or the next run, is to hold the source to; before `read`.

        That is done where the source has changed in what its log doesn't tell, before rows are handed over
        that are there since.
        """

    async def check(self, needs: LogNeeds, position: str | None) -> None:
        """See that the log gives all that a job needs; nothing is written.

        `position`: from where changes are wanted; None: of a log that `set_up` is about to make, so that it
        is enough if it can be made.
        Raises: JobError (with what to do), PermanentError, TransientError.
        """

    async def set_up(self, say: Callable[[str], None]) -> str | None:
        """Have the log kept from now on: a snapshot that is taken later sees all that goes before.

        Call behind `check`. `say` is told what is waited for. Returns the position from which on it is kept;
        None: it is the source's `watermark`, whenever that is opened.
        Raises: PermanentError, TransientError.
        """

    def read(
        self, segment: Segment, after: Cursor | None, deciding: Deciding | None = None
    ) -> AsyncGenerator[Batch, None]:
        """Read the changes of a segment, from a position on, or from behind a batch's `end` (a LogPlace).

        Up to the segment's `until`; where that is None, it follows the log until it is closed: what is
        committed is handed over within about a second, a source that is away is waited for, and what `check`
        has seen is looked at again now and then. A batch may have no rows: up to its end there is nothing
        for this job. The last one ends at `until` or behind it.
        Neither a snapshot nor a transaction of the source is kept open between two batches.
        With peers (`by`) a batch's old rows are followed by the changed ones as they are now, which count as
        old, too; then come these again and their peers, in the order of the key, or what `deciding` leaves.
        Ordering: as committed. More than a part of it is read only once the part before it was `kept`.
        Raises: PermanentError, RetriesExhausted.
        """

    def kept(self, end: Cursor) -> None:
        """Hear that all up to a batch's end is written and durable."""

    async def confirm(self, position: str) -> None:
        """Let the log go up to a position, all before which is durable, or up to where others need it.

        Raises: PermanentError.
        """

    async def look(self) -> None:
        """Ask the server how much of its log it keeps for this job. Raises: as `check`."""

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told while the log is read, a sentence each; grows."""

    @property
    def foretold(self) -> str:
        """What a plan says of the log, as it was found by `check`, in whole sentences."""

    @property
    def figures(self) -> LogFigures:
        """How it stands now."""
