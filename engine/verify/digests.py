"""Items to two hashes each, of the key and of everything: many can be compared in little memory. Pure.

Invariant: items that are the same but for the order of attributes and of sets' members have equal hashes. Two
different items have equal ones once in 2**64; a number in another form counts as different here, and is
looked at value by value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from engine.verify.values import Item, canonical
from engine.wire.numbers import number

Hashes = npt.NDArray[np.uint64]

ABSENT, UNKNOWN = 0, 1
"""Contents that no item has: there is no item; there is no telling what it should be."""

_SEEDS = (11, 12, 13)
_MIXER = np.uint64(0x9E3779B97F4A7C15)
_SET_BEGINS, _MAP_BEGINS = b'S":[', b'"M":{'
"""Quotes within strings are escaped, so nothing else looks like these."""


@dataclass(frozen=True, slots=True)
class KeySchema:
    """The table's key attributes: names and types (S, N or B), partition first."""

    names: tuple[str, ...]
    types: tuple[str, ...]

    def of(self, item: Item) -> Item:
        """Return an item's key."""
        return {name: item[name] for name in self.names}

    def fits(self, item: Item) -> bool:
        """Whether an item has the whole key in the right types."""
        return all(
            name in item and letter in item[name] for name, letter in zip(self.names, self.types, strict=True)
        )


def key_hashes(keys: Sequence[Item], schema: KeySchema) -> Hashes:
    """Return the hashes of keys, or of the keys of items."""
    total: Hashes = np.zeros(len(keys), np.uint64)
    for name, letter, seed in zip(schema.names, schema.types, _SEEDS, strict=False):
        texts = [key[name][letter] for key in keys]
        if letter == "N":
            texts = [text if text.isdecimal() and text[0] != "0" else number(text).text for text in texts]
        total = total * _MIXER + pl.Series(texts, dtype=pl.String).hash(seed).to_numpy()
    return total


def content_hashes(items: Sequence[Item]) -> Hashes:
    """Return the hashes of whole items; none of them is ABSENT or UNKNOWN."""
    shapes: dict[tuple[str, ...], _Shape] = {}
    texts = pl.Series([_text(item, shapes) for item in items], dtype=pl.Binary)
    hashes: Hashes = texts.hash(_SEEDS[2]).to_numpy()
    return np.where(hashes <= UNKNOWN, hashes + np.uint64(UNKNOWN + 1), hashes)


class _Shape(NamedTuple):
    """Items of the same attributes: how to take the values in the names' order, and the names as text."""

    values: Callable[[Item], Any]
    names: bytes


def _text(item: Item, shapes: dict[tuple[str, ...], _Shape]) -> bytes:
    """Return the same text for the same item. Ordering the names once for all items of a shape saves time."""
    shape = shapes.get(tuple(item))
    if shape is None:
        names = sorted(item)
        shape = shapes[tuple(item)] = _Shape(itemgetter(*names), orjson.dumps(names))
    values = shape.values(item)
    text = orjson.dumps(values)
    if _MAP_BEGINS in text or _SET_BEGINS in text:
        if _SET_BEGINS in text:
            values = shape.values({name: canonical(value) for name, value in item.items()})
        text = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    return text + shape.names
