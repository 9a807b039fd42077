"""The job's `filter` and `projection` as the driver takes them, and the reading of a range.

Invariant: types that YAML hasn't got are written in Extended JSON and arrive as what they say.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import bson
from bson import MaxKey, json_util

from connectors.mongodb.layout import ID
from connectors.mongodb.pin import ANY, Pin
from connectors.mongodb.positions import UNREADABLE, position_value
from connectors.mongodb.section import MongoDBSection
from connectors.mongodb.session import CODEC, MAX_TIME_MS
from connectors.mongodb.watermark import changed_since
from engine.batch import Cursor
from engine.errors import JobError
from engine.frozen import dataclass

IDS_MAX, IDS_BYTES_MAX = 1_000, 4_000_000
"""What one `$in` holds: a command has 16 MB. Source: MongoDB manual, "MongoDB Limits", BSON documents."""
MAX_KEY_TEXT = '{"$maxKey":1}'
_OPTIONS = json_util.JSONOptions(tz_aware=False)


def query_of(section: MongoDBSection, since: str | None) -> dict[str, Any]:
    """Return the query for the documents to read.

    Raises: JobError when the filter holds Extended JSON that says nothing.
    """
    query: dict[str, Any] = _typed(section.filter, "source.filter")
    if since is None or section.watermark is None:
        return query
    changed = changed_since(section.watermark, since)
    return {"$and": [query, changed]} if query else dict(changed)


def projection_of(section: MongoDBSection) -> dict[str, Any] | None:
    """Return the projection, None for whole documents."""
    return _typed(section.projection, "source.projection") or None


@dataclass(frozen=True, slots=True)
class Query:
    """What is read of a collection.

    Shape: `where` a query, `projection` None for whole documents; `lasting`: cursors that rest are kept.
    """

    where: Mapping[str, Any]
    projection: Mapping[str, Any] | None
    batch_size: int
    pin: Pin = ANY
    lasting: bool = True

    def whole(self, collection: Any, session: Any) -> Any:
        """Return a cursor of raw batches in no order: a view is an aggregation, which takes no bounds."""
        return self._cursor(collection, session, self.where, lasting=False)

    def ranges(
        self, collection: Any, session: Any, start: Cursor | None, end: Cursor | None
    ) -> Iterator[Any]:
        """Yield cursors of raw batches that read from `start`, which is among it, to before `end`.

        Ordering: by `_id`. Only `min` and `max` cross BSON types; a comparison in the query would leave out
        all types but one. With `min` alone the server ends before MaxKey, so that is asked for by itself.
        """
        begins_last = start is not None and start.key[0] == MAX_KEY_TEXT
        if not begins_last:
            cursor = self._found(collection, session, self.where)
            if start is not None:
                cursor = cursor.min([(ID, position_value(start.key[0]))])
            if end is not None:
                cursor = cursor.max([(ID, position_value(end.key[0]))])
            yield cursor
        if start is not None and end is None:
            last: dict[str, Any] = {ID: MaxKey()}
            yield self._found(collection, session, {"$and": [self.where, last]} if self.where else last)

    def among(self, collection: Any, session: Any, ids: Sequence[Any]) -> Any:
        """Return a cursor of raw batches, in no order, of the documents that have these `_id`s."""
        wanted = {ID: {"$in": ids}}
        where = {"$and": [self.where, wanted]} if self.where else wanted
        return self._cursor(collection, session, where, lasting=self.lasting).hint([(ID, 1)])

    def some(self, collection: Any, session: Any) -> Any:
        """Return a cursor of raw batches by `_id`, of documents that any index may find."""
        cursor = self._cursor(collection, session, self.where, lasting=self.lasting)
        return cursor.sort([(ID, 1)]).allow_disk_use(True)

    def _found(self, collection: Any, session: Any, where: Mapping[str, Any]) -> Any:
        cursor = self._cursor(collection, session, where, lasting=self.lasting)
        return cursor.sort([(ID, 1)]).hint([(ID, 1)])

    def _cursor(self, collection: Any, session: Any, where: Mapping[str, Any], *, lasting: bool) -> Any:
        return collection.find_raw_batches(
            self.pin.filter(where),
            self.projection,
            session=session,
            batch_size=self.batch_size,
            no_cursor_timeout=lasting,
            max_time_ms=MAX_TIME_MS,
        )


def in_commands(groups: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    """Cut `_id`s into lists that one command can carry each; those of a group stay together."""
    some: list[Any] = []
    size = 0
    for group in groups:
        added = sum(len(bson.encode({"": value}, codec_options=CODEC)) for value in group)
        if some and (len(some) + len(group) > IDS_MAX or size + added > IDS_BYTES_MAX):
            yield some
            some, size = [], 0
        some += group
        size += added
    if some:
        yield some


def _typed(value: Any, place: str) -> Any:
    match value:
        case dict():
            inner = {name: _typed(member, place) for name, member in value.items()}
            try:
                return json_util.object_hook(inner, _OPTIONS)
            except UNREADABLE as error:
                raise JobError(f"{place}: {error}; write it as Extended JSON says") from error
        case list() | tuple():
            return [_typed(element, place) for element in value]
        case Decimal():
            return float(value)
        case _:
            return value
