"""What a comparison has to know of DynamoDB's items and of requests that hold them. Pure.

Invariant: what was encoded and what a server gives back are hashed the same way, however they are spelled.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson

from connectors.dynamodb.encoding import comparison
from connectors.dynamodb.encoding.entries import (
    BATCH_WRITE_BEGINS,
    BATCH_WRITE_DEPTH,
    delete_texts,
    entry,
)
from connectors.dynamodb.expiry import TimeToLive
from connectors.dynamodb.reading.digests import KeyTypes, digests, digests_of
from connectors.dynamodb.reading.slices import cut
from engine.batch import Batch, EncodedBatch
from engine.contracts.readback import Digests, Item, SentItems

PARSED_AT_ONCE = 1_000


class TableCodec:
    """contracts.ItemCodec for the items of one table."""

    def __init__(self, key: KeyTypes, ttl: TimeToLive | None = None) -> None:
        self._key = tuple(key)
        self._ttl = ttl

    def sent(self, encoded: EncodedBatch, chosen: Iterable[int]) -> SentItems:
        """Take some items of an encoded batch apart."""
        texts = b",".join(encoded.item(at) for at in chosen)
        entries = [entry(each) for each in orjson.loads(b"[" + texts + b"]")]
        return SentItems(
            [each.key for each in entries],
            [each.item for each in entries],
            [each.version for each in entries if each.version is not None],
        )

    def sent_digests(self, encoded: EncodedBatch) -> Digests:
        """Return the hashes of all items; requests that hold more than an item are parsed, some at a time."""
        text, count = encoded.text[int(encoded.offsets[0]) : int(encoded.offsets[-1])], len(encoded)
        wrapped = cut(text, BATCH_WRITE_DEPTH) if bytes(text[:20]).startswith(BATCH_WRITE_BEGINS) else None
        if wrapped is not None and len(wrapped) == count:
            return digests(wrapped, self._key)
        found = [
            self.digests(self.sent(encoded, range(first, min(count, first + PARSED_AT_ONCE))).keys)
            for first in range(0, max(1, count), PARSED_AT_ONCE)
        ]
        return Digests(
            np.concatenate([each.keys for each in found]), np.concatenate([each.contents for each in found])
        )

    def digests(self, items: Sequence[Item]) -> Digests:
        """Return the hashes of items, or of keys alone."""
        return digests_of(items, self._key)

    def has_key(self, item: Item) -> bool:
        """Whether an item has a whole key, of the right types."""
        return all(name in item and letter in item[name] for name, letter in self._key)

    def expired(self, item: Item) -> bool:
        """Whether DynamoDB may have deleted an item by its time to live."""
        return self._ttl is not None and self._ttl.expired(item)

    def key_of(self, item: Item) -> Item:
        """Return the key's attributes of an item."""
        return {name: item[name] for name, _ in self._key}

    def key_texts(self, item: Item) -> tuple[str, ...]:
        """Return the key's values; a binary one as base64, which is what a template makes of it."""
        return tuple(item[name][letter] for name, letter in self._key)

    differing = staticmethod(comparison.differing)
    parts = staticmethod(comparison.parts)
    version_key = staticmethod(comparison.version_key)

    def shown(self, value: Any) -> str:
        """Return a value for people: text and numbers bare, others behind their type."""
        ((kind, content),) = value.items()
        if kind in ("S", "N"):
            return str(content)
        if kind in ("SS", "NS", "BS"):
            content = sorted(content)
        return f"{kind} {content if kind == 'B' else json.dumps(content, ensure_ascii=False, sort_keys=True)}"

    def deletes(self, batch: Batch, keys: Sequence[Item]) -> EncodedBatch:
        """Return deletes of items that no row stands behind."""
        texts = delete_texts(keys)
        hashes = self.digests(keys).keys
        count = len(keys)
        return EncodedBatch(
            batch=batch,
            text=memoryview(b"".join(texts)),
            offsets=np.concatenate(([0], np.cumsum([len(text) for text in texts], dtype=np.int64))),
            units=np.ones(count, np.int32),
            key_hashes=hashes,
            partition_hashes=hashes,
            deletes=np.ones(count, np.bool_),
            rows=np.zeros(count, np.uint32),
            rules=np.zeros(count, np.uint16),
            emitted=count,
            dead_letters=(),
        )
