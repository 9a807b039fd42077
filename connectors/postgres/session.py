"""Connections: how one is made and its read-only transaction begun.

Invariant: nothing outlives a transaction, so that a transaction pooler may stand in between; no message holds
a password.
"""

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg

from connectors.near import in_clear, local
from connectors.postgres import lookalikes
from connectors.postgres.address import for_driver, where
from connectors.postgres.errors import CONNECT_TIMEOUT_S, DRIVER_ERRORS, refused
from connectors.postgres.files import Password, password, with_service
from connectors.postgres.settings import by_catalogs, settle
from connectors.url import misencoded
from engine.errors import JobError
from engine.frozen import dataclass
from engine.masking import register, register_url

SERVER_VERSION_MIN = 12
NAME = "backfill"
"""How sessions are called."""
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPALIVE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
"""Silence after which the server is asked, pause between questions, questions before it counts as gone.

Units: seconds. TCP_KEEPALIVE is what macOS calls TCP_KEEPIDLE. Source: tcp(7).
"""
UNACKED_S = 120
"""As long in all: nothing is asked of a server that owes the receipt of a query, which is sent again for a
quarter of an hour. Source: tcp(7), TCP_USER_TIMEOUT."""

_NO_FILE = f"{os.devnull}/none"
"""For a driver that reads password files, but not as libpq does: files.py has done it."""
_GONE_SNAPSHOT = ("42704", "22023", "55000")
_SEEN = "SELECT pg_catalog.txid_current_snapshot()::pg_catalog.text"
VERIFY = (
    "add sslmode=verify-full to source.url, and sslrootcert=FILE where the system doesn't trust the server's"
    " authority"
)


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose driver looks types up as we do; its own query would go by the role's search_path.

    Private door: `_introspect_types` and `_transport` are asyncpg's own, and there is no other way in. An
    asyncpg without the one would look types up as before, and `make test-versions` would say so.
    """

    async def _introspect_types(self, typeoids: Any, timeout: Any) -> Any:
        async with by_catalogs(self):
            return await super()._introspect_types(typeoids, timeout)

    def in_clear(self, url: str) -> str | None:
        """Say whether the way to a server on another machine can be listened to; None where it can't."""
        peer, tls = (self._transport.get_extra_info(name) for name in ("peername", "ssl_object"))
        if not isinstance(peer, tuple) or local(str(peer[0])):
            return None
        if tls is not None and tls.context.verify_mode == ssl.CERT_REQUIRED:
            return None
        return in_clear(where(url), encrypted=tls is not None, how=VERIFY)

    def keep_alive(self) -> None:
        """Have the kernel ask whether the server is there."""
        _keep_alive(self._transport.get_extra_info("socket"))


def reading_slot(slot: str) -> str:
    """Return how a session that reads a slot is called, so that others see that it is in use."""
    return f"{NAME} {slot}"


async def connect(url: str, name: str = NAME) -> Any:
    """Open one connection.

    Raises: JobError (the URL, the user or the database is wrong), TransientError (nobody answers).
    """
    if (fault := misencoded(url)) is not None:
        raise JobError(f"source.url: {fault}")
    secret = Password()
    try:
        url = with_service(url, os.environ, Path.home())
        secret = password(url, os.environ, Path.home())
        register(secret.value)
        register_url(url)
        connection = await asyncpg.connect(
            for_driver(url),
            password=secret.value,
            passfile=_NO_FILE,
            statement_cache_size=0,
            timeout=CONNECT_TIMEOUT_S,
            connection_class=_Connection,
            server_settings={"application_name": name},
        )
    except (*DRIVER_ERRORS, ValueError) as error:
        # Where the driver may quote the URL, its error is nobody's cause.
        raise refused(url, error, secret) from (
            None if isinstance(error, ValueError | asyncpg.InterfaceError) else error
        )
    version = connection.get_server_version().major
    if version < SERVER_VERSION_MIN:
        try:
            await lookalikes.check(connection)
        finally:
            await abandon(connection)
        raise JobError(f"source.url: PostgreSQL {version} is too old; {SERVER_VERSION_MIN} or newer is read")
    connection.keep_alive()
    return connection


def _keep_alive(sock: socket.socket) -> None:
    """Have the kernel ask whether the server is there: one that is gone without a word ends no wait for rows.

    Sockets of libpq do so too; those of asyncpg don't.
    """
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (*KEEPALIVE, ("TCP_USER_TIMEOUT", UNACKED_S * 1000)):
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


@dataclass(frozen=True, slots=True)
class Exported:
    """A snapshot that a session exports. `seen`: which transactions it sees, as the server prints that.

    The name alone doesn't tell: a server gives names anew after a restart, and a standby gives the same ones.
    """

    name: str
    seen: str


async def begin(connection: Any, snapshot: Exported | None) -> bool:
    """Begin a read-only transaction, on an exported snapshot if one is given.

    Shape: False when that snapshot is gone; then the transaction has a snapshot of its own. Raises: JobError.
    """
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    imported = True
    if snapshot is not None:
        try:
            await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot.name}'")
            imported = await seen(connection) == snapshot.seen
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _GONE_SNAPSHOT:
                raise
            imported = False
        if not imported:
            await connection.execute("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    await settle(connection)
    return imported


async def seen(connection: Any) -> str:
    """Return which transactions the snapshot of the open transaction sees."""
    return str(await connection.fetchval(_SEEN))


async def abandon(connection: Any) -> None:
    """Close a connection without waiting for the server."""
    with suppress(Exception):
        connection.terminate()
    # Lets the transport run its own close callback.
    await asyncio.sleep(0)
