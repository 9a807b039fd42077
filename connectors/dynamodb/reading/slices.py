"""Where items and their attributes lie in a JSON text. Pure.

Invariant: each byte of an item is in the slice of one attribute, or is one of the item's two braces or a
comma between attributes; a text that isn't made like that isn't cut, but parsed and written again.
"""

import re
from collections.abc import Sequence
from itertools import chain

import numpy as np
import orjson

from connectors.dynamodb.encoding.comparison import Item
from engine.documents import walking
from engine.documents.walking import Places
from engine.frozen import dataclass

ARRAY_DEPTH = 2
"""How many brackets an item of a JSON array lies in, its own included."""
LETTERS = b"MS"
"""How the types end whose values may be spelled in several ways: maps, of braces, and sets, of brackets."""
_LOOSE = re.compile(rb'"M":\{|S":\[')
"""The same in an attribute's text. Quotes within strings are escaped, so nothing else looks like this."""


@dataclass(frozen=True, slots=True)
class Slices:
    """Items of a text as places in it.

    Shape: item i is `text[begins[i]:ends[i]]`; its attributes are the slices from `first[i]` on, and slice j,
    `"name":{"type":value}`, is `text[starts[j]:stops[j]]`. `loose` are the slices of values that may be
    spelled in several ways: maps and sets, whose order is free, and strings with signs escaped by choice.
    """

    text: bytes | memoryview
    begins: Places
    ends: Places
    first: Places
    starts: Places
    stops: Places
    loose: Places

    def __len__(self) -> int:
        return len(self.begins)

    def item(self, index: int) -> bytes:
        """Return an item's text."""
        return bytes(self.text[self.begins[index] : self.ends[index]])

    def attribute(self, index: int) -> bytes:
        """Return a slice's text."""
        return bytes(self.text[self.starts[index] : self.stops[index]])


def cut(text: bytes | memoryview, depth: int) -> Slices | None:
    """Find the items of a text, which lie within so many brackets, their own included.

    Returns None where it has to be parsed: it isn't compact JSON of items, or nothing is walked in C here.
    """
    found = walking.members(text, depth, LETTERS)
    return None if found is None else Slices(text, *found)


def array(items: Sequence[Item]) -> Slices:
    """Return parsed items as slices of a text. Each has attributes."""
    found = cut(orjson.dumps(items), ARRAY_DEPTH)
    return one_by_one(items) if found is None else found


def one_by_one(items: Sequence[Item]) -> Slices:
    """Do the same in Python."""
    texts = [[orjson.dumps({name: each})[1:-1] for name, each in item.items()] for item in items]
    counts = np.array([len(own) for own in texts], np.int64)
    lengths = np.array([len(each) for each in chain(*texts)], np.int64)
    # A sign stands before each attribute, and one more behind each item.
    stops = np.cumsum(lengths + 1) + np.repeat(np.arange(len(counts)), counts)
    starts, last = stops - lengths, np.cumsum(counts) - 1
    first = last + 1 - counts
    loose = np.flatnonzero([_LOOSE.search(each) is not None for each in chain(*texts)])
    text = b"".join([b"{%b}" % b",".join(own) for own in texts])
    return Slices(text, starts[first] - 1, stops[last] + 1, first, starts, stops, loose)
