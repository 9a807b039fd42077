"""Documents of one shape found among many: where each field's value begins, for all of them at once. Pure.

Invariant: the documents of a group have the same names and types in the same order at every level that was
looked at; only lengths differ, and how many elements a list has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from connectors.mongodb.bson_values import (
    ARRAY,
    DOCUMENT,
    FIXED_SIZES,
    LENGTH_EXTRAS,
    is_reference,
    skipped,
)
from connectors.mongodb.layout import FieldColumns, Node

Places: TypeAlias = npt.NDArray[np.int64]
Octets: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.bool_]

GROUP_MIN = 128
"""Fewer documents of one shape are read one by one, which was measured to cost less."""
GROUPS_MAX = 24
"""Documents in none of so many shapes are read one by one."""
ELEMENTS_MAX = 200
NAME_MAX = 255
PADDING = NAME_MAX + 16
"""Octets behind the data, so that what is compared never lies outside."""
_EVERYTHING = Node()


@dataclass(frozen=True, slots=True)
class Leaf:
    """Values of one type: where each begins."""

    kind: int
    at: Places


@dataclass(frozen=True, slots=True)
class Map:
    """Documents: their members, in order; `at` where each begins."""

    at: Places
    members: tuple[tuple[bytes, "Shape"], ...]


@dataclass(frozen=True, slots=True)
class List:
    """Lists: how many elements each has, and all elements one after the other; None when all are empty."""

    counts: Places
    elements: "Shape | None"


Shape: TypeAlias = Leaf | Map | List


@dataclass(frozen=True, slots=True)
class Group:
    """Documents of one shape, by their numbers; those without a shape are read one by one."""

    rows: Places
    shape: Map | None


class _DivergedError(Exception):
    """Some documents are of another shape than the first; `alike` says which aren't."""

    def __init__(self, alike: Mask) -> None:
        super().__init__()
        self.alike = alike


class _ShapelessError(Exception):
    """The first document has something that no columns are made of."""


def groups(layout: FieldColumns, data: bytes, octets: Octets, starts: Places) -> Iterator[Group]:
    """Sort documents by their shape, as far as the layout looks into them.

    Shape: `octets` are those of `data` with PADDING behind them.
    """
    left = np.arange(len(starts), dtype=np.int64)
    alone: list[Places] = []
    for _ in range(GROUPS_MAX):
        if len(left) < GROUP_MIN:
            break
        rows, others = left, [left[:0]]
        shape: Map | None = None
        while shape is None and len(rows) >= GROUP_MIN:
            try:
                walk = _Walk(data, octets, None, len(rows))
                shape = walk.map(starts[rows], layout.tree, everything=bool(layout.rests))[0]
            except _DivergedError as error:
                # Where the first isn't like itself, in a list of several types, no shape will fit it.
                (others if error.alike[0] else alone).append(rows[~error.alike])
                rows = rows[error.alike]
            except _ShapelessError:
                break
        if shape is None:
            alone.append(rows)
        else:
            yield Group(rows, shape)
        left = np.sort(np.concatenate(others))
    if len(left) or alone:
        yield Group(np.sort(np.concatenate([left, *alone])), None)


class _Walk:
    """One attempt at a shape: the first row leads, and the others have to be like it."""

    __slots__ = ("_data", "_octets", "_owners", "_rows")

    def __init__(self, data: bytes, octets: Octets, owners: Places | None, rows: int) -> None:
        """Take what is walked. Shape: `owners` says for each element to which of the rows it belongs."""
        self._data = data
        self._octets = octets
        self._owners = owners
        self._rows = rows

    def map(self, at: Places, node: Node, *, everything: bool) -> tuple[Map, Places]:
        """Walk through documents; return their shape and where they end."""
        if everything and is_reference(self._data, int(at[0])):
            raise _ShapelessError
        begin = at
        members: list[tuple[bytes, Shape]] = []
        names: set[bytes] = set()
        at = at + 4
        while True:
            kind = self._data[at[0]]
            if not kind:
                self._require(self._octets[at] == 0)
                return Map(begin, tuple(members)), at + 1
            end = self._data.index(0, int(at[0]))
            head = self._data[at[0] : end + 1]
            name = head[1:-1]
            if len(name) > NAME_MAX or name in names or not name.isascii() or not name:
                raise _ShapelessError
            names.add(name)
            self._require(self._alike(at, head))
            at = at + len(head)
            child = node.children.get(name)
            if child is None and not everything:
                at = self._skip(kind, at)
                continue
            shape, at = self._value(kind, at, child or _EVERYTHING, everything=everything)
            members.append((name, shape))

    def _value(self, kind: int, at: Places, node: Node, *, everything: bool) -> tuple[Shape, Places]:
        whole = everything or node.column is not None
        if kind == DOCUMENT and (whole or node.children):
            return self.map(at, node, everything=whole)
        if kind == ARRAY and (whole or node.elements is not None):
            return self._list(at, node, whole=whole), self._skip(kind, at)
        return Leaf(kind, at), self._skip(kind, at)

    def _list(self, at: Places, node: Node, *, whole: bool) -> List:
        """Find the elements of lists round by round, then walk through all of them at once."""
        owners = np.arange(len(at), dtype=np.int64)
        at = at + 4
        counts = np.zeros(len(at), np.int64)
        found: list[tuple[Places, Places]] = []
        kind: int | None = None
        for number in range(ELEMENTS_MAX + 1):
            going = self._octets[at] != 0
            owners, at = owners[going], at[going]
            if not len(at):
                break
            if number == ELEMENTS_MAX:
                self._require_of(owners, np.zeros(len(owners), np.bool_), len(counts))
            kind = self._data[at[0]] if kind is None else kind
            head = bytes([kind]) + str(number).encode() + b"\0"
            self._require_of(owners, self._alike(at, head), len(counts))
            at = at + len(head)
            found.append((owners, at))
            counts[owners] += 1
            at = self._skip(kind, at)
        if kind is None:
            return List(counts, None)
        of = np.concatenate([owners for owners, _ in found])
        order = np.argsort(of, kind="stable")
        of, places = of[order], np.concatenate([places for _, places in found])[order]
        base = of if self._owners is None else self._owners[of]
        inner = _Walk(self._data, self._octets, base, self._rows)
        wanted = node.elements.tree if node.elements is not None else _EVERYTHING
        element = Node(column=0 if whole else None, children=wanted.children)
        shape, _ = inner._value(kind, places, element, everything=whole)
        return List(counts, shape)

    def _skip(self, kind: int, at: Places) -> Places:
        size = FIXED_SIZES.get(kind)
        if size is not None:
            return at + size
        extra = LENGTH_EXTRAS.get(kind)
        if extra is not None:
            return at + int32_at(self._octets, at) + extra
        return np.array([skipped(kind, self._data, place) for place in at.tolist()], np.int64)

    def _alike(self, at: Places, head: bytes) -> Mask:
        wanted = np.frombuffer(head, np.uint8)
        alike: Mask = np.all(self._octets[at[:, None] + np.arange(len(head))] == wanted, axis=1)
        return alike

    def _require(self, alike: Mask) -> None:
        """Go on only if all rows are alike; an element that isn't takes its whole document with it."""
        if alike.all():
            return
        if self._owners is None:
            raise _DivergedError(alike)
        base = np.ones(self._rows, np.bool_)
        base[self._owners[~alike]] = False
        raise _DivergedError(base)

    def _require_of(self, owners: Places, alike: Mask, rows: int) -> None:
        if not alike.all():
            of_row = np.ones(rows, np.bool_)
            of_row[owners[~alike]] = False
            self._require(of_row)


def int32_at(octets: Octets, at: Places) -> Places:
    """Return the 32-bit integers at some places."""
    found: Places = octets[at[:, None] + np.arange(4)].view("<i4").ravel().astype(np.int64)
    return found
