"""PostgreSQL as a Source: one snapshot for the run, one connection per segment that is being read.

Invariant: every row of the snapshot is handed over exactly once per reading, whatever connections are lost;
positions are what the server printed.
"""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

from connectors.patience import PATIENCE_S, with_source
from connectors.postgres import opening, sampling, watch
from connectors.postgres import segments as cutting
from connectors.postgres.address import where
from connectors.postgres.blame import Culprit, blamed, culprit, is_of_a_value
from connectors.postgres.copy import Rows, copy
from connectors.postgres.facts import SNAPSHOT_LONG_S, facts, outlasts
from connectors.postgres.keeping import Keeper, instead
from connectors.postgres.layout import check_keys
from connectors.postgres.lookup import by_key, refused, sampled
from connectors.postgres.section import PostgresSection
from connectors.postgres.session import NoRoomError, SnapshotTooOldError, abandon, begin, connect, speaking
from connectors.postgres.snapshot import server_identity
from connectors.postgres.sql import Shape, copy_sql
from connectors.postgres.standing import Behind, Standing
from engine.batch import Batch, Cursor, Segment
from engine.contracts.source import SourceAbilities, SourceTicket
from engine.errors import JobError, PermanentError, TransientError
from engine.plain import dumped, loaded

IDLE_CONNECTIONS_MAX = 4
SNAPSHOT_GONE = (
    "The run's snapshot is gone (its connection was lost, or the server doesn't keep it), so what was read"
    " after that is from a newer one; what changed behind the place where a reader was, a catch-up run or"
    " verify --full --repair brings."
)

GOES_ON = (
    "This run goes on with a newer snapshot than it began with; what changed meanwhile in rows that were read"
    " already, a catch-up run or verify --full --repair brings."
)


async def open_source(
    section: PostgresSection,
    *,
    since: str | None = None,
    ticket: SourceTicket | None = None,
    patience_s: float = PATIENCE_S,
) -> "PostgresSource":
    """Open a PostgreSQL source: check the job against the server, take the watermark, export a snapshot.

    With `ticket` nothing is checked and that snapshot is read. `since` is the watermark of an earlier run.
    Raises: JobError, PermanentError, TransientError.
    """
    if ticket is not None:
        found = opening.Opened(ticket, {}, None, (), None, None)
    else:
        found = await opening.opened(section, since)
    return PostgresSource(section, found, patience_s)


class PostgresSource:
    """A table, view or query of a PostgreSQL server; see contracts.Source."""

    def __init__(self, section: PostgresSection, opened: opening.Opened, patience_s: float) -> None:
        self._section = section
        self._url = section.url.get_secret_value()
        self._batch_rows = section.batch_rows
        self._opened = opened
        self._view = loaded(opening.View, opened.ticket.details)
        self._shape: Shape = self._view.shape
        self._snapshot = self._view.snapshot
        self._notices = list(opened.notices)
        self._patience_s = patience_s
        self._alone = self._view.connections == 1
        self._keeper = None if opened.keeper is None else Keeper(opened.keeper)
        self._idle: list[Any] = []
        self._busy: set[Any] = set()

    @property
    def ticket(self) -> SourceTicket:
        """What a worker process needs to open the same view."""
        return self._opened.ticket

    @property
    def identity(self) -> Mapping[str, str]:
        """Server, database, relation, and the key that positions are values of."""
        return self._opened.identity

    @property
    def abilities(self) -> SourceAbilities:
        """What it can do besides; rows are looked up by the key, where there is one."""
        return SourceAbilities(
            lookup=self if self._shape.key else None,
            continuity=self,
            count=self.count,
            sample=self.sample,
            inspect=self.inspect,
            lasting=self.lasting,
        )

    @property
    def standing(self) -> str:
        """What the run begins with; see contracts.Continuity."""
        return json.dumps(dumped(self._view.standing))

    @property
    def watermark(self) -> str | None:
        """The watermark for the next catch-up run."""
        return self._opened.watermark

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told."""
        return tuple(self._notices)

    async def rows_expected(self) -> int | None:
        """Return the planner's estimate."""
        return self._opened.rows_expected

    async def segments(self, wanted: int) -> Sequence[Segment]:
        """Cut the source into about `wanted` segments."""
        connection = self._opened.keeper
        assert connection is not None, "only the process that opened the source cuts it"
        return await cutting.cut(connection, self._shape, wanted, self._opened.rows_expected)

    async def inspect(self) -> tuple[int | None, Sequence[str]]:
        """Return the table's size in bytes, None when unknown, and what will make reading it slow."""
        assert self._opened.keeper is not None, "only the process that opened the source looks at it"
        async with speaking("source"):
            found = await facts(self._opened.keeper, self._section)
            if self._section.watermark is None:
                return found.size_bytes, found.warnings
            lately = None
            if self._opened.overlap is not None:
                lately = await self._opened.keeper.fetchval(self._opened.overlap)
        return found.size_bytes, (*found.warnings, self._section.watermark.rereads(lately, planned=True))

    async def lasting(self, load_s: float, load: str) -> Sequence[str]:
        """Say what a load that takes so long has to expect; `load` is that in words."""
        return (outlasts(load),) if load_s > SNAPSHOT_LONG_S else ()

    async def sample(self, rows: int, of: int | None) -> AsyncGenerator[Batch, None]:
        """Read about `rows` rows from random places all over the source; it has `of`, if that is known."""
        connection = await self._take()
        expected = self._opened.rows_expected if of is None else of
        drawn = sampling.draw(connection, self._shape, rows, expected, self._batch_rows)
        sequence = 0
        try:
            async for part in drawn:
                yield Batch(0, sequence, part.rows, None)
                sequence += 1
        finally:
            await drawn.aclose()
            await self._give_back(connection)

    async def count(self, within_s: float) -> int | None:
        """Count the rows that a whole pass reads; None when that takes longer than `within_s`."""
        connection = await self._take()
        try:
            return await sampling.count(connection, self._shape, within_s)
        finally:
            await self._give_back(connection)

    async def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        """Read a segment from behind `after`; lost connections are mended inside."""
        sequence = 0
        patience = with_source(self._patience_s)
        while True:
            try:
                sql = copy_sql(self._shape, segment, after)
                async with aclosing(self._rows(sql, waits=True)) as parts:
                    async for part in parts:
                        sequence, after = sequence + 1, part.end
                        patience.rewarded()
                        yield Batch(segment.number, sequence - 1, part.rows, part.end, part.cuts)
            except PermanentError as error:
                if not is_of_a_value(error):
                    raise
                raise blamed(error, await self._culprit(segment, after), self._shape) from error
            except TransientError as error:
                if isinstance(error, SnapshotTooOldError):
                    await self._give_up_snapshot()
                if sequence and not self._shape.key:
                    raise PermanentError(
                        f"{error}; without source.key the table can't be read on from the middle, so run"
                        " again to start it over"
                    ) from error
                await patience.wait(error)
            else:
                return

    async def sample_keys(self, count: int, seed: int) -> Sequence[Cursor]:
        """Return the keys of `count` random rows; see contracts.Lookup."""
        assert self._opened.keeper is not None, "only the process that opened the source samples it"
        return await sampled(self._opened.keeper, self._shape, self._opened.rows_expected, count, seed)

    async def rows_by_key(self, keys: Sequence[Cursor]) -> AsyncGenerator[Batch, None]:
        """Read the rows that have these keys; see contracts.Lookup."""
        async with aclosing(by_key(self._shape, keys, self._rows, self._refused)) as batches:
            async for batch in batches:
                yield batch

    async def _rows(self, sql: str, *, waits: bool = False) -> AsyncGenerator[Rows, None]:
        """Read on one connection, until the end or until it fails."""
        connection = await self._take(waits=waits)
        clean = False
        try:
            rows = copy(connection, sql, self._shape, self._batch_rows)
            try:
                async for part in rows:
                    yield part
            finally:
                await rows.aclose()
            clean = True
        finally:
            await self._give_back(connection, clean=clean)

    async def _give_back(self, connection: Any, *, clean: bool = False) -> None:
        """Keep a connection for the next reader if it is as it was taken, and the keeper in any case."""
        if self._keeper is not None and connection is self._keeper.connection:
            await self._keeper.back()
            return
        self._busy.discard(connection)
        if clean and len(self._idle) < IDLE_CONNECTIONS_MAX:
            self._idle.append(connection)
        else:
            await abandon(connection)

    async def _take(self, *, waits: bool = False) -> Any:
        """Return a connection whose transaction sees the run's snapshot, or one of its own.

        Where the server gives none, that is the keeper's own; `waits`: as soon as others have given it back.
        """
        if self._keeper is not None and self._alone:
            return await self._keeper.lend(waits=waits)
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                self._busy.add(connection)
                return connection
        try:
            connection = await connect(self._url)
        except JobError as error:
            raise PermanentError(str(error)) from error
        except NoRoomError as error:
            return await instead(self._keeper, error, self._notices).lend(waits=waits)
        self._busy.add(connection)
        try:
            await self._begin(connection)
        except PermanentError as error:
            self._busy.discard(connection)
            await abandon(connection)
            raise await opening.told(error, self._section) from error
        except BaseException as error:
            self._busy.discard(connection)
            await abandon(connection)
            if not isinstance(error.__cause__, TimeoutError):
                raise
            keeper = instead(self._keeper, error, self._notices)
            self._alone = True  # a pooler that has nothing left lets one wait each time
            return await keeper.lend(waits=waits)
        return connection

    async def _refused(self, keys: Sequence[Cursor]) -> frozenset[Cursor]:
        connection = await self._take()
        try:
            async with speaking("source"):
                return await refused(connection, self._shape, keys)
        finally:
            await self._give_back(connection)

    async def _culprit(self, segment: Segment, after: Cursor | None) -> Culprit:
        connection = await self._take(waits=True)
        try:
            async with speaking("source"):
                return await culprit(connection, self._shape, segment, after)
        finally:
            await self._give_back(connection)

    async def _begin(self, connection: Any) -> None:
        """Begin a transaction on the run's snapshot, or on a new one of a source that is still the run's.

        Everything is locked before it is read, on the run's snapshot too: once the connection that exported
        it is gone, nothing else keeps anybody from emptying a table.
        """
        async with speaking("source"):
            server = (await server_identity(connection, where(self._url)))["server"]
            if self._snapshot is not None and await self._is_shared(connection, server):
                return
        try:
            found, _, now = await opening.steady(connection, self._section, self.ticket.since, server)
            await check_keys(connection, self._shape)
        except JobError as error:
            raise PermanentError(str(error)) from error
        await self._hold_to(connection, now)
        if found.name != self._view.relation or not found.shape.gives(self._shape):
            raise PermanentError(
                f"source: {self._section.reads} is no longer the table that the run began with, or its"
                " columns changed; put it back and run again to go on, or start over with --fresh"
            )
        if self._snapshot is not None:
            self._note_new_snapshot()

    async def _is_shared(self, connection: Any, server: str) -> bool:
        """Begin on the run's snapshot; False, outside a transaction, where it can't be read any more."""
        if await begin(connection, self._snapshot):
            await watch.lock(connection, self._shape)
            if await watch.is_steady(connection):
                await self._hold_to(connection, await watch.look(connection, self._shape, server))
                return True
        await connection.execute("ROLLBACK")
        return False

    def _note_new_snapshot(self) -> None:
        if SNAPSHOT_GONE not in self._notices:
            self._notices.append(SNAPSHOT_GONE)

    async def _give_up_snapshot(self) -> None:
        """Read on from snapshots of each reader's own: the server doesn't keep the run's any more."""
        self._snapshot = None
        self._note_new_snapshot()
        idle, self._idle = self._idle, []
        for connection in idle:
            await abandon(connection)

    async def _hold_to(self, connection: Any, now: Standing) -> None:
        """See that the source is what the run began with. Raises: PermanentError, TransientError."""
        misfit = await opening.misfit(connection, self._view.standing, now, goes_on=True)
        if isinstance(misfit, Behind):
            raise TransientError(f"source: {misfit.text}")
        if misfit is not None:
            raise PermanentError(
                f"source: {misfit.text}, so {self._section.reads} is no longer the table that the run began"
                " with; put it back and run again to go on, or start over with --fresh"
            )

    async def misfit(self, standing: str, *, goes_on: bool) -> str | None:
        """Say why this isn't the source that an earlier run's standing tells of; see contracts.Continuity."""
        connection = self._opened.keeper
        assert connection is not None, "only the process that opened the source compares it"
        before = loaded(Standing, json.loads(standing))
        found = await opening.misfit(connection, before, self._view.standing, goes_on=goes_on)
        if found is None and goes_on:
            self._notices.append(GOES_ON)
        return None if found is None else found.text

    async def close(self) -> None:
        """Close every connection; whatever is being read ends with an error."""
        connections = [*self._idle, *self._busy]
        if self._opened.keeper is not None:
            connections.append(self._opened.keeper)
        self._idle.clear()
        self._busy.clear()
        for connection in connections:
            with suppress(Exception):
                await abandon(connection)
