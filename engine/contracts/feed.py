"""What a source's log tells: which rows have changed, in the order in which that was committed.

The log says which rows, the source says what they are now. A batch of a feed begins with rows as they were
(`Batch.old`), which give nothing but the keys of items that may have to go; rows as they are now follow.

Invariant: no row is handed over as older than the change that brought it; whatever lies behind a position
that was confirmed is given again, so what was given twice must change nothing.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

from engine.batch import Batch, Cursor, Segment


class ChangeFeed(Protocol):
    """The log of one source, as far as one job goes by it. Positions are texts of the source's own."""

    async def check(self, needed: frozenset[str], position: str | None) -> None:
        """See that the log gives all that a job needs; nothing is written.

        `needed`: columns of rows as they were. `position`: from where changes are wanted; None: of a log that
        `set_up` is about to make, so that it is enough if it can be made.
        Raises: JobError (with what to do), PermanentError, TransientError.
        """

    async def set_up(self, say: Callable[[str], None]) -> None:
        """Have the log kept from now on: a snapshot that is taken later sees all that goes before.

        Call behind `check`. `say` is told what is waited for.
        Raises: PermanentError, TransientError.
        """

    def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        """Read the changes of a segment, from a position to a position, or from behind a batch's `end`.

        Ordering: as committed. More than a part of it is read only once the part before it was `kept`.
        Raises: PermanentError, RetriesExhausted.
        """

    def kept(self, end: Cursor) -> None:
        """Hear that all up to a batch's end is written and durable."""

    async def confirm(self, position: str) -> None:
        """Let the log go up to a position, all before which is durable. Raises: PermanentError."""

    async def look(self) -> None:
        """Ask the server how much of its log it keeps for this job. Raises: as `check`."""

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told while the log is read, a sentence each; grows."""

    @property
    def foretold(self) -> str:
        """What a plan says of the log, as it was found by `check`, in whole sentences."""

    @property
    def held_back_bytes(self) -> int | None:
        """How much of its log the server kept for this job when it was last asked; None: not yet known."""
