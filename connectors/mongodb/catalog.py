"""What the server says of the collection: how it can be read, and what is proved of its `_id`s.

Invariant: nothing is taken for granted that the server doesn't show; where it shows nothing, the slower, safe
way is taken and said.
"""

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pymongo.errors import OperationFailure

from connectors.mongodb.bson_values import (
    BINARY,
    DATE,
    DECIMAL128,
    DOUBLE,
    INT32,
    INT64,
    OBJECT_ID,
    STRING,
    UUID,
)
from connectors.mongodb.layout import FIELD, ID
from connectors.mongodb.pin import Pin, listed, pinned
from connectors.mongodb.positions import id_element
from connectors.mongodb.session import MAX_TIME_MS, awaited
from engine.errors import JobError
from engine.frozen import dataclass
from engine.kinds import Kind, Scalar

DOCUMENT_BYTES_GUESS = 1_000
_NUMBERS = frozenset({DOUBLE, INT32, INT64, DECIMAL128})
_UUID_BYTES = 16


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection as the server describes it.

    Shape: `keyed` says that it can be read from an `_id`; `unique` that no `_id` can be there twice; `why` is
    a sentence for the user where it can't; `capped` that new documents push old ones out;
    `forgets` that this or their age takes documents away;
    `collection` that it is no view; `whole` that its indexes are over all of it, which shards' aren't.
    Units: `document_bytes` on average, `size_bytes` of all documents, None
    when unknown.
    """

    identity: Mapping[str, str]
    pin: Pin
    keyed: bool
    unique: bool
    why: str | None
    documents: int
    document_bytes: int
    size_bytes: int | None = None
    capped: bool = False
    collection: bool = True
    whole: bool = False
    forgets: bool = False


async def look_up(client: Any, database: str, collection: str, place: str) -> CollectionInfo:
    """Describe a collection.

    Raises: JobError when there is none; what the driver raises.
    """
    db = client[database]
    hello = await client.admin.command("hello")
    info = await _info(db, collection)
    options = info.get("options", {})
    server = str(hello.get("setName") or ("sharded" if hello.get("msg") == "isdbgrid" else place))
    identity = {"type": "mongodb", "server": server, "database": database, "collection": collection}
    pin = await pinned(db, collection, info)
    plain = info.get("type", "collection") == "collection"
    ages = "expireAfterSeconds" in options
    if pin.meaning is not None:
        identity["uuid" if plain else "definition"] = pin.meaning
    if not plain:
        why = (
            f"{collection} is a {info['type']}, which has no index on _id: it is read in one segment, and an"
            " interrupted run starts it over."
        )
        view = info["type"] == "view"
        return CollectionInfo(
            identity, pin, False, False, why, 0, DOCUMENT_BYTES_GUESS, collection=not view, forgets=ages
        )
    documents = int(await db[collection].estimated_document_count(maxTimeMS=MAX_TIME_MS))
    size, each = await _sizes(db[collection])
    found = CollectionInfo(
        identity, pin, True, True, None, documents, each, size, bool(options.get("capped")),
        whole=hello.get("msg") != "isdbgrid", forgets=ages or bool(options.get("capped")),
    )  # fmt: skip
    if "clusteredIndex" not in options and not await _has_id_index(db[collection]):
        why = (
            f"{collection} has no index on _id, so it is read in one segment, and an interrupted run starts"
            " it over; create the index {_id: 1} to change that."
        )
        return replace(found, keyed=False, unique=False, why=why)
    if hello.get("msg") == "isdbgrid" and not await _unique_over_shards(client, f"{database}.{collection}"):
        why = (
            f"{collection} is sharded by another field than _id, so shards may have documents of equal _id:"
            " it is read in order, and after an interruption the last document is read once more."
        )
        return replace(found, unique=False, why=why)
    return found


async def proved_id(
    collection: Any, session: Any, pin: Pin, before: frozenset[int]
) -> tuple[Kind, frozenset[int]]:
    """Return the kind of all `_id`s and their BSON types, if the lowest and the highest prove it.

    Types follow one another in the order of `_id`s, so whatever lies between two of one type is of it too.
    `before`: the types that were proved when there were documents, where there are none now.
    """
    ends: list[bytes] = []
    for direction in (1, -1):
        cursor = collection.find_raw_batches(
            pin.filter({}),
            {ID: 1},
            session=session,
            sort=[(ID, direction)],
            hint=[(ID, 1)],
            limit=1,
            max_time_ms=MAX_TIME_MS,
        )
        async for data in cursor:
            element = id_element(data, 0) if data else None
            if element is not None:
                ends.append(element)
    kinds = {element[4] for element in ends}
    if not kinds and before:
        return Scalar.NUMBER if before == _NUMBERS else Scalar.STRING, before
    if kinds and kinds <= _NUMBERS:
        return Scalar.NUMBER, _NUMBERS
    if len(kinds) == 1:
        (kind,) = kinds
        if kind in (OBJECT_ID, STRING, DATE) or (kind == BINARY and all(map(_is_uuid, ends))):
            return Scalar.STRING, frozenset(kinds)
    return FIELD, frozenset()


def _is_uuid(element: bytes) -> bool:
    """Say whether an `_id` is a UUID: binaries are sorted by length, then by subtype."""
    return int.from_bytes(element[9:13], "little") == _UUID_BYTES and element[13] == UUID


async def _info(db: Any, collection: str) -> Mapping[str, Any]:
    found = await listed(db, collection)
    if found is not None:
        return found
    names = await db.list_collection_names()
    near = difflib.get_close_matches(collection, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(names)[:20]) or 'none'}"
    raise JobError(f"source.collection: the database {db.name} has no collection {collection!r}; {hint}")


async def _has_id_index(collection: Any) -> bool:
    cursor = await awaited(collection.list_indexes())
    return any([dict(index["key"]) == {ID: 1} async for index in cursor])


async def _sizes(collection: Any) -> tuple[int | None, int]:
    """Return what all documents take, None where the role may not see it, and what one does on average."""
    try:
        cursor = await awaited(
            collection.aggregate([{"$collStats": {"storageStats": {}}}], maxTimeMS=MAX_TIME_MS)
        )
        stats = [shard["storageStats"] async for shard in cursor]
    except OperationFailure:  # the role may not see it: a guess does
        return None, DOCUMENT_BYTES_GUESS
    each = max((shard.get("avgObjSize", 0) for shard in stats), default=0)
    size = sum(int(shard.get("size", 0)) for shard in stats)
    return size, max(1, int(each)) if each else DOCUMENT_BYTES_GUESS


async def _unique_over_shards(client: Any, namespace: str) -> bool:
    """Say whether a collection isn't sharded, or by `_id` itself."""
    try:
        found = await client.config.collections.find_one({"_id": namespace}, max_time_ms=MAX_TIME_MS)
    except OperationFailure:  # the role may not look: nothing is proved
        return False
    return found is None or bool(found.get("dropped")) or list(found["key"]) == [ID]
