"""What a run reads, held fast: a collection by its UUID, a view by its definition and what lies under it.

Invariant: whatever is read under a pin is of what the run began with, or a PermanentError is raised. Where
the server takes `collectionUUID`, each find carries it: a name may mean something else for a moment and come
back, and yet no document of another collection is read. Elsewhere the name is looked at before and after.
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

from bson import Binary, json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from connectors.mongodb.errors import MOVED, moved
from connectors.mongodb.session import MAX_TIME_MS, awaited
from engine.errors import PermanentError
from engine.frozen import dataclass

VIEWS_DEEP_MAX = 20
"""How far views of views are followed. Source: MongoDB Limits, maximum view depth."""
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
"""For documents that the driver can't decode."""
_UNDER = ("$lookup", "$graphLookup", "$unionWith")
"""The stages of a view's pipeline that read other collections."""


class MovedError(PermanentError):
    """A name means another collection or view than when the run began."""


@dataclass(frozen=True, slots=True)
class Pin:
    """What the name meant when the run began.

    Shape: `meaning` a collection's UUID in hex, or a hash of a view's definition and of what it reads; None:
    the server shows none. `carried`: each find names it.
    """

    meaning: str | None = None
    carried: bool = False

    def filter(self, where: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a filter that makes the driver's find carry the UUID beside the query.

        The drivers pass members beside `$query` on as the command's own fields; nothing else of theirs does.
        """
        if self.meaning is None or not self.carried:
            return where
        return {"$query": where, "collectionUUID": Binary(bytes.fromhex(self.meaning), 4)}

    async def check(self, db: Any, name: str) -> None:
        """Look whether the name still means the same, where finds don't tell. Raises: MovedError."""
        if self.meaning is None or self.carried:
            return
        now = await meaning(db, name)
        if now != self.meaning:
            raise MovedError(f"source: {moved(f'{db.name}.{name}')}")


ANY = Pin()
"""Whatever the name means."""


async def pinned(db: Any, name: str, info: Mapping[str, Any]) -> Pin:
    """Return the pin of what listCollections shows; a server's version isn't asked, it is tried."""
    uuid = uuid_of(info)
    if uuid is None or info.get("type", "collection") != "collection":
        return Pin(await meaning(db, name))
    try:
        probe = {"find": name, "limit": 1, "collectionUUID": Binary(uuid, 4), "maxTimeMS": MAX_TIME_MS}
        await db.command(probe, codec_options=_RAW)
    except OperationFailure as error:
        if error.code == MOVED:
            raise
        return Pin(uuid.hex())  # MongoDB before 6.0, and services that speak only part of its language
    return Pin(uuid.hex(), carried=True)


async def meaning(db: Any, name: str) -> str | None:
    """Return what a name means now: a collection's UUID, a hash for a view, None for nothing that shows."""
    found: dict[str, Any] = {}
    todo = [name]
    while todo and len(found) < VIEWS_DEEP_MAX:
        each = todo.pop()
        info = await listed(db, each)
        found[each] = info and _shown(info)
        if info is not None:
            todo += [under for under in _reads(info) if under not in found]
    first = found[name]
    if first is None or (isinstance(first, str) and len(found) == 1):
        return first
    text = json.dumps(found, sort_keys=True, default=json_util.default)
    return blake2b(text.encode(), digest_size=16).hexdigest()


async def listed(db: Any, name: str) -> Mapping[str, Any] | None:
    """Return what the server shows of a name, None when there is no such thing."""
    cursor = await awaited(db.list_collections(filter={"name": name}))
    found: list[Mapping[str, Any]] = [info async for info in cursor]
    return found[0] if found else None


def uuid_of(info: Mapping[str, Any]) -> bytes | None:
    """Return a collection's UUID, as either driver gives it."""
    uuid = info.get("info", {}).get("uuid")
    return None if uuid is None else bytes(getattr(uuid, "bytes", uuid))


def _shown(info: Mapping[str, Any]) -> Any:
    uuid = uuid_of(info)
    if uuid is not None:
        return uuid.hex()
    options = info.get("options", {})
    return [info.get("type"), options.get("viewOn"), options.get("pipeline"), options.get("collation")]


def _reads(info: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names under a view: what it is on, and what its pipeline joins."""
    options = info.get("options", {})
    if "viewOn" in options:
        yield options["viewOn"]
    if info.get("type") == "timeseries":
        yield f"system.buckets.{info['name']}"
    yield from _joined(options.get("pipeline", []))


def _joined(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            if name in _UNDER:
                source = member.get("from", member.get("coll")) if isinstance(member, Mapping) else member
                if isinstance(source, str):
                    yield source
            yield from _joined(member)
    elif isinstance(value, list):
        for member in value:
            yield from _joined(member)
