"""A request's entry taken apart: its key, its item, the version that `newer` compares. Pure.

`wire` puts entries together, in bulk; here single ones are read again.

Invariant: what an entry of any mode would write or delete is here as the encoder had it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from connectors.dynamodb.encoding.comparison import Item
from engine.frozen import dataclass

BATCH_WRITE_BEGINS = (b'{"PutRequest":', b'{"DeleteRequest":')
BATCH_WRITE_DEPTH = 3
"""How many brackets an item of `{"PutRequest":{"Item":{…}}}` lies in, its own included."""
STATEMENT_NAME = re.compile(r"'((?:[^']|'')*)'\s*:\s*\?")
"""An attribute in the VALUE clause of an INSERT."""


@dataclass(frozen=True, slots=True)
class WriteEntry:
    """What one entry sends. `key` may hold more than the key; `item` None: a delete; `version` of newer."""

    key: Item
    item: Item | None = None
    version: Any = None


def entry_of(text: bytes | memoryview) -> WriteEntry:
    """Read an entry of any mode."""
    return entry(orjson.loads(text))


def entry(request: Mapping[str, Any]) -> WriteEntry:
    """Take an entry apart that is parsed, the encoder's own or one that came back."""
    match request:
        case {"PutRequest": {"Item": item}}:
            return WriteEntry(item, item)
        case {"DeleteRequest": {"Key": key}}:
            return WriteEntry(key)
        case {"Item": item, "ExpressionAttributeValues": {":v": version}}:
            return WriteEntry(item, item, version)
        case {"Key": key, "ExpressionAttributeValues": {":v": version}}:
            return WriteEntry(key, None, version)
        case {"Statement": str(statement), "Parameters": [*parameters]}:
            names = [name.replace("''", "'") for name in STATEMENT_NAME.findall(statement)]
            item = dict(zip(names, parameters, strict=True))
            return WriteEntry(item, item)
        case _:
            raise ValueError("no entry of a request that writes")


def delete_texts(keys: Sequence[Item]) -> list[bytes]:
    """Return deletes for BatchWriteItem, as texts of an encoded batch."""
    return [orjson.dumps({"DeleteRequest": {"Key": key}}) + b"," for key in keys]
