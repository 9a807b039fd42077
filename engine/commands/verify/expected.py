"""What the target should hold, from the source's side: encoded batches taken apart again. Pure.

Invariant: each item that a run would have written, deleted or kept as a dead letter is here once, with its
key.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import orjson

from engine.batch import EncodedBatch
from engine.commands.verify.digests import (
    ABSENT,
    UNDECIDED,
    UNKNOWN,
    Hashes,
    KeySchema,
    content_hashes,
    digests,
    key_hashes,
)
from engine.commands.verify.ranks import RANK_BYTES, Ranks, ranks_of
from engine.commands.verify.slices import cut
from engine.commands.verify.values import Item

CUT_AT_ONCE_BYTES = 2**20
"""Places take three times the memory of what they are places of."""
PARSED_AT_ONCE = 1_000
WRAPPED_DEPTH = 3
"""How many brackets an item of `{"PutRequest":{"Item":{…}}}` lies in, its own included."""
_WRAPPED = (b'{"PutRequest":', b'{"DeleteRequest":')


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
    """The items of one batch as hashes only, dead letters first, so that an item of the same key wins.

    Shape: `ranks` are those of the versions, None in other modes than newer.
    """

    keys: Hashes
    contents: Hashes
    ranks: Ranks | None
    dead: int


def digested(encoded: EncodedBatch, schema: KeySchema, *, keeps: bool) -> Digested:
    """Hash what an encoded batch would send, some items at a time: all at once would take too much memory."""
    dead = _dead_keys(encoded, schema)
    parts = [(key_hashes(dead, schema), np.full(len(dead), UNKNOWN, np.uint64))]
    for start, end in _portions(encoded):
        parts.append(_hashed(encoded, start, end, schema, keeps=keeps))
    keys, contents = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Digested(keys, contents, None, len(encoded.dead_letters))


def digested_and_ranked(encoded: EncodedBatch, schema: KeySchema) -> Digested:
    """Hash what a batch of mode newer would send, and rank it; what can't be ranked is looked at again."""
    dead = _dead_keys(encoded, schema)
    keys = [key_hashes(dead, schema)]
    contents = [np.full(len(dead), UNKNOWN, np.uint64)]
    ranks = [np.zeros(len(dead), f"S{RANK_BYTES}")]
    for first in range(0, len(encoded), PARSED_AT_ONCE):
        some = taken_apart(encoded, first, first + PARSED_AT_ONCE)
        ranked, whole = ranks_of(some.versions)
        keys.append(some.hashes(schema))
        contents.append(np.where(whole, some.contents(keeps=False), np.uint64(UNDECIDED)))
        ranks.append(ranked)
    dead_count = len(encoded.dead_letters)
    return Digested(np.concatenate(keys), np.concatenate(contents), np.concatenate(ranks), dead_count)


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


def _portions(encoded: EncodedBatch) -> Iterator[tuple[int, int]]:
    """Cut a batch into ranges of items of about CUT_AT_ONCE_BYTES."""
    start = 0
    while start < len(encoded):
        until = encoded.offsets[start] + CUT_AT_ONCE_BYTES
        end = max(start + 1, int(np.searchsorted(encoded.offsets, until, "right")) - 1)
        yield start, end
        start = end


def _hashed(
    encoded: EncodedBatch, start: int, end: int, schema: KeySchema, *, keeps: bool
) -> tuple[Hashes, Hashes]:
    """Hash some items as text; the requests of mode newer, which hold more than an item, are parsed."""
    text = encoded.text[int(encoded.offsets[start]) : int(encoded.offsets[end])]
    wrapped = cut(text, WRAPPED_DEPTH) if bytes(text[:20]).startswith(_WRAPPED) else None
    if wrapped is None or len(wrapped) != end - start:
        return _parsed_and_hashed(encoded, start, end, schema, keeps=keeps)
    found = digests(wrapped, schema)
    return found.keys, np.where(encoded.deletes[start:end], UNKNOWN if keeps else ABSENT, found.contents)


def _parsed_and_hashed(
    encoded: EncodedBatch, start: int, end: int, schema: KeySchema, *, keeps: bool
) -> tuple[Hashes, Hashes]:
    parts = []
    for first in range(start, end, PARSED_AT_ONCE):
        some = taken_apart(encoded, first, min(end, first + PARSED_AT_ONCE))
        parts.append((some.hashes(schema), some.contents(keeps=keeps)))
    keys, contents = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return keys, contents


def _dead_keys(encoded: EncodedBatch, schema: KeySchema) -> list[Item]:
    """Return the keys of dead letters, where they are known."""
    keys = []
    for letter in encoded.dead_letters:
        item = None if letter.item_json is None else orjson.loads(letter.item_json)
        if item is not None and schema.fits(item):
            keys.append(schema.of(item))
    return keys
