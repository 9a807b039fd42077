"""Rows as they are now, and as they were, of changes that the log told: nothing is older than the change.

Invariant: what is handed over was read in one snapshot that sees every transaction of the changes, from the
server that the log is read from, of a source that is still what the run began with.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pyarrow as pa

from connectors.deciding import decided
from connectors.postgres import opening, watch
from connectors.postgres.copy import ParsedRows, copy
from connectors.postgres.errors import speaking
from connectors.postgres.gathering import LogPart
from connectors.postgres.logged import (
    Logged,
    old_elements_sql,
    old_rows_from,
    old_rows_sql,
    parents_sql,
    rows_of_elements,
)
from connectors.postgres.lookup import by_key
from connectors.postgres.peers import with_peers
from connectors.postgres.publishing import MISSED
from connectors.postgres.section import PostgresSection
from connectors.postgres.session import abandon, begin, connect
from connectors.postgres.snapshots import Snapshot
from connectors.postgres.sql import copy_sql
from connectors.postgres.standing import Standing
from connectors.postgres.untold import untold
from engine.batch import Cursor, Segment
from engine.contracts.documents import DocumentCodec
from engine.contracts.feed import Deciding, Keeping
from engine.contracts.source import Sharing
from engine.errors import PermanentError
from engine.plain import dumped

SEEN_POLL_S, SEEN_TOLD_S = 0.05, 5.0
"""How often, and from when on aloud, a transaction is waited for that is in the log and not yet seen."""
_WHOLE = Segment(0, None, None, None)
_SNAPSHOT = "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text"


class LookUps:
    """Looks changed rows up, on a connection of its own. `notices` grows; the rest as in ChangeFeed."""

    def __init__(
        self,
        section: PostgresSection,
        view: opening.PostgresView,
        codec: DocumentCodec,
        patience_s: float,
        notices: list[str],
    ) -> None:
        assert section.catch_up is not None, "only a job that goes by the log looks changed rows up"
        self._section = section
        self._log = section.catch_up
        self._url = section.url.get_secret_value()
        self._view = view
        self._codec = codec
        self._patience_s = patience_s
        self._notices = notices
        self.deciding: Deciding | None = None
        self._looker: Any | None = None
        self._held_to = view.standing
        """The log has told of every row that came, changed or went up to then."""
        self.keep: Keeping = _kept_by_nobody
        self._kept = frozenset[tuple[int, bool]]()
        """The partitions of the standing that was kept; there is nothing to keep of a table without."""

    async def looked_up(self, part: LogPart, found: Logged) -> tuple[pa.RecordBatch, int] | None:
        """Return rows as they were and behind them rows as they are, and how many the former are."""
        if not len(part):
            return None
        shape = self._view.shape
        async with self._seeing(part.xids) as connection:

            async def rows_of(sql: str) -> AsyncGenerator[pa.RecordBatch, None]:
                async with aclosing(read(sql)) as parts:
                    async for part in parts:
                        yield part.rows

            async def read(sql: str) -> AsyncGenerator[ParsedRows, None]:
                async with aclosing(
                    copy(connection, sql, shape, self._section.batch_rows, self._codec)
                ) as rows:
                    async for each in rows:
                        yield each

            old = []
            if part.old:
                async with aclosing(rows_of(old_rows_sql(shape, found, part.old))) as rows:
                    old = [each async for each in rows]
            was = list(part.old)
            for number, gone in part.elements.items():
                child = found.tables[number]
                async with aclosing(rows_of(old_elements_sql(shape, found, child, gone))) as rows:
                    old += [each async for each in rows]
                was += rows_of_elements(found, child, gone)
            keys = dict.fromkeys(part.keys)
            for number, leads in part.leads.items():
                async with speaking("source.catch_up"):
                    sql = parents_sql(shape, found.tables[number], leads)
                    keys |= dict.fromkeys(Cursor(tuple(row)) for row in await connection.fetch(sql))
            now = []
            if keys:
                async with aclosing(by_key(shape, list(keys), read, _none_refused)) as batches:
                    now = [batch.rows async for batch in batches]
            if found.by and (keys or was):
                before = old_rows_from(found, was) if was else None
                whole = with_peers(shape, Sharing(found.by, tuple(keys)), before)
                old += now
                now = await decided(old, rows_of(copy_sql(whole, _WHOLE, None)), self.deciding)
        if not old and not now:
            return None
        return pa.concat_batches([*old, *now]), sum(len(rows) for rows in old)

    @asynccontextmanager
    async def _seeing(self, xids: frozenset[int]) -> AsyncIterator[Any]:
        """Give a connection whose transaction sees all of these, of a source that is still the run's."""
        try:
            connection = await self._sees(xids)
            yield connection
            async with speaking("source"):
                await connection.execute("ROLLBACK")
        except BaseException:
            await self.let_go()
            raise

    async def _sees(self, xids: frozenset[int]) -> Any:
        loop = asyncio.get_running_loop()
        began, told = loop.time(), False
        while True:
            if self._looker is None or self._looker.is_closed():
                self._looker = await connect(self._url)
            connection = self._looker
            async with speaking("source"):
                await begin(connection, None)
                snapshot = Snapshot.read(await connection.fetchval(_SNAPSHOT))
                unseen = [xid for xid in xids if not snapshot.sees(xid)]
                if not unseen and await self._is_steady(connection):
                    return connection
                await connection.execute("ROLLBACK")
            waited_s = loop.time() - began
            what = (
                f"transaction {unseen[0]} is in the log, but no query sees it yet"
                if unseen
                else f"{self._section.reads} is emptied or written anew again and again"
            )
            if waited_s > self._patience_s:
                raise PermanentError(
                    f"source: {what}, for {waited_s:.0f} s now: bring the synchronous standby back that its"
                    " commit waits for, then run again"
                )
            if waited_s > SEEN_TOLD_S and not told:
                self._notices.append(f"{what} (a commit waits for a synchronous standby); waiting for that.")
                told = True
            await asyncio.sleep(SEEN_POLL_S)

    async def _is_steady(self, connection: Any) -> bool:
        """Lock what is read; hold it to what the run began with. Raises: PermanentError, TransientError."""
        await watch.lock(connection, self._view.shape)
        before = self._view.standing
        now = await watch.look(connection, self._view.shape, before.server)
        if now is None:
            return False
        await opening.hold_to(connection, before.without_gone(now), now, self._section)
        if not now.children == self._held_to.children == self._kept:
            await self._hold_to(connection, now)
        return True

    async def _hold_to(self, connection: Any, now: Standing) -> None:
        """See that the log has told all up to now, and hold the source to that. Raises: PermanentError."""
        why = await untold(connection, self._log, self._view.shape, self._held_to, now)
        if why is not None:
            raise PermanentError(f"source: {why}; {MISSED}")
        if self._kept != now.children:
            await self.keep(dumped(now))
        self._held_to, self._kept = now, now.children

    async def still_there(self) -> None:
        """See that the source is what the run began with, also where nothing is looked up.

        Raises: PermanentError, TransientError.
        """
        async with self._seeing(frozenset()) as connection, speaking("source"):
            now = await watch.look(connection, self._view.shape, self._held_to.server)
            assert now is not None, "it is steady until the transaction ends"
            await self._hold_to(connection, now)

    async def let_go(self) -> None:
        """Close the connection; the next look-up opens another."""
        looker, self._looker = self._looker, None
        if looker is not None:
            await abandon(looker)


async def _kept_by_nobody(_: str) -> None:
    """Take the place of who keeps a standing."""


async def _none_refused(keys: Sequence[Cursor]) -> frozenset[Cursor]:
    """Return none: the log has printed them."""
    del keys
    return frozenset()
