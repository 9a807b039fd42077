"""A change stream, opened behind a place in the server's log.

Invariant: no more of an event is sent than keys are made of, so that none is too large to be sent.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import PyMongoError

from connectors.mongodb.layout import ID
from connectors.mongodb.logged import reading_log
from connectors.mongodb.place_in_log import PlaceInLog
from connectors.mongodb.section import MongoDBSection
from connectors.mongodb.session import awaited

BEFORE = "fullDocumentBeforeChange"
WAIT_MS = 100
"""How long the server waits for a change before it says that there is none."""
BATCH_EVENTS = 1_000
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


@asynccontextmanager
async def change_stream(
    db: Any, section: MongoDBSection, needed: frozenset[str], done: PlaceInLog, place: str
) -> AsyncIterator[Any]:
    """Open a stream, and close it. `needed`: of documents as they were; `place` names the hosts.

    Raises: as `reading_log`.
    """
    images = needs_images(needed)
    shown = dict.fromkeys(("operationType", "documentKey", "clusterTime"), 1)
    shown |= dict.fromkeys(images_of(needed) if images else (), 1)
    begins: Mapping[str, Any] = (
        {"start_at_operation_time": done.time}
        if done.token is None
        else {"resume_after": RawBSONDocument(done.token)}
    )
    collection = db[section.collection].with_options(codec_options=_RAW)
    async with reading_log(section, place):
        stream = await awaited(
            collection.watch(
                [{"$project": shown}],
                full_document_before_change="required" if images else None,
                max_await_time_ms=WAIT_MS,
                batch_size=BATCH_EVENTS,
                **begins,
            )
        )
    try:
        yield stream
    finally:
        with suppress(PyMongoError):
            await stream.close()


def needs_images(needed: frozenset[str]) -> bool:
    """Whether keys need documents as they were."""
    return not needed <= {ID}


def images_of(needed: frozenset[str]) -> list[str]:
    """Return what is sent of documents as they were: all of them where a name can't be asked for."""
    if any("." in name or name.startswith("$") for name in needed):
        return [BEFORE]
    return [f"{BEFORE}.{name}" for name in sorted(needed | {ID})]
