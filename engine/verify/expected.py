"""What the target should hold, from the source's side: encoded batches taken apart again. Pure.

Invariant: each item that a run would have written, deleted or kept as a dead letter is here once, with its
key.
"""

from dataclasses import dataclass

import numpy as np
import orjson

from engine.batch import EncodedBatch
from engine.contracts import RuleItems
from engine.verify.digests import ABSENT, UNKNOWN, Hashes, KeySchema, content_hashes, key_hashes
from engine.verify.values import Item


@dataclass(frozen=True, slots=True)
class Expected:
    """The items of one batch in the order of sending.

    Shape: `items` is None where there should be none (a delete). `versions` are what `newer` compares, empty
    in other modes. `dead` counts dead letters; `dead_keys` has those whose keys are known.
    """

    keys: list[Item]
    items: list[Item | None]
    versions: list[Item]
    dead: int
    dead_keys: list[Item]
    items_made: int

    def __len__(self) -> int:
        return len(self.keys)

    def hashes(self, schema: KeySchema) -> Hashes:
        """Return the keys' hashes."""
        return key_hashes(self.keys, schema)

    def contents(self, *, keeps: bool) -> Hashes:
        """Return what should be there, as hashes; with `keeps` a delete leaves what is there."""
        there = [item for item in self.items if item is not None]
        if len(there) == len(self.items):
            return content_hashes(there)
        contents = np.full(len(self.items), UNKNOWN if keeps else ABSENT, np.uint64)
        contents[[item is not None for item in self.items]] = content_hashes(there)
        return contents


def taken_apart(encoded: EncodedBatch, made: list[RuleItems], schema: KeySchema) -> Expected:
    """Read what an encoded batch would send, in mode put or newer."""
    start, end = int(encoded.offsets[0]), int(encoded.offsets[-1])
    entries = orjson.loads(b"".join((b"[", encoded.text[start : end - 1], b"]"))) if end > start else []
    keys: list[Item] = []
    items: list[Item | None] = []
    versions: list[Item] = []
    names = schema.names
    for entry in entries:
        if "PutRequest" in entry:
            item = entry["PutRequest"]["Item"]
        elif "DeleteRequest" in entry:
            item = None
            keys.append(entry["DeleteRequest"]["Key"])
        else:
            item = entry.get("Item")
            versions.append(entry["ExpressionAttributeValues"][":v"])
            if item is None:
                keys.append(entry["Key"])
        if item is not None:
            keys.append({name: item[name] for name in names})
        items.append(item)
    dead_keys = []
    for letter in encoded.dead_letters:
        item = None if letter.item_json is None else orjson.loads(letter.item_json)
        if item is not None and schema.fits(item):
            dead_keys.append(schema.of(item))
    return Expected(
        keys, items, versions, len(encoded.dead_letters), dead_keys, sum(len(each.frame) for each in made)
    )
