"""The way to the server: one client per process, by either driver.

Invariant: no message holds a password; nothing is ever written to the source.
"""

import asyncio
import warnings
from typing import Any, Literal
from urllib.parse import urlsplit

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError, InvalidURI

from engine.errors import JobError

SELECTION_TIMEOUT_MS = 15_000
CODEC: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)


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
