"""What server, collection and role have to be so that the log tells all that a job needs; how far it reaches.

Invariant: reads only. Where documents as they were are needed and the collection doesn't keep them, the job
is refused: a log that gives them when it can gives nothing, silently, when it can't.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bson import Timestamp
from pymongo import ReadPreference
from pymongo.errors import OperationFailure, PyMongoError

from connectors.afresh import AFRESH
from connectors.mongodb.catalog import CollectionInfo
from connectors.mongodb.changes import IMAGE_GONE
from connectors.mongodb.errors import said, speaking, translated
from connectors.mongodb.layout import ID
from connectors.mongodb.pin import listed
from connectors.mongodb.section import MongoDBSection
from connectors.mongodb.server import first
from connectors.mongodb.session import MAX_TIME_MS, awaited, closed, connect, where
from connectors.mongodb.snapshot import timestamp_of
from engine.amounts import duration
from engine.errors import JobError, PermanentError
from engine.frozen import dataclass

IMAGES = "changeStreamPreAndPostImages"
WATERMARK = "go by source.watermark"
FULL_SHARE = 0.95
"""From so much on an oplog counts as full: what is older is thrown away."""
HISTORY_LOST = frozenset({260, 280, 286})
"""InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost."""
NO_IMAGE, TOO_LARGE, UNAUTHORIZED = 47, 10334, 13
"""NoMatchingDocument, BSONObjectTooLarge, Unauthorized."""
# Source of all codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_SHOWN = (1, True)
_TOLD = "Catch-up runs read the server's log (a change stream)"


@dataclass(frozen=True, slots=True)
class LogWindow:
    """How far the server's log reaches back. `share`: how full it is; None: not known."""

    oldest: Timestamp
    newest: Timestamp
    share: float | None

    @property
    def span_s(self) -> int:
        """Its length in seconds."""
        return int(self.newest.time - self.oldest.time)

    @property
    def full(self) -> bool:
        """Whether the server throws away what is older."""
        return self.share is None or self.share >= FULL_SHARE

    @property
    def told(self) -> str:
        """How far it reaches back, in a few words."""
        share = "" if self.full or self.share is None else f", {100 * self.share:.0f} % full,"
        return f"the server's log{share} reaches back {duration(self.span_s)}"


async def log_window(client: Any) -> LogWindow | None:
    """Look how far the log reaches back; None where the role mayn't look, or for shards, which have many."""
    log = client.local.get_collection("oplog.rs", read_preference=ReadPreference.PRIMARY)
    oldest = await first(log, {}, {"ts": 1}, sort=[("$natural", 1)])
    newest = await first(log, {}, {"ts": 1}, sort=[("$natural", -1)])
    if oldest is None or newest is None:
        return None
    return LogWindow(oldest["ts"], newest["ts"], await _share(log))


async def standing(section: MongoDBSection) -> str:
    """Say how far the log reaches back, in a clause."""
    url = section.url.get_secret_value()
    client = connect(url, section.driver)
    try:
        async with speaking("source.catch_up", where(url)):
            window = await log_window(client)
    finally:
        await closed(client)
    return "how far the server's log reaches back can't be told" if window is None else window.told


async def _share(log: Any) -> float | None:
    try:
        cursor = await awaited(log.aggregate([{"$collStats": {"storageStats": {}}}], maxTimeMS=MAX_TIME_MS))
        (stats,) = [each["storageStats"] async for each in cursor]
    except (OperationFailure, ValueError):
        return None
    return float(stats["size"] / stats["maxSize"]) if stats.get("maxSize") else None


def foretold(window: LogWindow | None) -> str:
    """Say what a plan says of the log."""
    if window is None:
        return (
            f"{_TOLD}; how far that reaches back can't be told (the role mayn't read local.oplog.rs): a run"
            " that comes later than that has lost its place."
        )
    return f"{_TOLD}: {window.told}, and a run that comes later than that has lost its place."


async def see_to_collection(
    db: Any, section: MongoDBSection, found: CollectionInfo, needed: frozenset[str]
) -> None:
    """See that changes of the collection are told in the log as far as keys need them. Raises: JobError."""
    name = section.collection
    info = await listed(db, name) or {}
    kind, options = info.get("type", "collection"), info.get("options", {})
    if kind != "collection":
        raise JobError(f"source.catch_up: {name} is a {kind}, and only a collection has a log; {WATERMARK}")
    if options.get("capped"):
        raise JobError(
            f"source.catch_up: {name} is capped, and the log doesn't tell which documents newer ones push"
            f" out; {WATERMARK}"
        )
    if not found.keyed:
        raise JobError(
            f"source.catch_up: {name} has no index on _id to look changed documents up by; create the index"
            f" {{_id: 1}}, or {WATERMARK}"
        )
    _see_to_projection(section, needed)
    if needed <= {ID} or options.get(IMAGES, {}).get("enabled"):
        return
    named = ", ".join(sorted(needed - {ID}))
    raise JobError(
        f"source.catch_up: item keys or versions are made of {named}, and of documents that"
        " change or go the log tells the _id alone; have it keep documents as they were (MongoDB 6.0 and"
        f' newer): db.runCommand({{collMod: "{name}", {IMAGES}: {{enabled: true}}}}), and if a run has'
        f" ended before, {AFRESH}"
    )


def _see_to_projection(section: MongoDBSection, needed: frozenset[str]) -> None:
    """See that what keys are made of comes as it is in the documents. Raises: JobError."""
    said = section.projection
    leaves_out = all(not shown for name, shown in said.items() if name != ID)
    tops = {name.partition(".")[0] for name in said}
    for name in sorted(needed):
        as_it_is = name not in tops if leaves_out or name == ID else said.get(name) in _SHOWN
        if said and not as_it_is and not (name == ID and said.get(ID) in _SHOWN):
            raise JobError(
                f"source.catch_up: item keys or versions are made of {name}, which source.projection"
                f" cuts or computes, and the log has documents as they are; name {name} whole"
                f" there, or {WATERMARK}"
            )


def see_to_server(kind: str) -> None:
    """See that the server keeps a log. `kind`: see Server. Raises: JobError."""
    if kind == "standalone":
        raise JobError(
            "source.catch_up: a standalone server keeps no log; start it with --replSet and run"
            f" rs.initiate(), which makes it a replica set of one, or {WATERMARK}"
        )


def begins_at(at: str | None) -> Timestamp:
    """Return a snapshot's time, from which on the log can be read. Raises: JobError where there is none."""
    if at is None:
        raise JobError(
            "source.catch_up: the server gives no snapshot of the collection from which on its log could be"
            f" read; MongoDB 5.0 or newer does; {WATERMARK}"
        )
    return timestamp_of(at)


def history_lost(what: str) -> str:
    """Say that the log doesn't go back far enough. `what`: how that shows."""
    return (
        f"source.catch_up: the server has thrown away log that wasn't read yet ({what}); {AFRESH}; then run"
        " more often, or have the server keep more (replSetResizeOplog)"
    )


@asynccontextmanager
async def reading_log(section: MongoDBSection, place: str) -> AsyncIterator[None]:
    """Turn the driver's errors into ours, with what they mean for a change stream.

    Raises: JobError, TransientError, PermanentError.
    """
    try:
        yield
    except OperationFailure as error:
        if error.code in HISTORY_LOST:
            raise PermanentError(history_lost(said(error))) from error
        if error.code == NO_IMAGE:
            raise PermanentError(IMAGE_GONE) from error
        if error.code == TOO_LARGE:
            raise PermanentError(
                f"source.catch_up: a change of {section.collection} takes more than the 16 MB that the server"
                f" can send, though nothing is asked for but what keys are made of; {AFRESH}"
            ) from error
        if error.code == UNAUTHORIZED:
            raise JobError(
                f"source.catch_up: MongoDB at {place} refused: {said(error)}; have the user granted find and"
                f" changeStream on {section.database}.{section.collection}, as the role read on"
                f" {section.database} has them"
            ) from error
        raise translated(error, "source.catch_up", place) from error
    except PyMongoError as error:
        raise translated(error, "source.catch_up", place) from error
