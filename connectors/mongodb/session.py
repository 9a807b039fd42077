"""The way to the server: one client per process, by either driver.

Invariant: no message holds a password; nothing is ever written to the source.
"""

import asyncio
import warnings
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from connectors.near import in_clear, local
from connectors.url import misencoded
from engine.errors import JobError
from engine.masking import register_url

_UNPROVED = ("tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames")
_UNPROVED_HOW = (
    "take tlsInsecure and tlsAllowInvalid… out of source.url, and name the authority with tlsCAFile=FILE"
)
SELECTION_TIMEOUT_MS = 15_000
MAX_TIME_MS = 2**31 - 1
"""Said with each reading, since 8.0 may have a limit for those that say none (defaultMaxTimeMS).

Source: MongoDB manual, cursor.maxTimeMS(), its highest value.
"""
CODEC: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)


def connect(url: str, driver: Literal["pymongo", "motor"]) -> Any:
    """Return a client; nothing is sent yet.

    Raises: JobError when the URL is no URL, or the driver isn't installed.
    """
    register_url(url)
    if (fault := misencoded(url)) is not None:
        raise JobError(f"source.url: {fault}")
    settings: dict[str, Any] = {
        "appname": "backfill",
        "serverSelectionTimeoutMS": SELECTION_TIMEOUT_MS,
        "connectTimeoutMS": SELECTION_TIMEOUT_MS,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # the drivers would go on without an option
            return _motor(url, settings) if driver == "motor" else AsyncMongoClient(url, **settings)
    except OSError as error:
        raise JobError(
            f"source.url: the file {error.filename}, which one of its tls options names, can't be read"
            f" ({(error.strerror or 'no reason given').lower()}); correct the path"
        ) from error
    except (PyMongoError, ValueError, TypeError, LookupError, UserWarning):
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


def open_to_others(url: str) -> str | None:
    """Say whether the way to a server on another machine can be listened to; None where it can't.

    Source: MongoDB manual, "Connection String Options", TLS.
    """
    parts = urlsplit(url)
    hosts = [host.rpartition(":")[0] if ":" in host else host for host in unquote(where(url)).split(",")]
    options = {name.lower(): value.lower() for name, value in parse_qsl(parts.query)}
    srv = parts.scheme.lower().endswith("+srv")
    if not srv and all(map(local, hosts)):
        return None
    encrypted = (options.get("tls") or options.get("ssl") or str(srv).lower()) == "true"
    if encrypted and not any(options.get(name) == "true" for name in _UNPROVED):
        return None
    return in_clear(
        where(url), encrypted=encrypted, how=_UNPROVED_HOW if encrypted else "add tls=true to source.url"
    )


def where(url: str) -> str:
    """Return the hosts of a URL, and nothing else of it."""
    authority = urlsplit(url).netloc
    if "@" in url and "@" not in authority:
        return "the given host"  # a bare / ? or # in a password has cut it in two
    return authority.rpartition("@")[2] or "the given host"
