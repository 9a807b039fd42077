"""What the server's errors mean for a reading: worth another try, the job's fault, or the end.

Invariant: no message holds a password; what may pass is a TransientError, told by the categories of MongoDB's
own list of codes and the labels that a server gives, not by the cases that were met.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    CursorNotFound,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from engine.errors import BackfillError, JobError, PermanentError, TransientError

# Source of all codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_SNAPSHOT_GONE = frozenset({239, 246, 250, 272})
"""The category SnapshotError: too old, unavailable, chunks that have moved since."""
_NO_SNAPSHOTS = frozenset({72, 123, 263, 20, 2})
"""Standalone servers and old ones refuse the read concern with one of these."""
_REFUSED_LOGIN = frozenset({13, 18})
"""Unauthorized, AuthenticationFailed."""
ATLAS = 8000
"""AtlasError: whatever Atlas itself refuses, from a wrong password to a command that a tier hasn't got."""
MOVED = 361
"""CollectionUUIDMismatch."""
_CURSOR = frozenset({43, 96, 136, 143, 175, 237, 314})
"""The category CursorInvalidatedError and its like: not found, killed, in use, its place in a cap lost."""
_PASSING = _CURSOR | {
    *(6, 7, 89, 145, 172, 199, 317, 384, 398, 407, 450, 9001),  # NetworkError, connections that close
    *(189, 10058, 10107, 11602, 13435, 13436),  # NotPrimaryError
    *(91, 303, 333, 372, 11600),  # ShutdownError, CloseConnectionError
    *(50, 202, 262, 290),  # ExceededTimeLimitError
    *(24, 279, 281, 282, 355, 11601),  # Interruption
    *(46, 107, 112, 117, 221, 267, 365),  # locks, conflicts, storage that is busy
    *(63, 150, 249, 13388, 319, 343, 203, 234),  # chunks and databases that move
    *(133, 134, 149, 190, 209, 211, 216),  # members that aren't ready yet
    *(358, 402, 406, 412),  # RetriableError
    *(433, 449, 462),  # SystemOverloadedError
    *(206, 310, 90),  # sessions and work that were cancelled
}
_PASSING_LABELS = ("RetryableReadError", "RetryableError", "SystemOverloadedError")
_NO_TIMEOUT_REFUSED = "notimeout cursors"
"""Part of what Atlas says where a tier has no cursors without a timeout."""
_COMMAND = re.compile(r"(execute command )\{ *\"?(\w+)\b.*", re.DOTALL)
"""How a refusal quotes what was asked; all but the command's name is ours, and may be long."""
_TIER = ("atlas tier", "disallowed", "cmd_not_allowed")
"""Parts of what Atlas says of a command or option that a tier hasn't got."""
_LOGIN = ("auth", "is not allowed to do action", "user is not allowed", "password")
"""Parts of what Atlas says of a login or a right."""


LOST = (
    "A cursor or connection to the source was lost, or the server put a reading off; reading went on behind"
    " the last _id."
)
NO_TIMEOUT_REFUSED = (
    "The server gives no cursors without a timeout (an Atlas tier): one that rests for ten minutes is opened"
    " again behind the last _id."
)


class PassingError(TransientError):
    """The server answered that it can't just now: it is there, and will do it later."""


class SnapshotGoneError(TransientError):
    """The server doesn't keep the run's snapshot any more."""


class NoTimeoutRefusedError(TransientError):
    """The server gives no cursors without a timeout."""


@asynccontextmanager
async def speaking(doing: str, place: str) -> AsyncIterator[None]:
    """Turn the driver's errors into ours, said in one sentence that begins with what was being done.

    Raises: JobError (wrong login, wrong query), TransientError (worth another try), PermanentError.
    """
    try:
        yield
    except PyMongoError as error:
        raise translated(error, doing, place) from error


def translated(error: PyMongoError, doing: str, place: str) -> BackfillError:
    """Return what an error of the driver is to us."""
    match error:
        case ServerSelectionTimeoutError() if "stale" in str(error):
            return TransientError(
                f"source.url: the primary at {place} is of an election that is over: it has an older state of"
                " its replica set than was seen before; bring the newer one back, then run again"
            )
        case ServerSelectionTimeoutError():
            return TransientError(
                f"source.url: no MongoDB server answers at {place}; check host, port, replica set and"
                " network, then run again"
            )
        case CursorNotFound():
            return PassingError(f"{doing}: the server dropped the cursor")
        case ExecutionTimeout():
            return PassingError(f"{doing}: the server ran out of time")
        case OperationFailure():
            return _answered(error, doing, place)
        case ConnectionFailure():
            return TransientError(f"{doing}: the connection to {place} was lost")
        case InvalidOperation():
            return TransientError(f"{doing}: the connection was closed")
        case ConfigurationError():
            return JobError(f"source.url: {_first_sentence(str(error))}")
        case _:
            return PermanentError(f"{doing}: {said(error)}; correct it and run again")


def no_snapshots(error: PyMongoError) -> bool:
    """Say whether a server has no snapshots to read."""
    if isinstance(error, OperationFailure):
        return error.code in _NO_SNAPSHOTS or error.code in _SNAPSHOT_GONE or tier_refuses(error)
    return isinstance(error, ConfigurationError)


def tier_refuses(error: OperationFailure) -> bool:
    """Say whether an Atlas tier hasn't got the command or option that was sent."""
    return error.code == ATLAS and _holds(error, _TIER)


def said(error: PyMongoError) -> str:
    """Return the server's own first sentence; the error's name and code where it says nothing."""
    details = getattr(error, "details", None)
    text = details.get("errmsg") if isinstance(details, dict) else None
    code = getattr(error, "code", None)
    named = type(error).__name__ if code is None else f"error {code}"
    return _first_sentence(str(text or error)) or named


def _answered(error: OperationFailure, doing: str, place: str) -> BackfillError:
    """Return what a server's refusal is to us."""
    code = error.code
    if code == MOVED:
        return PermanentError(f"source: {_moved(error)}")
    if code in _SNAPSHOT_GONE:
        return SnapshotGoneError(f"{doing}: the server doesn't keep the run's snapshot any more")
    if code == ATLAS and _NO_TIMEOUT_REFUSED in said(error).lower():
        return NoTimeoutRefusedError(f"{doing}: {said(error)}")
    if code in _REFUSED_LOGIN or (code == ATLAS and not tier_refuses(error) and _holds(error, _LOGIN)):
        return JobError(
            f"source.url: MongoDB at {place} refused: {said(error)}; correct the user, the password,"
            " authSource or the user's roles"
        )
    if code in _PASSING or any(map(error.has_error_label, _PASSING_LABELS)):
        return PassingError(f"{doing}: {said(error)}")
    if code == ATLAS:
        return PermanentError(
            f"{doing}: MongoDB Atlas refused: {said(error)}; look at the cluster's tier and limits, then run"
            " again"
        )
    return PermanentError(f"{doing}: {said(error)}; correct it and run again")


def _moved(error: OperationFailure) -> str:
    details: Any = error.details or {}
    actual = details.get("actualCollection")
    return moved(
        f"{details.get('db')}.{details.get('expectedCollection')}",
        f"it is called {actual} now" if actual else None,
    )


def moved(name: str, what: str | None = None) -> str:
    """Say that a name doesn't mean what it meant when the run began, and what to do."""
    what = what or "it was dropped, renamed, created again or resharded, which makes a new one too"
    return (
        f"{name} isn't what it was when the run began: {what}. Put it back and run again to resume, or load"
        " what is there now with --fresh"
    )


def _holds(error: OperationFailure, parts: tuple[str, ...]) -> bool:
    text = said(error).lower()
    return any(part in text for part in parts)


def _first_sentence(text: str) -> str:
    """Return the first sentence, with the name alone of a command that the server quotes whole."""
    first = " ".join(text.partition(", full error")[0].partition("\n")[0].split()).rstrip(".")
    return _COMMAND.sub(r"\1\2", first)
