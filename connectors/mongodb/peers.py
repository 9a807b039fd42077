"""The query for documents that share values with others: what a run reads besides what it is about.

Invariant: two documents that print alike in all fields of a sharing are found together, whatever types their
values have (1 and "1" print alike); where that can't be asked for in one query, everything is read.
"""

import base64
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from typing import Any, TypeAlias
from uuid import UUID

import bson
import pyarrow as pa
from bson import Binary, DatetimeMS, ObjectId

from connectors.mongodb.errors import speaking
from connectors.mongodb.keys import INT64, date_of, ids_of, numbers_of
from connectors.mongodb.layout import ID
from connectors.mongodb.positions import UNREADABLE
from connectors.mongodb.query import projection_of, query_of
from connectors.mongodb.section import MongoDBSection
from connectors.mongodb.session import CODEC, awaited
from connectors.mongodb.watermark import changed_since
from engine.batch import Batch
from engine.contracts.documents import DocumentCodec
from engine.contracts.source import Sharing, SourceTicket
from engine.documents.reading import DocumentReader
from engine.frozen import dataclass
from engine.rules.fields import Fields

PEERS_BYTES_MAX = 4_000_000
"""What one query may ask for: a command has 16 MB.

Source: MongoDB manual, "MongoDB Limits", BSON documents.
"""
READ_WHOLE = (
    "The documents that share values with the changed ones can't be asked for in one query, so this run looks"
    " through the whole collection for them."
)
_BOOLS = {"true": True, "false": False}
_Paths: TypeAlias = Sequence[tuple[str, ...]]
"""For each way of being peers the paths of its fields."""
_Texts: TypeAlias = list[dict[str, set[str]]]
"""For each way of being peers, by path, the texts of the documents in question."""


@dataclass(frozen=True, slots=True)
class PeerQuery:
    """What asks a collection for documents and their peers. `types` as in MongoDBView."""

    section: MongoDBSection
    fields: Fields
    ticket: SourceTicket
    types: AbstractSet[int]
    codec: DocumentCodec
    note: Callable[[str], None]

    async def where(self, sharing: Sharing, rows: AsyncGenerator[Batch, None]) -> Mapping[str, Any]:
        """Return the query; `rows` are the documents that the sharing is of."""
        async with aclosing(rows):
            stored = _shown_as_stored(projection_of(self.section))
            alike = await self._alike(sharing.by, rows) if stored else None
        if alike is None:
            self.note(READ_WHOLE)
            return query_of(self.section, None)
        return self._either(self._touched(sharing), alike)

    async def besides(
        self, ids: Sequence[Any], by: Sequence[tuple[str, ...]], rows: Sequence[pa.RecordBatch]
    ) -> Mapping[str, Any]:
        """Return the query for these `_id`s and all peers of rows, whose fields are as they are stored."""
        alike = await self._alike(by, _each(rows))
        if alike is None:
            self.note(READ_WHOLE)
            return query_of(self.section, None)
        return self._either({ID: {"$in": list(ids)}}, alike)

    def unnamed(self, by: Sequence[tuple[str, ...]]) -> Sequence[str]:
        """Return which columns of a sharing no query can name."""
        return [name for names in by for name in names if self.path(name) is None]

    def path(self, name: str) -> str | None:
        """Return a column's path as a query names it; None where none can."""
        return path_of(self.fields.paths.get(name, (ID,)))

    def _either(self, some: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        everything = query_of(self.section, None)
        either = {"$or": [some, *alike]}
        return {"$and": [everything, either]} if everything else either

    async def _alike(
        self, by: Sequence[tuple[str, ...]], rows: AsyncGenerator[Batch, None]
    ) -> list[dict[str, Any]] | None:
        """Return a query for each way of being peers; None where that isn't to be had."""
        async with aclosing(rows):
            if self.unnamed(by):
                return None
            paths = [tuple(path for name in names if (path := self.path(name)) is not None) for names in by]
            texts = await _texts(rows, by, self.codec, paths)
            return None if texts is None else _queries(texts)

    def _touched(self, sharing: Sharing) -> Mapping[str, Any]:
        if sharing.of is not None:
            return {ID: {"$in": [found for key in sharing.of for found in ids_of(key.key[0], self.types)]}}
        since, watermark = self.ticket.since, self.section.watermark
        assert since is not None, "only a catch-up run reads some documents of its own accord"
        assert watermark is not None, "it has one by that"
        return changed_since(watermark, since)


async def unindexed(collection: Any, place: str, peers: PeerQuery, sharing: Sharing) -> list[str]:
    """Say with which of a sharing's fields no index begins, so that a log's run looks through everything."""
    async with speaking("source.catch_up", place):
        begins = [next(iter(index["key"])) async for index in await awaited(collection.list_indexes())]
    return [
        f"No index of {collection.name} begins with {' or '.join(names)}, so it is looked through at every"
        " thousand changes, and with --follow whenever something changes, for the documents that share that."
        for names in sharing.by
        if not any(peers.path(name) in begins for name in names)
    ]


def values_alike(text: str) -> list[Any]:
    """Return values among which is each that prints as a text: the server finds equal ones of other types."""
    return [text, *_others(text)]


def path_of(path: Sequence[str]) -> str | None:
    """Return a path as a query names it; None where none can."""
    sound = all(name and "." not in name and not name.startswith("$") for name in path)
    return ".".join(path) if sound else None


async def _texts(
    rows: AsyncGenerator[Batch, None], by: Sequence[tuple[str, ...]], codec: DocumentCodec, paths: _Paths
) -> _Texts | None:
    """Return what rows hold, as rules print it; None where that is too much for a query."""
    found: _Texts = [{path: set() for path in some} for some in paths]
    reader = DocumentReader(codec)
    async with aclosing(rows) as batches:
        async for batch in batches:
            for names, of_paths in zip(by, found, strict=True):
                for name, texts in zip(names, of_paths.values(), strict=True):
                    texts.update(_column_texts(batch.rows.column(name), reader))
            if (
                sum(len(text) for each in found for texts in each.values() for text in texts)
                > PEERS_BYTES_MAX
            ):
                return None
    return found


async def _each(rows: Sequence[pa.RecordBatch]) -> AsyncGenerator[Batch, None]:
    for each in rows:
        yield Batch(0, 0, each, None)


def _column_texts(column: pa.Array, reader: DocumentReader) -> set[str]:
    """Return the texts of a column's scalars."""
    if pa.types.is_struct(column.type):
        texts = reader.scalar_texts([None if cell is None else cell["wire"] for cell in column.to_pylist()])
    else:
        texts = column.to_pylist()
    return {text for text in texts if text is not None}


def _queries(found: _Texts) -> list[dict[str, Any]] | None:
    """Return a query for each way of being peers; None where they are too long for one command."""
    size, queries = 0, []
    for of_paths in found:
        alike: dict[str, Any] = {}
        for path, texts in of_paths.items():
            values = [value for text in sorted(texts) for value in values_alike(text)]
            size += len(bson.encode({"": values}, codec_options=CODEC))
            alike[path] = {"$in": values}
        if size > PEERS_BYTES_MAX:
            return None
        queries.append(alike)
    return queries


def _shown_as_stored(projection: Mapping[str, Any] | None) -> bool:
    """Whether a projection only shows and hides, so that a query compares what is read."""
    return all(isinstance(shown, int) and shown in (0, 1) for shown in (projection or {}).values())


def _others(text: str) -> Iterator[Any]:
    makers: tuple[Callable[[str], Any], ...] = (
        _BOOLS.__getitem__,
        ObjectId,
        lambda found: Binary(UUID(found).bytes, 4),
        lambda found: Binary(base64.b64decode(found, validate=True), 0),
        _storable_date,
    )
    for make in makers:
        try:
            yield make(text)
        except UNREADABLE:
            continue
    try:
        yield from numbers_of(text)
    except UNREADABLE:
        return


def _storable_date(text: str) -> DatetimeMS:
    found = date_of(text)
    if int(found) not in INT64:
        raise ValueError("no date that a document can hold")
    return found
