"""What the target should hold, from the source's side: encoded batches taken apart again. Pure.

Invariant: each item that a run would have written, deleted or kept as a dead letter is here once, with its
key.
"""

from dataclasses import dataclass

import numpy as np
import orjson

from engine.batch import EncodedBatch
from engine.verify.digests import ABSENT, UNKNOWN, Hashes, KeySchema, content_hashes, key_hashes
from engine.verify.values import Item

PARSED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Expected:
    """The items of one batch in the order of sending.

    Shape: `items` is None where there should be none (a delete). `keys` hold the key's attributes, maybe
    among others. `versions` are what `newer` compares, empty in other modes.
    """

    keys: list[Item]
    items: list[Item | None]
    versions: list[Item]

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


@dataclass(frozen=True, slots=True)
class Digested:
    """The items of one batch as hashes only, dead letters first, so that an item of the same key wins."""

    keys: Hashes
    contents: Hashes
    dead: int


def digested(encoded: EncodedBatch, schema: KeySchema, *, keeps: bool) -> Digested:
    """Hash what an encoded batch would send, some items at a time: all of them parsed would take 70 MB."""
    parts = []
    for start in range(0, len(encoded), PARSED_AT_ONCE):
        some = taken_apart(encoded, start, start + PARSED_AT_ONCE)
        parts.append((some.hashes(schema), some.contents(keeps=keeps)))
    dead = _dead_keys(encoded, schema)
    parts.insert(0, (key_hashes(dead, schema), np.full(len(dead), UNKNOWN, np.uint64)))
    keys, contents = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Digested(keys, contents, len(encoded.dead_letters))


def taken_apart(encoded: EncodedBatch, first: int = 0, behind: int | None = None) -> Expected:
    """Read what an encoded batch would send, or some items of it, in mode put or newer."""
    offsets = encoded.offsets[first : None if behind is None else behind + 1]
    start, end = int(offsets[0]), int(offsets[-1])
    entries = orjson.loads(b"".join((b"[", encoded.text[start : end - 1], b"]"))) if end > start else []
    keys: list[Item] = []
    items: list[Item | None] = []
    versions: list[Item] = []
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
            keys.append(item)
        items.append(item)
    return Expected(keys, items, versions)


def _dead_keys(encoded: EncodedBatch, schema: KeySchema) -> list[Item]:
    """Return the keys of dead letters, where they are known."""
    keys = []
    for letter in encoded.dead_letters:
        item = None if letter.item_json is None else orjson.loads(letter.item_json)
        if item is not None and schema.fits(item):
            keys.append(schema.of(item))
    return keys
