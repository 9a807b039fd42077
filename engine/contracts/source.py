"""Where rows come from: what a source is, and what another process needs to read it too."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from engine.batch import Batch, Cursor, Segment
from engine.errors import PermanentError
from engine.kinds import RowSchema


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
