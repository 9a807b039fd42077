"""Where items and their attributes lie in a JSON text, found for the whole text at once. Pure.

Invariant: each byte of an item is in the slice of one attribute, or is one of the item's two braces or a
comma between attributes; a text that isn't made like that isn't cut at all.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Places: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]

_QUOTE, _BACKSLASH, _COMMA, _COLON, _SLASH = ord('"'), ord("\\"), ord(","), ord(":"), ord("/")
_OPEN, _CLOSE = ord("{"), ord("}")
_BRACE_OF = 0x20
"""A brace and its bracket differ in this bit; no other sign becomes a brace by it."""


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

    Returns None where there is space between signs, or anything else that compact JSON of items hasn't got.
    """
    signs = np.frombuffer(text, np.uint8)
    wanted = signs == _QUOTE
    folded = signs | np.uint8(_BRACE_OF)
    wanted |= folded == _OPEN
    wanted |= folded == _CLOSE
    escapes = _escapes(signs)
    wanted[escapes + 1] = False
    at = np.flatnonzero(wanted)
    found = signs[at]
    brackets = np.flatnonzero(found != _QUOTE)
    quotes_before = brackets - np.arange(len(brackets))
    outside = brackets[quotes_before & 1 == 0]  # of strings
    is_whole = (len(at) - len(brackets)) % 2 == 0
    at, found = at[outside], found[outside]
    opened = (found | np.uint8(_BRACE_OF)) == _OPEN
    closed = ~opened
    level = np.cumsum(opened.view(np.int8) - closed.view(np.int8), dtype=np.int32)
    begins = at[opened & (level == depth)]
    ends = at[closed & (level == depth - 1)] + 1
    stops = at[closed & (level == depth)] + 1
    if len(begins) != len(ends) or not (is_whole and _balanced(level)):
        return None
    first = np.searchsorted(stops, begins)
    starts = np.empty_like(stops)
    starts[1:] = stops[:-1] + 1
    if not (len(stops) and len(begins)) or not _filled(first, len(stops)):
        return None if len(begins) or len(stops) else _nothing(text)
    between = np.ones(len(stops), np.bool_)
    between[first] = False
    starts[first] = begins + 1
    last = np.append(first[1:], len(stops)) - 1
    values = at[opened & (level == depth + 1)]
    if (ends != stops[last] + 1).any() or (signs[starts[between] - 1] != _COMMA).any():
        return None
    if (signs[starts] != _QUOTE).any() or (signs[values - 1] != _COLON).any():
        return None
    deep = at[opened & (level > depth + 1)]
    loose = np.concatenate((_reordered(signs, deep), _respelled(signs, escapes)))
    owners = np.unique(np.searchsorted(stops, loose, "right"))
    return Slices(text, begins, ends, first, starts, stops, owners[owners < len(stops)])


def _escapes(signs: Bytes) -> Places:
    """Return where the backslashes are that escape what follows; the second of two is escaped itself."""
    at = np.flatnonzero(signs[:-1] == _BACKSLASH)
    if not len(at):
        return at
    number = np.arange(len(at))
    begins = np.concatenate(([True], np.diff(at) != 1))
    run = np.maximum.accumulate(np.where(begins, number, 0))
    odd: Places = at[(number - run) % 2 == 0]
    return odd


def _reordered(signs: Bytes, deep: Places) -> Places:
    """Return those of the brackets inside values that begin a map or a set."""
    letter = signs[deep - 3]
    is_map = (signs[deep] == _OPEN) & (letter == ord("M"))
    is_set = (signs[deep] == _OPEN - _BRACE_OF) & (letter == ord("S"))
    found: Places = deep[is_map | is_set]
    return found


def _respelled(signs: Bytes, escapes: Places) -> Places:
    """Return the escapes for which there is another spelling: by number, and of the slash."""
    sign = signs[escapes + 1]
    found: Places = escapes[(sign == ord("u")) | (sign == _SLASH)]
    return found


def _balanced(level: npt.NDArray[np.int32]) -> bool:
    """Whether every bracket ends."""
    return not len(level) or (level[-1] == 0 and bool((level >= 0).all()))


def _filled(first: Places, count: int) -> bool:
    """Whether every item has an attribute, and every attribute an item."""
    return first[0] == 0 and bool((np.diff(np.append(first, count)) > 0).all())


def _nothing(text: bytes | memoryview) -> Slices:
    none = np.empty(0, np.int64)
    return Slices(text, none, none, none, none, none, none)
