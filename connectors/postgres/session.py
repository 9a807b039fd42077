"""Connections: how one is made and its read-only transaction begun, and what its failures mean.

Invariant: nothing outlives a transaction, so that a transaction pooler may stand in between; no message holds
a password.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg

from connectors.near import in_clear, local
from connectors.postgres.address import certificate_fault, for_driver, where
from connectors.postgres.files import Password, password, with_service
from connectors.postgres.settings import by_catalogs, settle
from engine.errors import JobError, PermanentError, TransientError
from engine.masking import register, register_url

CONNECT_TIMEOUT_S = 15.0
SERVER_VERSION_MIN = 12
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPALIVE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
"""Silence after which the server is asked, pause between questions, questions before it counts as gone.

Units: seconds. TCP_KEEPALIVE is what macOS calls TCP_KEEPIDLE. Source: tcp(7).
"""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING_CLASSES = ("08", "40", "53", "57", "58")
"""Connection lost; rolled back (a standby's recovery conflict too); resources; operator; system errors."""
_TLS_REFUSED = "rejected SSL upgrade"
"""In the ConnectionError that asyncpg raises. Source: asyncpg/connect_utils.py, TLSUpgradeProto."""
_TOO_MANY = "53300"
_POOLER_FULL = "no more connections allowed"
"""What PgBouncer says beyond its max_client_conn. Source: pgbouncer/src/client.c."""
ROOM = (
    "a run keeps one connection and reads on two more for each of its --workers: raise the limit, or set"
    " source.max_connections to what there is"
)
_NO_FILE = f"{os.devnull}/none"
"""For a driver that reads password files, but not as libpq does: files.py has done it."""
_GONE_SNAPSHOT = ("42704", "22023", "55000")
_SNAPSHOT_TOO_OLD = "72000"
_UNKNOWN_PARAMETER = "42704"
_WRONG_JOB = ("28", "3D", "42")
_WRONG_SQL = (*_WRONG_JOB, "0A", "22", "25")
"""Of a statement made from the job also: not supported, no value of that type, writes in a read-only view."""


VERIFY = (
    "add sslmode=verify-full to source.url, and sslrootcert=FILE where the system doesn't trust the server's"
    " authority"
)


class NoRoomError(TransientError):
    """The server or a pooler before it gives no further connection; others may leave."""


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


async def connect(url: str) -> Any:
    """Open one connection.

    Raises: JobError (the URL, the user or the database is wrong), TransientError (nobody answers).
    """
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
            server_settings={"application_name": "backfill"},
        )
    except asyncpg.PostgresError as error:
        raise _refusal(error, secret) from error
    except asyncpg.InternalClientError as error:
        raise TransientError(
            f"source.url: no server at {where(url)} could be used ({type(error).__name__}); see that it is up"
        ) from error
    except (OSError, EOFError, TimeoutError, asyncpg.InterfaceError, ValueError) as error:
        if (fault := certificate_fault(url, error)) is not None:
            raise JobError(f"source.url: {fault}") from error
        if isinstance(error, OSError | EOFError):
            raise _silence(url, error) from error
        # These messages may quote the URL, so neither the text nor the cause is passed on.
        raise JobError(
            "source.url: not a usable PostgreSQL URL; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
            " with special characters percent-encoded"
        ) from None
    version = connection.get_server_version().major
    if version < SERVER_VERSION_MIN:
        await abandon(connection)
        raise JobError(f"source.url: PostgreSQL {version} is too old; {SERVER_VERSION_MIN} or newer is read")
    connection.keep_alive()
    return connection


def _refusal(error: asyncpg.PostgresError, secret: Password) -> JobError | TransientError:
    """Say why the server refused a connection: the job's fault, no room, or something that passes."""
    refused = f"source.url: PostgreSQL refused the connection: {said(error)}"
    if error.sqlstate == _UNKNOWN_PARAMETER:
        return JobError(f"source.url: the server refused it: {said(error)}; take it out")
    if str(error.sqlstate).startswith(_WRONG_JOB):
        return JobError(f"{refused}; {secret.fault or 'correct the user, the password or the database'}")
    if error.sqlstate == _TOO_MANY or _POOLER_FULL in str(error):
        return NoRoomError(f"{refused}; {ROOM}")
    return TransientError(refused)


def _silence(url: str, error: BaseException) -> JobError | TransientError:
    """Say why no connection came about."""
    if _TLS_REFUSED in str(error):
        return JobError(
            f"source.url: the server at {where(url)} takes no SSL connections, which sslmode asks for;"
            " turn SSL on there or change sslmode"
        )
    return TransientError(
        f"source.url: no PostgreSQL server answers at {where(url)} ({reason(error)}); check host, port"
        " and network, then run again"
    )


def _keep_alive(sock: socket.socket) -> None:
    """Have the kernel ask whether the server is there: one that is gone without a word ends no wait for rows.

    Sockets of libpq do so too; those of asyncpg don't.
    """
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def reason(error: BaseException) -> str:
    """Say an operating system's error in a few words."""
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT_S:.0f} s"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(words.split()).lower()


async def begin(connection: Any, snapshot: str | None) -> bool:
    """Begin a read-only transaction, on an exported snapshot if one is given.

    Shape: False when that snapshot is gone; then the transaction has a snapshot of its own. Raises: JobError.
    """
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    imported = True
    if snapshot is not None:
        try:
            await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _GONE_SNAPSHOT:
                raise
            imported = False
            await connection.execute("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    await settle(connection)
    return imported


async def abandon(connection: Any) -> None:
    """Close a connection without waiting for the server."""
    with suppress(Exception):
        connection.terminate()
    # Lets the transport run its own close callback.
    await asyncio.sleep(0)


class SnapshotTooOldError(TransientError):
    """The server has removed rows that the run's snapshot would see. Source: PostgreSQL 9.6 to 16."""


@asynccontextmanager
async def speaking(doing: str) -> AsyncIterator[None]:
    """Turn the driver's errors into ours, said in one sentence that begins with what was being done.

    Raises: TransientError (worth a new connection), PermanentError.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        if error.sqlstate == _SNAPSHOT_TOO_OLD:
            raise SnapshotTooOldError(f"{doing}: {error.message}") from error
        if str(error.sqlstate).startswith(_PASSING_CLASSES):
            raise TransientError(f"{doing}: {error.message}") from error
        raise PermanentError(f"{doing}: {sentence(error)}") from error
    except (OSError, EOFError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise TransientError(f"{doing}: the connection was lost ({reason(error)})") from error


@asynccontextmanager
async def checking(key: str) -> AsyncIterator[None]:
    """Turn the server's refusal of a statement made from the job into a JobError."""
    try:
        async with speaking(key):
            yield
    except PermanentError as error:
        cause = error.__cause__
        if isinstance(cause, asyncpg.PostgresError) and str(cause.sqlstate).startswith(_WRONG_SQL):
            raise JobError(str(error)) from cause
        raise


def said(error: asyncpg.PostgresError) -> str:
    """Return the server's words, in one line."""
    return " ".join((error.message or str(error) or type(error).__name__).split())


def sentence(error: asyncpg.PostgresError) -> str:
    """Say a server's error with the next step where there is one."""
    words = said(error)
    if "row-level security" in words:
        return f"{words}, so rows would be missing silently; use a role with BYPASSRLS or the table's owner"
    if error.sqlstate == "42501":
        return f"{words}; GRANT SELECT on it to this role"
    return f"{words}; {error.hint}" if error.hint else words
