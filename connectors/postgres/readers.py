"""The connections that a source reads on: each in a transaction that sees the run's snapshot.

Invariant: whoever reads, reads the run's snapshot, or a newer one of a source that is still what the run
began with, of which the user has been told. Everything is locked before it is read.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from connectors.postgres import opening, watch
from connectors.postgres.address import where
from connectors.postgres.errors import CONNECT_TIMEOUT_S, speaking
from connectors.postgres.layout import check_keys
from connectors.postgres.section import PostgresSection
from connectors.postgres.session import abandon, begin, connect
from connectors.postgres.snapshot import export, server_identity
from engine.contracts.source import ViewLost
from engine.errors import JobError, NoRoomError, PermanentError
from engine.plain import dumped

ALONE = (
    "The source gives this run no other connection, so it reads on the one that it has, one segment after"
    " the other; with three it reads two side by side."
)


class Keeper:
    """The connection that keeps the run's snapshot, lent for reading where the server gives no other.

    Invariant: lent to one reader at a time, and whatever that one did is undone when it comes back, so that
    the snapshot outlives it.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._lent = asyncio.Lock()

    async def lend(self, *, waits: bool) -> Any:
        """Return the connection; the next one waits until it is back. Raises: NoRoomError, TransientError.

        Without `waits` it is an error that it is away: who has it may be waiting for what is asked here.
        """
        if self._lent.locked() and not waits:
            raise NoRoomError(
                "source.url: this needs two connections at a time, and the server gives one; raise the limit"
            )
        await self._lent.acquire()
        try:
            async with speaking("source"):
                await self.connection.execute("SAVEPOINT lent")
        except BaseException:
            self._lent.release()
            raise
        return self.connection

    async def back(self) -> None:
        """Take the connection back; one that doesn't answer is given up, and the snapshot with it."""
        try:
            undo = "ROLLBACK TO SAVEPOINT lent; RELEASE SAVEPOINT lent"
            if not self.connection.is_closed():
                await asyncio.wait_for(self.connection.execute(undo), CONNECT_TIMEOUT_S)
        except Exception:
            with suppress(Exception):
                await abandon(self.connection)
        finally:
            self._lent.release()


def instead(keeper: Keeper | None, error: BaseException, notices: list[str]) -> Keeper:
    """Return the keeper, as there is no room for another connection; raise where it is gone. Says which."""
    alive = keeper is not None and not keeper.connection.is_closed()
    notice = ALONE if alive else str(error)
    if notice not in notices:
        notices.append(notice)
    if keeper is None or not alive:
        raise error
    return keeper


IDLE_CONNECTIONS_MAX = 4
SNAPSHOT_GONE = (
    "The run's snapshot is gone (its connection was lost, or the server doesn't keep it), so what was read"
    " after that is from a newer one; what changed behind the place where a reader was, a catch-up run or"
    " verify --full --repair brings."
)

VIEW_LOST = (
    "source: the run's snapshot is gone (its connection was lost, or the server doesn't keep it), and with it"
    " what was found out about item keys; run again to go on: they are looked at anew"
)

VIEW_ELSEWHERE = (
    "source: the run's snapshot can't be read from this host: its URL leads to another server than the"
    " runner's (a standby, a pooler before one), or the snapshot is gone (the runner's connection was lost);"
    " give this host a URL of the runner's server"
)


class Readers:
    """Hands connections out, and keeps some that came back clean. `keeper`: who exported the snapshot."""

    def __init__(
        self,
        section: PostgresSection,
        since: str | None,
        view: opening.PostgresView,
        keeper: Any | None,
        notices: list[str],
    ) -> None:
        self._section = section
        self._url = section.url.get_secret_value()
        self._since = since
        self._view = view
        self._snapshot = view.snapshot
        self._kept = view.kept
        self._lost = VIEW_LOST
        self._alone = view.connections == 1
        self._keeper = None if keeper is None else Keeper(keeper)
        self._notices = notices
        self._idle: list[Any] = []
        self._busy: set[Any] = set()

    @asynccontextmanager
    async def lent(self, *, waits: bool = False, keeps: bool = False) -> AsyncIterator[Any]:
        """Lend a connection whose transaction sees the run's snapshot, or one of its own.

        Where the server gives none, that is the keeper's own; `waits`: as soon as others have given it back.
        `keeps`: unless something fails, the transaction will be as it was, so that others may read in it.
        """
        connection = await self._take(waits=waits)
        clean = False
        try:
            yield connection
            clean = keeps
        finally:
            await self._give_back(connection, clean=clean)

    async def hold(self) -> str:
        """Keep the run's snapshot by a connection of its own; see SourceAbilities.hold_view.

        Raises: ViewLost, and what connecting raises.
        """
        self.keep_view()
        connection = await self._take(waits=False)  # it stays busy until all is closed
        async with speaking("source"):
            exported = await export(connection)
        if exported is None:
            raise ViewLost(self._lost)
        return dumped(exported)

    def keep_view(self) -> None:
        """Read nothing but the run's snapshot from here on; a worker of another host has no other."""
        if not self._kept and self._keeper is None:
            self._lost = VIEW_ELSEWHERE
        self._kept = True

    async def give_up_snapshot(self) -> None:
        """Read on from snapshots of each reader's own: the server doesn't keep the run's any more."""
        self._note_new_snapshot()
        self._snapshot = None
        idle, self._idle = self._idle, []
        for connection in idle:
            await abandon(connection)

    async def close(self) -> None:
        """Close every connection; whatever is being read ends with an error."""
        connections = [*self._idle, *self._busy]
        if self._keeper is not None:
            connections.append(self._keeper.connection)
        self._idle.clear()
        self._busy.clear()
        for connection in connections:
            with suppress(Exception):
                await abandon(connection)

    async def _give_back(self, connection: Any, *, clean: bool) -> None:
        if self._keeper is not None and connection is self._keeper.connection:
            await self._keeper.back()
            return
        self._busy.discard(connection)
        if clean and len(self._idle) < IDLE_CONNECTIONS_MAX:
            self._idle.append(connection)
        else:
            await abandon(connection)

    async def _take(self, *, waits: bool) -> Any:
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
        except BaseException as error:
            self._busy.discard(connection)
            await abandon(connection)
            if isinstance(error, PermanentError):
                raise await opening.told(error, self._section) from error
            if not isinstance(error.__cause__, TimeoutError):
                raise
            keeper = instead(self._keeper, error, self._notices)
            self._alone = True  # a pooler that has nothing left lets one wait each time
            return await keeper.lend(waits=waits)
        return connection

    async def _begin(self, connection: Any) -> None:
        """Begin a transaction on the run's snapshot, or on a new one of a source that is still the run's.

        On the run's snapshot too everything is locked first: once the connection that exported it is gone,
        nothing else keeps anybody from emptying a table.
        """
        async with speaking("source"):
            server = (await server_identity(connection, where(self._url)))["server"]
            if self._snapshot is not None and await self._is_shared(connection, server):
                return
        try:
            found, _, now = await opening.steady(connection, self._section, self._since, server)
            await check_keys(connection, self._view.shape)
        except JobError as error:
            raise PermanentError(str(error)) from error
        await opening.hold_to(connection, self._view.standing, now, self._section)
        if found.name != self._view.relation or not found.shape.gives(self._view.shape):
            raise PermanentError(
                f"source: {self._section.reads} is no longer the table that the run began with, or its"
                " columns changed; put it back and run again to go on, or start over with --fresh"
            )
        if self._snapshot is not None:
            self._note_new_snapshot()

    async def _is_shared(self, connection: Any, server: str) -> bool:
        """Begin on the run's snapshot; False, outside a transaction, where it can't be read any more."""
        if await begin(connection, self._snapshot):
            await watch.lock(connection, self._view.shape)
            if (now := await watch.look(connection, self._view.shape, server)) is not None:
                await opening.hold_to(connection, self._view.standing, now, self._section)
                return True
        await connection.execute("ROLLBACK")
        return False

    def _note_new_snapshot(self) -> None:
        if self._kept:
            raise ViewLost(self._lost)
        if SNAPSHOT_GONE not in self._notices:
            self._notices.append(SNAPSHOT_GONE)
