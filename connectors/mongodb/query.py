"""The job's `filter` and `projection` as the driver takes them, and one reading of a range.

Invariant: types that YAML hasn't got are written in Extended JSON and arrive as what they say.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bson import json_util

from connectors.mongodb.layout import ID
from connectors.mongodb.positions import position_value
from connectors.mongodb.watermark import changed_since
from engine.batch import Cursor
from engine.errors import JobError
from engine.job.source import MongoDBSource

_OPTIONS = json_util.JSONOptions(tz_aware=False)


def query_of(section: MongoDBSource, since: str | None) -> dict[str, Any]:
    """Return the query for the documents to read.

    Raises: JobError when the filter holds Extended JSON that says nothing.
    """
    query: dict[str, Any] = _typed(section.filter, "source.filter")
    if since is None or section.watermark is None:
        return query
    changed = changed_since(section.watermark, since)
    return {"$and": [query, changed]} if query else dict(changed)


def projection_of(section: MongoDBSource) -> dict[str, Any] | None:
    """Return the projection, None for whole documents."""
    return _typed(section.projection, "source.projection") or None


def reading(
    collection: Any,
    query: Mapping[str, Any],
    projection: Mapping[str, Any] | None,
    *,
    session: Any,
    batch_size: int,
    bounds: tuple[Cursor | None, Cursor | None] | None,
) -> Any:
    """Return a cursor of raw batches: in order of `_id` between bounds, the lower one included, or as it is.

    Only `min` and `max` cross BSON types; a comparison in the query would leave out all types but one.
    """
    cursor = collection.find_raw_batches(
        query, projection, session=session, batch_size=batch_size, no_cursor_timeout=session is not None
    )
    if bounds is None:
        return cursor
    cursor = cursor.sort([(ID, 1)]).hint([(ID, 1)])
    start, end = bounds
    if start is not None:
        cursor = cursor.min([(ID, position_value(start.key[0]))])
    if end is not None:
        cursor = cursor.max([(ID, position_value(end.key[0]))])
    return cursor


def _typed(value: Any, place: str) -> Any:
    match value:
        case dict():
            inner = {name: _typed(member, place) for name, member in value.items()}
            try:
                return json_util.object_hook(inner, _OPTIONS)
            except (ValueError, TypeError) as error:
                raise JobError(f"{place}: {error}; write it as Extended JSON says") from error
        case list() | tuple():
            return [_typed(element, place) for element in value]
        case Decimal():
            return float(value)
        case _:
            return value
