"""Items to two hashes each, of the key and of everything: many can be compared in little memory. Pure.

Invariant: items that are the same but for the order of attributes, of maps' members and of sets' members have
equal hashes. Two different items under one key have equal ones once in 2**64. A number in another form counts
as different here, and is looked at value by value.

An item's hash is the sum of its attributes' hashes: servers give attributes in any order, often another one
for each item, and a sum needs none. So the text itself is hashed, and only maps and sets are parsed.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from connectors.dynamodb.documents.numbers import number
from connectors.dynamodb.encoding.comparison import Item, canonical
from connectors.dynamodb.reading.slices import ARRAY_DEPTH, Slices, array, cut
from engine.contracts.readback import CONTENT_MIN, Digests, Hashes
from engine.hashes import folded

KeyTypes: TypeAlias = Sequence[tuple[str, str]]
"""The key's attributes, each with its type: S, N or B."""

_SEEDS = (11, 12, 13)
_SET_BEGINS = b'S":['
"""Quotes within strings are escaped, so nothing else looks like this."""
_PLAIN_DIGITS_MAX = 38
"""An integer of so many digits, beginning with none that is zero, is its own shortest text."""


def digests(items: Slices, key: KeyTypes) -> Digests:
    """Return the hashes of the items of a text. Raises: KeyError when one has no such key."""
    if not len(items):
        return Digests(np.empty(0, np.uint64), np.empty(0, np.uint64))
    texts = _texts(items)
    other = {int(at): _one_spelling(items.attribute(at)) for at in items.loose.tolist()}
    keys: list[Hashes] = []
    for (name, letter), seed in zip(key, _SEEDS, strict=False):
        at = np.flatnonzero(texts.bin.starts_with(orjson.dumps(name) + b":").to_numpy())
        if len(at) != len(items):  # the name is spelled otherwise
            return digests(array([_with_key(item, key) for item in parsed(items)]), key)
        found = texts.gather(at)
        if letter == "N" or not other.keys().isdisjoint(at.tolist()):
            spelled = (other.get(place, text) for place, text in zip(at.tolist(), found, strict=True))
            found = pl.Series([_plain(text) if letter == "N" else text for text in spelled], dtype=pl.Binary)
        keys.append(found.hash(seed).to_numpy())
    return Digests(folded(keys), _contents(items, texts, other))


def digests_of(items: Sequence[Item], key: KeyTypes) -> Digests:
    """Return the hashes of parsed items, or of keys alone. Raises: KeyError when one has no such key."""
    return digests(array(items), key)


def sliced(text: bytes, count: int) -> Slices:
    """Return the items of a JSON array, as a server wrote it. Raises: ValueError when it isn't one."""
    found = cut(text, ARRAY_DEPTH)
    return found if found is not None and len(found) == count else array(orjson.loads(text))


def parsed(items: Slices) -> list[dict[str, Any]]:
    """Return all items as values."""
    return [orjson.loads(items.item(at)) for at in range(len(items))]


def _texts(items: Slices) -> pl.Series:
    """Return the attributes' texts; what is between them is dropped again."""
    offsets = np.empty(2 * len(items.starts), np.int64)
    offsets[0::2], offsets[1::2] = items.starts, items.stops
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(items.text)]
    both = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)
    return pl.Series(both).gather_every(2)


def _contents(items: Slices, texts: pl.Series, other: dict[int, bytes]) -> Hashes:
    hashes: Hashes = texts.hash(_SEEDS[2]).to_numpy()
    if other:
        hashes = hashes.copy()
        hashes[list(other)] = pl.Series(list(other.values()), dtype=pl.Binary).hash(_SEEDS[2]).to_numpy()
    sums: Hashes = np.add.reduceat(hashes, items.first)
    return np.where(sums < CONTENT_MIN, sums + np.uint64(CONTENT_MIN), sums)


def _one_spelling(attribute: bytes) -> bytes:
    """Return the same text for the same value of an attribute, whatever the order of maps and sets in it."""
    value = orjson.loads(b"{" + attribute + b"}")
    if _SET_BEGINS in attribute:
        value = {name: canonical(each) for name, each in value.items()}
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)[1:-1]


def _plain(attribute: bytes) -> bytes:
    """Return a key's number in its shortest form."""
    head, _, tail = attribute.rpartition(b':"')
    digits = tail[:-2]
    if digits.isdigit() and digits[:1] != b"0" and len(digits) <= _PLAIN_DIGITS_MAX:
        return attribute
    return head + b':"' + number(digits.decode()).text.encode() + tail[-2:]


def _with_key(item: Item, key: KeyTypes) -> Item:
    return {**item, **{name: item[name] for name, _ in key}}
