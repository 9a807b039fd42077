"""Items to two hashes each, of the key and of everything: many can be compared in little memory. Pure.

Invariant: items that are the same but for the order of attributes and of sets' members have equal hashes. Two
different items have equal ones once in 2**64; a number in another form counts as different here, and is
looked at value by value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
_SET_BEGINS = b'S":['


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
    texts = pl.Series([_text(item) for item in items], dtype=pl.Binary)
    hashes: Hashes = texts.hash(_SEEDS[2]).to_numpy()
    return np.where(hashes <= UNKNOWN, hashes + np.uint64(UNKNOWN + 1), hashes)


def _text(item: Item) -> bytes:
    text = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    if _SET_BEGINS in text:  # only a set's members follow such a name at once
        sorted_sets = {name: canonical(value) for name, value in item.items()}
        return orjson.dumps(sorted_sets, option=orjson.OPT_SORT_KEYS)
    return text
