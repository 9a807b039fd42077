"""What `init` writes for a MongoDB collection, and what it sees of it: fields and their types, from a sample.

Invariant: reads a bounded sample; nothing of the URL is in the result.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from pymongo.errors import ConfigurationError, OperationFailure
from pymongo.uri_parser import parse_uri

from connectors.mongodb import lookalikes
from connectors.mongodb.errors import speaking
from connectors.mongodb.session import CODEC, MAX_TIME_MS, awaited, closed, connect, where
from engine.contracts.starter import FieldSeen, Starter
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.yaml_text import comment, quoted

SAMPLE = 1_000
DEPTH_MAX = 3
FIELDS_MAX = 60
"""Fields that are listed: of documents with thousands of names, the commonest."""
WATERMARK_NAMES = ("updatedat", "updated", "lastmodified", "modifiedat", "modified", "mtime", "lastupdated")

_NAMES: Mapping[type, str] = {
    ObjectId: "objectId",
    str: "string",
    bool: "bool",
    int: "int",
    Int64: "long",
    float: "double",
    Decimal128: "decimal",
    DatetimeMS: "date",
    dict: "object",
    list: "array",
    bytes: "binData",
    Binary: "binData",
    type(None): "null",
    Regex: "regex",
    Timestamp: "timestamp",
    DBRef: "dbRef",
    Code: "javascript",
    MinKey: "minKey",
    MaxKey: "maxKey",
}


@dataclass(frozen=True, slots=True)
class PathSeen:
    """A field: the share of documents that have it, and of its values the share of each type."""

    path: str
    share: float
    types: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class CollectionSeen:
    """A collection. Units: `documents` as the server estimates them; `sampled` of them were looked at."""

    database: str
    collection: str
    documents: int
    sampled: int
    fields: tuple[PathSeen, ...]
    watermark: str | None
    watermark_indexed: bool


async def look_at(url: str, database: str | None, collection: str) -> CollectionSeen:
    """Look at a collection."""
    place = where(url)
    client = connect(url, "pymongo")
    try:
        name = database or _default_database(url)
        async with speaking("--collection", place):
            await lookalikes.check(client, place)
            if collection not in await client[name].list_collection_names():
                raise JobError(
                    f"--collection: database {name} has no collection {collection}; correct the name"
                )
            found = client[name].get_collection(collection, codec_options=CODEC)
            documents = await _documents(found)
            sampled = [
                document
                async for document in await awaited(
                    found.aggregate([{"$sample": {"size": SAMPLE}}], maxTimeMS=MAX_TIME_MS)
                )
            ]
            indexed = await _indexed(found)
    finally:
        await closed(client)
    fields = fields_of(sampled)
    dates = [field.path for field in fields if any(kind == "date" for kind, _ in field.types)]
    named = [path for path in dates if path.replace("_", "").lower() in WATERMARK_NAMES]
    watermark = next((path for path in named if path in indexed), named[0] if named else None)
    return CollectionSeen(name, collection, documents, len(sampled), fields, watermark, watermark in indexed)


def fields_of(documents: list[dict[str, Any]]) -> tuple[PathSeen, ...]:
    """Count fields and their types over documents, the commonest first, those of one parent together."""
    counts: dict[str, Counter[str]] = {}
    for document in documents:
        _count(document, "", 1, counts)
    fields = [
        PathSeen(
            path,
            types.total() / len(documents),
            tuple((kind, count / types.total()) for kind, count in types.most_common()),
        )
        for path, types in counts.items()
    ]
    common = sorted(fields, key=lambda field: -field.share)[:FIELDS_MAX]
    return tuple(field for field in fields if field in common)


def _count(document: Mapping[str, Any], before: str, depth: int, counts: dict[str, Counter[str]]) -> None:
    for name, value in document.items():
        path = f"{before}{name}"
        counts.setdefault(path, Counter())[_NAMES.get(type(value), type(value).__name__)] += 1
        if isinstance(value, dict) and depth < DEPTH_MAX:
            _count(value, f"{path}.", depth + 1, counts)


def _default_database(url: str) -> str:
    try:
        name = parse_uri(url, warn=False)["database"]
    except (ConfigurationError, ValueError):
        name = None  # a mongodb+srv URL whose records can't be looked up; connecting will say so
    if not name:
        raise JobError("--database: the URL names no database, so say which one to look into")
    return str(name)


async def _documents(collection: Any) -> int:
    try:
        return int(await collection.estimated_document_count(maxTimeMS=MAX_TIME_MS))
    except OperationFailure:
        return 0  # a view isn't counted without reading it


async def _indexed(collection: Any) -> frozenset[str]:
    """Return the fields that an index begins with."""
    try:
        indexes = await collection.index_information()
    except OperationFailure:
        return frozenset()
    return frozenset(str(index["key"][0][0]) for index in indexes.values())


ALWAYS = 0.9995
"""A share that is written as all of them."""


async def look(url: str, options: Mapping[str, str | None]) -> Starter:
    """Look at a collection; see contracts.starter.SourceStarter."""
    collection = options["collection"]
    if collection is None or options["table"] is not None:
        raise JobError("--collection: say which collection of this MongoDB server to look at")
    return starter_of(await look_at(url, options["database"], collection))


def starter_of(seen: CollectionSeen) -> Starter:
    """Say what a job for a collection looks like. Pure."""
    name = comment(f"{seen.database}.{seen.collection}")
    return Starter(
        name=seen.collection,
        about=[
            f"A starter job for {name}, about {seen.documents:,} documents.",
            "Check what it would do, then do it:",
        ],
        url="mongodb://USER:PASSWORD@HOST:PORT/?replicaSet=NAME&tls=true",
        fields=[FieldSeen(field.path, None, _types(field)) for field in seen.fields],
        fields_are=f"Its fields in {seen.sampled:,} documents drawn at random, and their types:",
        section=list(_section(seen)),
        key=["_id"],
        rule=[
            "include: all                     # every field under its own name, with its own type",
            "# exclude: [_class]",
        ],
        more=_lists(seen),
    )


def _section(seen: CollectionSeen) -> Iterator[str]:
    yield f"database: {quoted(seen.database)}"
    yield f"collection: {quoted(seen.collection)}"
    yield "# filter: {status: {$ne: draft}}    # a MongoDB query: only these documents are read"
    if seen.watermark is not None:
        index = "" if seen.watermark_indexed else "; give it an index first"
        yield f"# Catch-up runs read what has changed; every change must move this field{index}."
        yield f"# watermark: {quoted(seen.watermark)}"


def _lists(seen: CollectionSeen) -> list[str]:
    for field in seen.fields:
        if "." not in field.path and field.types[0][0] == "array":
            return [
                f"# A list can become items of its own: a rule with `for_each: {comment(field.path)}`,",
                "# {each.NAME} for an element's field and {index} for its place.",
            ]
    return []


def _types(field: PathSeen) -> str:
    types = ", ".join(
        kind if share >= ALWAYS else f"{kind} {100 * share:.1f} %" for kind, share in field.types
    )
    return types if field.share >= ALWAYS else f"{types}  (in {100 * field.share:.1f} % of the documents)"
