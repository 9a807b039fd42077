"""Which fields' texts no two documents share, as far as unique indexes prove it.

A unique index takes 1 and "1" for two values, and an item's key holds the same text of both. So it proves
something only where all its values are texts, or all ObjectIds: types follow one another in an index, so
whatever lies between two of one such type is of it too. A document without the field makes no key.

Invariant: what is in doubt proves nothing. What is proved holds in the snapshot that the run reads.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bson import ObjectId
from pymongo.errors import OperationFailure

from connectors.mongodb.session import CODEC, awaited
from engine.frozen import dataclass
from engine.rules.fields import Fields

LOOK_MS = 2_000
"""A lookup of an index's end takes a millisecond; a server that needs longer than this proves nothing."""
ALIKE = (str, ObjectId)
"""Types with a place of their own in the order of values, of which two that differ print differently.
Source: MongoDB manual, "Comparison/Sort Order"."""


@dataclass(frozen=True, slots=True)
class UniqueField:
    """A unique index over one field. `collation` as the index has it: it must be asked for by its own."""

    field: str
    index: str
    direction: int
    collation: Mapping[str, Any]


async def unique_fields(collection: Any, fields: Fields) -> tuple[UniqueField, ...]:
    """Return the unique indexes over one field that rules name. Call before the snapshot is taken."""
    named = {name for name, path in fields.paths.items() if not any("." in step for step in path)}
    found = []
    async for index in await awaited(collection.list_indexes()):
        key = list(index["key"].items())
        whole = index.get("unique") and "partialFilterExpression" not in index
        if whole and len(key) == 1 and key[0][0] in named and key[0][1] in (1, -1):
            collation = index.get("collation", {"locale": "simple"})
            found.append(UniqueField(key[0][0], index["name"], int(key[0][1]), dict(collation)))
    return tuple(found)


async def distinct(
    collection: Any, session: Any, indexes: tuple[UniqueField, ...]
) -> Mapping[str, type | None]:
    """Return the fields whose texts no two documents share in a session's snapshot, with the type of all.

    None: no document has the field.
    """
    found = {each.field: await _one_type(collection, session, each) for each in indexes}
    return {name: kind for name, kind in found.items() if kind is not False}


async def _one_type(collection: Any, session: Any, index: UniqueField) -> type | Literal[False] | None:
    """Return the one type, whose texts differ, of the first and the last value of an index; False: none."""
    types: set[type | None] = set()
    for direction in (1, -1):
        try:
            found = await collection.with_options(codec_options=CODEC).find_one(
                {index.field: {"$ne": None}},
                {"_id": 0, index.field: 1},
                session=session,
                sort=[(index.field, direction)],
                hint=index.index,
                collation=index.collation,
                max_time_ms=LOOK_MS,
            )
        except OperationFailure:  # an index that is hidden, or still being built, or not in the snapshot
            return False
        types.add(None if found is None else type(value_at(found, index.field.split("."))))
    return types.pop() if len(types) == 1 and types <= {None, *ALIKE} else False


def value_at(document: Any, path: Sequence[str]) -> Any:
    """Return what a document has at a path; None where there is nothing."""
    for step in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(step)
    return document
