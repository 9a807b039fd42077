"""What opening a collection finds out, once per run: what it is, its watermark, its snapshot, what to tell.

Invariant: the watermark is taken before the snapshot; nothing but a bounded sample of documents is read.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from connectors.mongodb import lookalikes
from connectors.mongodb.bson_values import elements
from connectors.mongodb.catalog import CollectionInfo, look_up, proved_id
from connectors.mongodb.chunks import starts_of
from connectors.mongodb.distinct import distinct, unique_fields
from connectors.mongodb.documents import read_columns
from connectors.mongodb.errors import speaking
from connectors.mongodb.facts import snapshot_kept_s
from connectors.mongodb.layout import FIELD, ID, FieldColumns, id_column, layout_of, schema_of
from connectors.mongodb.pin import Pin
from connectors.mongodb.place_in_log import PlaceInLog
from connectors.mongodb.query import projection_of, query_of
from connectors.mongodb.section import MongoDBSection
from connectors.mongodb.server import Server, observe
from connectors.mongodb.session import MAX_TIME_MS, open_to_others, where
from connectors.mongodb.snapshot import NONE, reading_at, still_kept, take, timestamp_of
from connectors.mongodb.watermark import moment_of, next_watermark, server_time, within_overlap
from engine.contracts.source import SourceTicket
from engine.documents.plain import PLAIN
from engine.errors import JobError, PermanentError
from engine.frozen import dataclass
from engine.kinds import Kind, Members, Scalar
from engine.plain import dumped
from engine.rules.fields import Fields

DOCUMENTS = 1_000
"""Of so many a name that rules know may be misspelt where none has it."""
NAMED_MAX = 5
FRESH_SHARE = 0.5
"""A time at which the run has read is gone on at in the first half of what the server keeps: else the run
would soon lose it."""
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
    same_view: bool = False
    """Whether the snapshot's time is one at which an earlier part of the run has read."""


async def look(
    client: Any, section: MongoDBSection, fields: Fields, since: str | None, views: Sequence[str] = ()
) -> OpenedCollection:
    """Check the job against the server, take the watermark, then a snapshot.

    `views`: times at which earlier parts of the run have read; the first that is still kept is read again.
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
        oldest_s = now.timestamp() - FRESH_SHARE * await snapshot_kept_s(client) if views else 0.0
        before_at = await still_kept(client, collection, views, oldest_s)
        at = before_at or await take(client, collection)
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
    return OpenedCollection(
        client, ticket, found, watermark, tuple(notices), alike, same_view=before_at is not None
    )


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


async def unseen_fields(
    collection: Any, projection: Mapping[str, Any] | None, fields: Fields, layout: FieldColumns
) -> str | None:
    """Say which of the fields that rules name no document has, of those that come first.

    It only tells: it may be misspelt, but a field that is rare or new is no fault.
    """
    parts = [
        data
        async for data in collection.find_raw_batches(
            {}, projection, limit=DOCUMENTS, max_time_ms=MAX_TIME_MS
        )
    ]
    data = b"".join(bytes(part) for part in parts)
    starts = np.array(starts_of(data), np.int64)
    if not len(starts):
        return None
    rows = read_columns(layout, data, starts)
    missing = [
        name
        for column in layout.schema.columns
        if column.name != ID and not isinstance(column.kind, Members | Scalar)
        for name in _missing(column.name, rows, fields)
    ]
    if not missing:
        return None
    known = _top_level(data, starts)
    named = ", ".join(_with_hint(name, known) for name in missing[:NAMED_MAX])
    more = f" and {len(missing) - NAMED_MAX} more" if len(missing) > NAMED_MAX else ""
    return (
        f"None of the first {len(starts):,} documents has {named}{more}; where a document hasn't got a field,"
        " its attribute is left out."
    )


def _missing(column: str, rows: pa.RecordBatch, fields: Fields) -> list[str]:
    values = rows.column(column)
    if column not in fields.lists:
        return [column] if values.null_count == len(values) else []
    found = fields.lists[column]
    name = ".".join(found.path)
    lists = pl.Series(values).struct.field("list")
    filled = lists.filter(lists.list.len() > 0)
    if filled.is_empty():
        return [name] if lists.null_count() == len(lists) else []
    elements = filled.explode().struct.unnest()  # by place: names may be patterns to Polars
    return [
        f"{name}.{field}"
        for field, values in zip(found.fields, elements, strict=True)
        if values.null_count() == len(elements)
    ]


def _with_hint(name: str, known: frozenset[str]) -> str:
    close = difflib.get_close_matches(name.partition(".")[0], known, n=1)
    return f"{name} (there is {close[0]})" if close and close[0] != name.partition(".")[0] else name


def _top_level(data: bytes, starts: Any) -> frozenset[str]:
    """Return the names of the fields of some documents."""
    names: set[bytes] = set()
    for start in starts.tolist():
        names.update(name for _, name, _, _ in elements(data, start))
    return frozenset(name.decode(errors="replace") for name in names)
