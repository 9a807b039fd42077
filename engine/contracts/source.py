"""Where rows come from: what a source is, what it can do besides, and what another process needs to read it.

A source is `Source`; everything else that one may be able to do is a value, `SourceAbilities`: what a source
doesn't name there has a declared answer, so that nobody asks what kind of source it is.

Invariant: everything that one run reads of a source is of one view of it, as far as the source can keep one;
where it can't, it has said so in `notices`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from engine.batch import Batch, Cursor, Segment
from engine.contracts.feed import ChangeFeed
from engine.errors import PermanentError
from engine.frozen import dataclass
from engine.kinds import RowSchema
from engine.plain import dumped, loaded


@dataclass(frozen=True, slots=True)
class SourceTicket:
    """All that another process needs to read the same view of the same source: plain JSON, no secrets.

    `details` is JSON text of the source's own type (a snapshot's name, resolved types …).
    `since` is the watermark from which a catch-up run reads, as the source prints it; None in a full run.
    `cursors_max`: how many may read at a time, over all processes; None: as many as one likes.
    """

    schema: RowSchema
    since: str | None
    details: str
    cursors_max: int | None = None

    def as_json(self) -> str:
        """Return the ticket as JSON text."""
        return dumped(self)

    @staticmethod
    def from_json(text: str) -> "SourceTicket":
        """Return the ticket that `as_json` gave. Raises: ValueError (it isn't one)."""
        return loaded(SourceTicket, text)


class Lookup(Protocol):
    """Rows by their keys, for verify and redrive: from the view that the run reads."""

    async def sample_keys(self, count: int, seed: int) -> Sequence[Cursor]:
        """Return the keys of up to `count` random rows from the whole source, the same for the same seed."""

    def rows_by_key(self, keys: Sequence[Cursor]) -> AsyncGenerator[Batch, None]:
        """Read the rows that have these keys; keys without a row give none. Ordering: none promised.

        Raises: KeysRefused (of texts that can't be such keys), PermanentError, TransientError.
        """


@dataclass(frozen=True, slots=True)
class Sharing:
    """By which columns rows are peers: one of `by` in all of whose columns they print alike.

    Shape: `of` are the keys of the rows whose peers are meant; None: those that a catch-up run reads.
    """

    by: tuple[tuple[str, ...], ...]
    of: tuple[Cursor, ...] | None = None


class PeerReading(Protocol):
    """Rows together with their peers: other rows of the source that may make the same items."""

    def read_with_peers(
        self, sharing: Sharing, segment: Segment, after: Cursor | None
    ) -> AsyncGenerator[Batch, None]:
        """Read some rows and all their peers in a segment from behind `after`, each row once.

        A row that prints alike is never left out; others may be among them, which only costs. Of the same
        view as `read`, with its ordering, its cursors and its mending. Rows without a value in a column have
        no peers by it.
        Raises: as `Source.read`.
        """


class Continuity(Protocol):
    """Whether a source is the one that an earlier run began with, where equality of `identity` can't tell.

    For what has an order (how far the server's log has got) or needs a look at rows (whether a table was
    emptied).
    """

    @property
    def standing(self) -> str:
        """What the run begins with, as opaque text for the checkpoint."""

    async def misfit(self, standing: str, *, goes_on: bool) -> str | None:
        """Say why this isn't the source that an earlier run's `standing` tells of; None when it is.

        `goes_on`: that run is gone on with from its cursors; False: a catch-up run follows on it.
        """


async def cost_nothing(sharing: Sharing) -> Sequence[str]:
    """Return no warnings: peers are found as cheaply as a catch-up run's own rows; see SourceAbilities."""
    del sharing
    return ()


async def cannot_count(within_s: float) -> int | None:
    """Return None: the rows can't be counted; see SourceAbilities."""
    del within_s
    return None


async def knows_nothing() -> tuple[int | None, Sequence[str]]:
    """Return no size and no warnings; see SourceAbilities."""
    return None, ()


async def minds_nothing(load_s: float, load: str) -> Sequence[str]:
    """Return no warnings, however long a load takes; see SourceAbilities."""
    del load_s, load
    return ()


@dataclass(frozen=True, slots=True)
class SourceAbilities:
    """What a source can do besides being read. What it can't do it leaves out.

    `lookup` is there only if the source has a key; `peers` if it finds rows by what they share, of which
    `peers_cost(sharing)` says what makes that slow for each catch-up run, a sentence each. `count(within_s)`
    counts the rows that a whole pass reads; None when that takes longer, or can't be done. `sample(rows, of)`
    reads about `rows` rows from random places all over the source, which has `of`, if that is known; without
    it the beginnings of many segments are read. `inspect()` gives the source's size in bytes, None when
    unknown, and what will make reading it slow; `lasting(load_s, load)` what a load that takes so long has to
    expect (`load` is that in words), a sentence each. `keep_view()` is there if one view is held for the
    whole run: from then on, also where the ticket is opened, reading raises ViewLost where that view is gone,
    in place of going on with a newer one. `view` is opaque text by which another process, later too, may open
    that view, while somebody keeps it; `same_view`: it is one that an earlier part of the run has read.
    `hold_view()`, of a source that was opened with a ticket, keeps the view by a session of its own until
    `close`, and returns such a text; None where a view needs nobody who keeps it, or there is none.
    `shared(sets, within_s)` says whether two rows of that view have equal texts in all columns of one of the
    sets; None when that takes longer, or can't be told; True may be said of texts that only the source takes
    for equal. `forgets`: rows leave it by themselves, so that an item without a row may be rightly there.
    `feed` is there if the job catches up from the source's log; `log()` gives, for a plan, the one that a job
    would have that doesn't yet; `log_rate()` how many bytes of log a second the source wrote, and since when
    that was counted.
    """

    lookup: Lookup | None = None
    peers: PeerReading | None = None
    peers_cost: Callable[[Sharing], Awaitable[Sequence[str]]] = cost_nothing
    continuity: Continuity | None = None
    count: Callable[[float], Awaitable[int | None]] = cannot_count
    sample: Callable[[int, int | None], AsyncGenerator[Batch, None]] | None = None
    inspect: Callable[[], Awaitable[tuple[int | None, Sequence[str]]]] = knows_nothing
    lasting: Callable[[float, str], Awaitable[Sequence[str]]] = minds_nothing
    keep_view: Callable[[], None] | None = None
    view: str | None = None
    same_view: bool = False
    hold_view: Callable[[], Awaitable[str]] | None = None
    shared: Callable[[Sequence[frozenset[str]], float], Awaitable[bool | None]] | None = None
    forgets: bool = False
    feed: ChangeFeed | None = None
    log: Callable[[], ChangeFeed] | None = None
    log_rate: Callable[[], Awaitable[tuple[float, str] | None]] | None = None


class RowReading(Protocol):
    """What a pipeline asks of a source."""

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told about this source, a sentence each; grows while rows are read."""

    def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        """Read a segment from behind `after` (None: from its start) to its end.

        `after` is any cursor that a batch of this segment ended with, or that its `cuts` gave: the row which
        it is the key of was read, so the next one is the first.
        Ordering: by key. A batch is handed over only when it is complete; the iteration ends only when the
        server has said that nothing follows. Lost connections are mended inside, without a row lost or read
        twice.
        Raises: PermanentError, RetriesExhausted.
        """


class Source(RowReading, Protocol):
    """Where rows are read. Opened by its connector, which has checked the job against the server."""

    @property
    def ticket(self) -> SourceTicket:
        """What a worker process needs to open the same view."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What makes this source the same one tomorrow: server, database, table; no secrets."""

    @property
    def abilities(self) -> SourceAbilities:
        """What it can do besides being read."""

    @property
    def watermark(self) -> str | None:
        """The watermark from which the next catch-up run has to read so that it misses no commit.

        Taken before the snapshot of this run; None where none can be promised, or where the job has no
        watermark and this isn't the start of a run.
        """

    async def rows_expected(self) -> int | None:
        """Estimate the rows that a whole pass reads, without reading them; None when unknown."""

    async def segments(self, wanted: int) -> Sequence[Segment]:
        """Cut the source into at most about `wanted` disjoint segments, even by rows, that cover it all.

        Ordering: by key, ascending. One segment when `wanted` is 1 or the source has no key.
        """

    async def close(self) -> None:
        """Give back every connection; a second time does no harm."""


class ViewLost(PermanentError):
    """The view that the run relies on can't be read any more."""


class KeysRefused(PermanentError):
    """Some texts can't be keys of the source. Raised at a lookup's end, when all others have been read."""

    def __init__(self, message: str, keys: frozenset[Cursor]) -> None:
        super().__init__(message)
        self.keys = keys
