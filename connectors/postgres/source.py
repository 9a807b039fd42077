"""PostgreSQL as a Source: one snapshot for the run, one connection per segment that is being read.

Invariant: every row of the snapshot is handed over exactly once per reading, whatever connections are lost;
positions are what the server printed.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from connectors.patience import PATIENCE_S, absence, with_source
from connectors.postgres import asking, opening
from connectors.postgres import segments as cutting
from connectors.postgres.blame import blamed, culprit, is_of_a_value
from connectors.postgres.copy import ParsedRows, copy
from connectors.postgres.errors import SnapshotTooOldError, speaking
from connectors.postgres.lookup import by_key, refused, sampled
from connectors.postgres.peers import unindexed, with_peers
from connectors.postgres.readers import Readers
from connectors.postgres.section import PostgresSection
from connectors.postgres.sql import Shape, copy_sql
from connectors.postgres.standing import Standing
from connectors.postgres.untold import untold
from engine.batch import Batch, Cursor, Segment
from engine.contracts.documents import DocumentCodec
from engine.contracts.source import Sharing, SourceAbilities, SourceTicket
from engine.documents.plain import PLAIN
from engine.errors import PermanentError, TransientError
from engine.plain import dumped, loaded

if TYPE_CHECKING:
    from connectors.postgres.feed import PostgresFeed

SNAPSHOT_LONG_S = 3_600.0
"""From how long on it is told that a snapshot is held."""
LASTING = "The load reads one snapshot for about {}, which holds back vacuum in the source for as long."
SAME_VIEW = "This run goes on in the very snapshot that it has read so far: another session has kept it."
GOES_ON = (
    "This run goes on with a newer snapshot than it began with; what changed meanwhile in rows that were read"
    " already, a catch-up run or verify --full --repair brings."
)


async def open_source(
    section: PostgresSection,
    *,
    since: str | None = None,
    ticket: SourceTicket | None = None,
    codec: DocumentCodec = PLAIN,
    patience_s: float = PATIENCE_S,
    views: Sequence[str] = (),
) -> "PostgresSource":
    """Open a PostgreSQL source: check the job against the server, take the watermark, export a snapshot.

    With `ticket` nothing is checked and that snapshot is read. `since` is an earlier run's watermark, `codec`
    the target's, `views` those that the run has read before.
    """
    if ticket is not None:
        found = opening.OpenedTable(ticket, {}, None, (), None, None)
    else:
        found = await opening.opened(section, since, views)
    return PostgresSource(section, found, codec, patience_s)


class PostgresSource:
    """A table, view or query of a PostgreSQL server; see contracts.Source."""

    def __init__(
        self, section: PostgresSection, opened: opening.OpenedTable, codec: DocumentCodec, patience_s: float
    ) -> None:
        self._section = section
        self._batch_rows = section.batch_rows
        self._codec = codec
        self._opened = opened
        self.ticket, self.identity, self.watermark = opened.ticket, opened.identity, opened.watermark
        self._view = loaded(opening.PostgresView, opened.ticket.details)
        self._shape = self._view.shape
        self._notices = list(opened.notices)
        self._patience_s = patience_s
        self._away = absence(patience_s, self._notices.append)
        by_log = section.catch_up is not None and opened.keeper is not None
        self._feed = self._feed_by(section) if by_log else None
        self._feed_to_be = partial(self._feed_by, section.by_log()) if section.table and not by_log else None
        self._readers = Readers(section, opened.ticket.since, self._view, opened.keeper, self._notices)

    @property
    def abilities(self) -> SourceAbilities:
        """What it can do besides; rows are looked up by the key, where there is one."""
        return SourceAbilities(
            lookup=self if self._shape.key else None,
            peers=self,
            peers_cost=self.peers_cost,
            continuity=self,
            count=self.count,
            sample=self.sample,
            inspect=self.inspect,
            lasting=self.lasting,
            keep_view=self.keep_view if self._view.snapshot is not None else None,
            view=None if self._view.snapshot is None else dumped(self._view.snapshot),
            same_view=self._opened.same_view,
            hold_view=self._readers.hold if self._view.snapshot is not None else None,
            shared=self.shared if self._view.snapshot is not None else None,
            feed=self._feed,
            log=self._feed_to_be,
            log_rate=lambda: asking.log_rate(self._keeper),
        )

    def _feed_by(self, section: PostgresSection) -> "PostgresFeed":
        from connectors.postgres.feed import PostgresFeed

        schema = self.ticket.schema
        return PostgresFeed(section, self._view, schema, self._codec, self._patience_s, self.close)

    async def shared(self, sets: Sequence[frozenset[str]], within_s: float) -> bool | None:
        """Say whether two rows have equal values in all columns of one of these sets; see SourceAbilities."""
        async with self._readers.lent() as connection:
            return await asking.shared(connection, self._shape, sets, within_s)

    def keep_view(self) -> None:
        """Read nothing but the run's snapshot from here on; see SourceAbilities."""
        self._view = replace(self._view, kept=True)
        self.ticket = replace(self.ticket, details=dumped(self._view))
        self._readers.keep_view()

    @property
    def standing(self) -> str:
        """What the run begins with; see contracts.Continuity."""
        return dumped(self._view.standing)

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told."""
        return tuple(self._notices)

    async def rows_expected(self) -> int | None:
        """Return the planner's estimate."""
        return self._opened.rows_expected

    async def segments(self, wanted: int) -> Sequence[Segment]:
        """Cut the source into about `wanted` segments."""
        return await cutting.cut(self._keeper, self._shape, wanted, self._opened.rows_expected)

    async def inspect(self) -> tuple[int | None, Sequence[str]]:
        """Return the table's size in bytes, None when unknown, and what will make reading it slow."""
        async with speaking("source"):
            size_bytes, warnings = await asking.facts(self._keeper, self._section)
            if self._section.watermark is None:
                return size_bytes, warnings
            lately = None
            if self._opened.overlap is not None:
                lately = await self._keeper.fetchval(self._opened.overlap)
        return size_bytes, (*warnings, self._section.watermark.rereads(lately, planned=True))

    async def lasting(self, load_s: float, load: str) -> Sequence[str]:
        """Say what a load that takes so long has to expect; `load` is that in words."""
        return (LASTING.format(load),) if load_s > SNAPSHOT_LONG_S else ()

    async def sample(self, rows: int, of: int | None) -> AsyncGenerator[Batch, None]:
        """Read about `rows` rows from random places all over the source; it has `of`, if that is known."""
        expected = self._opened.rows_expected if of is None else of
        sequence = 0
        async with self._readers.lent() as connection:
            drawn = asking.draw(connection, self._shape, rows, expected, self._batch_rows, self._codec)
            async with aclosing(drawn) as parts:
                async for part in parts:
                    yield Batch(0, sequence, part.rows, None)
                    sequence += 1

    async def count(self, within_s: float) -> int | None:
        """Count the rows that a whole pass reads; None when that takes longer than `within_s`."""
        async with self._readers.lent() as connection:
            return await asking.count(connection, self._shape, within_s)

    def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        """Read a segment from behind `after`; lost connections are mended inside."""
        return self._read(self._shape, segment, after)

    def read_with_peers(
        self, sharing: Sharing, segment: Segment, after: Cursor | None
    ) -> AsyncGenerator[Batch, None]:
        """Read some rows together with their peers; see contracts.PeerReading."""
        return self._read(with_peers(self._shape, sharing), segment, after)

    async def peers_cost(self, sharing: Sharing) -> Sequence[str]:
        """Say which columns have no index by which peers are found."""
        return unindexed(self._section, sharing, self._opened.indexed)

    async def _read(
        self, shape: Shape, segment: Segment, after: Cursor | None
    ) -> AsyncGenerator[Batch, None]:
        sequence = 0
        patience = with_source(self._patience_s, self._away)
        while True:
            try:
                async with aclosing(self._rows(copy_sql(shape, segment, after), waits=True)) as parts:
                    async for part in parts:
                        sequence, after = sequence + 1, part.end
                        patience.rewarded()
                        yield Batch(segment.number, sequence - 1, part.rows, part.end, part.cuts)
            except PermanentError as error:
                if not is_of_a_value(error):
                    raise
                async with self._readers.lent(waits=True) as connection, speaking("source"):
                    found = await culprit(connection, shape, segment, after)
                raise blamed(error, found, shape) from error
            except TransientError as error:
                if isinstance(error, SnapshotTooOldError):
                    await self._readers.give_up_snapshot()
                if sequence and not shape.key:
                    raise PermanentError(
                        f"{error}; without source.key the table can't be read on from the middle, so run"
                        " again to start it over"
                    ) from error
                await patience.wait(error)
            else:
                patience.rewarded()
                return

    async def sample_keys(self, count: int, seed: int) -> Sequence[Cursor]:
        """Return the keys of `count` random rows; see contracts.Lookup."""
        return await sampled(self._keeper, self._shape, self._opened.rows_expected, count, seed)

    async def rows_by_key(self, keys: Sequence[Cursor]) -> AsyncGenerator[Batch, None]:
        """Read the rows that have these keys; see contracts.Lookup."""
        async with aclosing(by_key(self._shape, keys, self._rows, self._refused)) as batches:
            async for batch in batches:
                yield batch

    @property
    def _keeper(self) -> Any:
        assert self._opened.keeper is not None, "only the process that opened the source has it"
        return self._opened.keeper

    async def _rows(self, sql: str, *, waits: bool = False) -> AsyncGenerator[ParsedRows, None]:
        """Read on one connection, until the end or until it fails."""
        async with (
            self._readers.lent(waits=waits, keeps=True) as connection,
            aclosing(copy(connection, sql, self._shape, self._batch_rows, self._codec)) as rows,
        ):
            async for part in rows:
                yield part
            await opening.see_to_names(connection, self._view, self._section)

    async def _refused(self, keys: Sequence[Cursor]) -> frozenset[Cursor]:
        async with self._readers.lent() as connection, speaking("source"):
            return await refused(connection, self._shape, keys)

    async def misfit(self, standing: str, *, goes_on: bool) -> str | None:
        """Say why this isn't the source that an earlier run's standing tells of; see contracts.Continuity."""
        before, now = loaded(Standing, standing), self._view.standing
        by_log = self._section.catch_up is not None and self.ticket.since is not None
        judged = before.without_gone(now) if by_log else before
        if (found := await opening.misfit(self._keeper, judged, now, goes_on=goes_on)) is not None:
            return found.text
        if self._section.catch_up is not None and (by_log or not goes_on):
            async with speaking("source"):
                return await untold(self._keeper, self._section.catch_up, self._shape, before, now)
        if goes_on:
            self._notices.append(SAME_VIEW if self._opened.same_view else GOES_ON)
        return None

    async def close(self) -> None:
        """Close every connection; whatever is being read ends with an error."""
        await self._readers.close()
