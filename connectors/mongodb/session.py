"""The way to the server: one client per process by either driver, sessions, and what failures mean.

Invariant: no message holds a password; nothing is ever written to the source.
"""

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import AsyncMongoClient
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    CursorNotFound,
    ExecutionTimeout,
    InvalidOperation,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from engine.errors import BackfillError, JobError, PermanentError, TransientError

SELECTION_TIMEOUT_MS = 15_000
CODEC: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)

# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_SNAPSHOT_GONE = {239, 246}
"""SnapshotTooOld, SnapshotUnavailable."""
_NO_SNAPSHOTS = {72, 123, 263, 20, 2}
"""Standalone servers and old ones refuse the read concern with one of these."""
_REFUSED_LOGIN = {13, 18, 8000}
"""Unauthorized, AuthenticationFailed, AtlasError."""
_PASSING = {
    *(6, 7, 43, 63, 89, 91, 134, 150, 189, 237, 262, 50, 9001),
    *(10107, 11600, 11602, 13388, 13435, 13436, 175, 234, 133, 286),
}
"""What a failover, a step-down, a killed cursor or session, or a moved chunk gives; and time-outs."""


class SnapshotGoneError(TransientError):
    """The server doesn't keep the run's snapshot any more."""


def connect(url: str, driver: Literal["pymongo", "motor"]) -> Any:
    """Return a client; nothing is sent yet.

    Raises: JobError when the URL is no URL, or the driver isn't installed.
    """
    settings: dict[str, Any] = {
        "appname": "backfill",
        "serverSelectionTimeoutMS": SELECTION_TIMEOUT_MS,
        "connectTimeoutMS": SELECTION_TIMEOUT_MS,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # the drivers would go on without an option
            return _motor(url, settings) if driver == "motor" else AsyncMongoClient(url, **settings)
    except (InvalidURI, ConfigurationError, ValueError, TypeError, UserWarning):
        # These messages may quote the URL, so neither the text nor the cause is passed on.
        raise JobError(
            "source.url: not a usable MongoDB URL; write mongodb://USER:PASSWORD@HOST:PORT/ with special"
            " characters percent-encoded, and only options that PyMongo knows"
        ) from None


def _motor(url: str, settings: dict[str, Any]) -> Any:
    try:
        from motor.motor_asyncio import AsyncIOMotorClient
    except ImportError as error:
        raise JobError(
            "source.driver: motor isn't installed; pip install 'backfill[motor]', or leave `driver` out"
        ) from error
    return AsyncIOMotorClient(url, **settings)


async def closed(client: Any) -> None:
    """Close a client; the drivers differ in whether that is waited for."""
    result = client.close()
    if result is not None:
        await result
    await asyncio.sleep(0)  # lets aborted transports run their own close callbacks


async def awaited(value: Any) -> Any:
    """Return a cursor of an aggregation; the drivers differ in whether it is waited for."""
    return await value if hasattr(value, "__await__") else value


def where(url: str) -> str:
    """Return the hosts of a URL, and nothing else of it."""
    authority = urlsplit(url).netloc
    if "@" in url and "@" not in authority:
        return "the given host"  # a bare / ? or # in a password has cut it in two
    return authority.rpartition("@")[2] or "the given host"


@asynccontextmanager
async def speaking(doing: str, place: str) -> AsyncIterator[None]:
    """Turn the driver's errors into ours, said in one sentence that begins with what was being done.

    Raises: JobError (wrong login, wrong query), TransientError (worth another try), PermanentError.
    """
    try:
        yield
    except PyMongoError as error:
        raise _translated(error, doing, place) from error


def _translated(error: PyMongoError, doing: str, place: str) -> BackfillError:
    match error:
        case ServerSelectionTimeoutError():
            return TransientError(
                f"source.url: no MongoDB server answers at {place}; check host, port, replica set and"
                " network, then run again"
            )
        case CursorNotFound():
            return TransientError(f"{doing}: the server dropped the cursor")
        case OperationFailure(code=code) if code in _SNAPSHOT_GONE:
            return SnapshotGoneError(f"{doing}: the server doesn't keep the run's snapshot any more")
        case ExecutionTimeout():
            return TransientError(f"{doing}: the server ran out of time")
        case OperationFailure(code=code) if code in _REFUSED_LOGIN:
            return JobError(
                f"source.url: MongoDB at {place} refused: {_said(error)}; correct the user, the password,"
                " authSource or the user's roles"
            )
        case OperationFailure(code=code) if code in _PASSING or error.has_error_label("RetryableReadError"):
            return TransientError(f"{doing}: {_said(error)}")
        case ConnectionFailure():
            return TransientError(f"{doing}: the connection to {place} was lost")
        case InvalidOperation():
            return TransientError(f"{doing}: the connection was closed")
        case ConfigurationError():
            return JobError(f"source.url: {_first_sentence(str(error))}")
        case _:
            return PermanentError(f"{doing}: {_said(error)}; correct it and run again")


def no_snapshots(error: PyMongoError) -> bool:
    """Say whether a server has no snapshots to read."""
    if isinstance(error, OperationFailure):
        return error.code in _NO_SNAPSHOTS or error.code in _SNAPSHOT_GONE
    return isinstance(error, ConfigurationError)


def _said(error: PyMongoError) -> str:
    details = getattr(error, "details", None)
    text = details.get("errmsg") if isinstance(details, dict) else None
    return _first_sentence(str(text or error))


def _first_sentence(text: str) -> str:
    return text.partition(", full error")[0].partition("\n")[0].rstrip(".")
