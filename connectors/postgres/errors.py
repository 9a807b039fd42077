"""What PostgreSQL's and its driver's errors mean to us: the only place where they become sentences.

Invariant: whatever code or words there are, the sentence is one line that says something, and no message of
the driver's own that may quote the URL is passed on. Told by the classes of SQLSTATE, so that codes which
nobody has met are understood too.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from connectors.postgres.address import TLS_MODES, certificate_fault, tls_mode, where
from connectors.postgres.files import Password
from engine.errors import BackfillError, JobError, NoRoomError, PermanentError, TransientError

CONNECT_TIMEOUT_S = 15.0

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING = ("08", "40", "53", "57", "58", "25P03", "25P04", "55006", "HV00N")
"""Connection lost; rolled back (a standby's recovery conflict too); resources; operator; system errors; a
session that rested for too long; what is in use; another server that doesn't answer. A lock that isn't
given in time is none of them: whoever waited says who holds it."""
_LASTING = ("57P04", "53400")
"""Of these: a database that was dropped, a limit that is set."""
_SNAPSHOT_TOO_OLD = "72000"
_WRONG_LOGIN = ("28", "3D")
_WRONG_SETTING = ("42704", "55P02", "22", "42501", "0A")
"""Of what a URL asks for: not known, not to be changed, no such value, not permitted, not supported."""
_WRONG_FOR_POOLER = ("unsupported startup parameter", "no such database", "no such user")
"""What PgBouncer says for good; it has one code for everything. Source: pgbouncer/src/client.c."""
_WRONG_SQL = ("28", "3D", "42", "0A", "22", "25006", "25P01", "25001")
"""Of a statement made from the job: also not supported, no value of that type, writes in a read-only view."""
_NO_PERMISSION = "42501"
_TOO_MANY = "53300"
_POOLER_FULL = "no more connections allowed"
"""What PgBouncer says beyond its max_client_conn. Source: pgbouncer/src/client.c."""
_TLS_REFUSED = "rejected SSL upgrade"
"""In the ConnectionError that asyncpg raises. Source: asyncpg/connect_utils.py, TLSUpgradeProto."""
ROOM = (
    "a run keeps one connection and reads on two more for each of its --workers: raise the limit, or set"
    " source.max_connections to what there is"
)
_NEXT = {
    "0A": "this server can't do that: see docs/postgres.md for what it has to know",
    "22": "mend the value, or leave its row out with source.where",
    "28": "correct the user or the password",
    "3D": "correct the database",
    "3F": "correct the schema",
    "42": "correct the names and the SQL of the job",
    "54": "it is beyond what the server can do: read fewer columns, or leave the row out with source.where",
    "XX": "what is stored may be damaged: look into the server's log, then run again",
    "HV": "look at the other server that this one reads from, then run again",
    "P0": "a function of the database raised this: look at it, then run again",
}
"""The next step by class, for what isn't said better."""
_NEXT_OTHERWISE = "look into the server's log, then run again"


class SnapshotTooOldError(TransientError):
    """The server has removed rows that the run's snapshot would see. Source: PostgreSQL 9.6 to 16."""


@asynccontextmanager
async def speaking(doing: str) -> AsyncIterator[None]:
    """Turn the driver's errors into ours, said in one sentence that begins with what was being done.

    Raises: TransientError (worth a new connection), PermanentError.
    """
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translated(error, doing) from error


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


DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    EOFError,
    TimeoutError,
)
"""All that asyncpg raises while a connection is used."""


def translated(error: BaseException, doing: str) -> BackfillError:
    """Return what an error of a statement is to us: a TransientError or a PermanentError."""
    if not isinstance(error, asyncpg.PostgresError):
        return TransientError(f"{doing}: the connection was lost ({reason(error)})")
    if error.sqlstate == _SNAPSHOT_TOO_OLD:
        return SnapshotTooOldError(f"{doing}: {said(error)}")
    code = str(error.sqlstate)
    if code.startswith(_PASSING) and code not in _LASTING:
        return TransientError(f"{doing}: {said(error)}")
    return PermanentError(f"{doing}: {sentence(error)}")


def refused(url: str, error: BaseException, secret: Password) -> JobError | TransientError:
    """Return what keeps a connection from being made: the job's fault, no room, or what may pass."""
    if isinstance(error, asyncpg.PostgresError):
        return _refusal(error, secret)
    if isinstance(error, asyncpg.InternalClientError):
        return TransientError(
            f"source.url: no server at {where(url)} could be used ({type(error).__name__}); see that it is up"
        )
    if isinstance(error, Exception) and (fault := certificate_fault(url, error)) is not None:
        return JobError(f"source.url: {fault}")
    if isinstance(error, OSError | EOFError):
        return _silence(url, error)
    if (mode := tls_mode(url)) is not None and mode not in TLS_MODES:
        return JobError(f"source.url: there is no such sslmode; it is one of {', '.join(TLS_MODES)}")
    # The driver's own messages may quote the URL, so they are not passed on.
    return JobError(
        "source.url: not a usable PostgreSQL URL; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        " with special characters percent-encoded, and parameters as libpq has them"
    )


def _refusal(error: asyncpg.PostgresError, secret: Password) -> JobError | TransientError:
    """Say why the server refused a connection."""
    code, words = str(error.sqlstate), said(error)
    if code == _TOO_MANY or _POOLER_FULL in str(error):
        return NoRoomError(f"source.url: PostgreSQL refused the connection: {words}; {ROOM}")
    if code.startswith(_WRONG_LOGIN):
        correct = secret.fault or "correct the user, the password or the database"
        return JobError(f"source.url: PostgreSQL refused the connection: {words}; {correct}")
    if code.startswith(_WRONG_SETTING) or any(each in words for each in _WRONG_FOR_POOLER):
        return JobError(
            f"source.url: the server refused what the URL or its role sets: {words}; take it out or correct"
            " it"
        )
    if code.startswith("42"):
        return JobError(
            f"source.url: PostgreSQL refused the connection: {words}; correct the user, the password or the"
            " database"
        )
    return TransientError(f"source.url: PostgreSQL refused the connection: {words}")


def _silence(url: str, error: BaseException) -> JobError | TransientError:
    """Say why no connection came about."""
    if _TLS_REFUSED in str(error):
        return JobError(
            f"source.url: the server at {where(url)} takes no SSL connections, which sslmode asks for;"
            " turn SSL on there or change sslmode"
        )
    what = "speaks no TLS that is understood here" if isinstance(error, ssl.SSLError) else "answers"
    return TransientError(
        f"source.url: no PostgreSQL server {what} at {where(url)} ({reason(error)}); check host, port"
        " and network, then run again"
    )


def said(error: asyncpg.PostgresError) -> str:
    """Return the server's words, in one line; the name of the error where there are none."""
    return " ".join((error.message or str(error) or type(error).__name__).split()).rstrip(".")


def sentence(error: asyncpg.PostgresError) -> str:
    """Say a server's error with the next step."""
    words = said(error)
    if "row-level security" in words:
        return f"{words}, so rows would be missing silently; use a role with BYPASSRLS or the table's owner"
    if error.sqlstate == _NO_PERMISSION:
        return f"{words}; GRANT SELECT on it to this role"
    step = " ".join((error.hint or "").split())
    return f"{words}; {step or _NEXT.get(str(error.sqlstate)[:2], _NEXT_OTHERWISE)}"


def reason(error: BaseException) -> str:
    """Say an operating system's error in a few words."""
    if isinstance(error, asyncio.TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT_S:.0f} s"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(words.split()).lower()
