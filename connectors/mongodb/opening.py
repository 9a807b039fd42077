"""What opening a collection finds out, once per run: what it is, its watermark, its snapshot, what to tell.

Invariant: the watermark is taken before the snapshot; nothing but a bounded sample of documents is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from connectors.mongodb import lookalikes
from connectors.mongodb.catalog import CollectionInfo, look_up, proved_id
from connectors.mongodb.distinct import distinct, unique_fields
from connectors.mongodb.errors import speaking
from connectors.mongodb.layout import FIELD, id_column, layout_of, schema_of
from connectors.mongodb.pin import Pin
from connectors.mongodb.place_in_log import PlaceInLog
from connectors.mongodb.query import projection_of, query_of
from connectors.mongodb.sample import unseen_fields
from connectors.mongodb.section import MongoDBSection
from connectors.mongodb.server import Server, observe
from connectors.mongodb.session import open_to_others, where
from connectors.mongodb.snapshot import NONE, reading_at, take, timestamp_of
from connectors.mongodb.watermark import moment_of, next_watermark, server_time, within_overlap
from engine.contracts.source import SourceTicket
from engine.documents.plain import PLAIN
from engine.errors import JobError, PermanentError
from engine.kinds import Kind
from engine.plain import dumped
from engine.rules.fields import Fields

_BLIND = (
    "The source is a view: catch-up runs see a change in what it joins ($lookup, $unionWith) only where that"
    " changes the watermark."
)


@dataclass(frozen=True, slots=True)
class MongoDBView:
    """What every process of a run reads: the ticket's details.

    Shape: `at` the snapshot's time as `seconds.increment`, None without one; `types` the BSON types that all
    `_id`s are proved to have, empty when they aren't; `kept`: no other time may be read. Units:
    `document_bytes` on average.
    """

    at: str | None
    types: frozenset[int]
    document_bytes: int
    pin: Pin
    server: Server
    kept: bool = False


@dataclass(frozen=True, slots=True)
class OpenedCollection:
    """What opening found out; all but the ticket and the client is None or empty in a worker.

    `alike`: the fields that prove keys to differ, with the type of all their values, None where no document
    has the field.
    """

    client: Any
    ticket: SourceTicket
    found: CollectionInfo | None
    watermark: str | None
    notices: tuple[str, ...]
    alike: Mapping[str, type | None] = field(default_factory=dict)


async def look(client: Any, section: MongoDBSection, fields: Fields, since: str | None) -> OpenedCollection:
    """Check the job against the server, take the watermark, then a snapshot.

    Raises: JobError, PermanentError, TransientError.
    """
    place = where(section.url.get_secret_value())
    collection = client[section.database][section.collection]
    notices: list[str] = []
    async with speaking("source", place):
        await lookalikes.check(client, place)
        found = await look_up(client, section.database, section.collection, place)
        now = await server_time(client)
        await _check_query(client, section, since)
        server = await observe(client)
        indexes = await unique_fields(collection, fields) if found.whole else ()
        at = await take(client, collection)
        again = None
        if since is not None and section.watermark is not None:
            again = await within_overlap(collection, section.watermark, moment_of(since))
        kind: Kind = FIELD
        types = frozenset[int]()
        alike: Mapping[str, type | None] = {}
        before = _before(section, since)
        async with reading_at(client, at) as session:
            if found.unique:
                types = frozenset() if before is None else before.types
                kind, types = await proved_id(collection, session, found.pin, types)
            if at is not None:  # what is unique at one time only may be met twice by cursors without one
                alike = await distinct(collection, session, indexes)
                if before is None:  # of what is gone no log tells
                    alike = {name: kind for name, kind in alike.items() if kind is not None}
        watermark = await _watermark(client, section, now, at, types)
        schema = schema_of(fields, id_column(kind, types), keyed=found.keyed, unique=found.unique)
        schema = replace(schema, unique=tuple(frozenset({name}) for name in alike))
        unseen = None
        if not fields.hooked:  # a hook makes columns of its own
            layout = layout_of(fields, schema, PLAIN)  # only what is there counts, not how it is written
            unseen = await unseen_fields(collection, projection_of(section), fields, layout)
    notices += [] if found.why is None else [found.why]
    notices += [_BLIND] if section.watermark is not None and not found.collection else []
    if section.watermark is not None and since is not None and again != 0:
        notices.append(section.watermark.rereads(again, planned=False))
    notices += [] if at is not None else [NONE]
    notices += [] if unseen is None else [unseen]
    notices += filter(None, [open_to_others(section.url.get_secret_value())])
    view = dumped(MongoDBView(at, types, found.document_bytes, found.pin, server))
    ticket = SourceTicket(schema, since, view)
    return OpenedCollection(client, ticket, found, watermark, tuple(notices), alike)


def _before(section: MongoDBSection, since: str | None) -> PlaceInLog | None:
    """Return the place to which the log was read: what was there then and is gone, it tells."""
    return None if section.catch_up is None or since is None else PlaceInLog.read(since)


async def _watermark(
    client: Any, section: MongoDBSection, now: datetime, at: str | None, types: frozenset[int]
) -> str | None:
    """Return from where the next catch-up run has to read: from the log, what isn't in this snapshot."""
    if section.catch_up is None:
        return await next_watermark(client, now, at)
    return None if at is None else PlaceInLog(timestamp_of(at), types).text


async def _check_query(client: Any, section: MongoDBSection, since: str | None) -> None:
    """Let the server plan the query without running it. Raises: JobError when it can't."""
    find: dict[str, Any] = {"find": section.collection, "filter": query_of(section, since)}
    projection = projection_of(section)
    if projection is not None:
        find["projection"] = projection
    place = "source.filter" if section.filter else "source.projection" if projection else "source"
    try:
        async with speaking(place, where(section.url.get_secret_value())):
            await client[section.database].command("explain", find, verbosity="queryPlanner")
    except PermanentError as error:
        raise JobError(str(error)) from error
