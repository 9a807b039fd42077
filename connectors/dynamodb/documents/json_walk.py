"""The walk over JSON: a text as the fragment of one DynamoDB attribute value, exact to the last digit. Pure.

It stands here, in the target, because one pass turns tokens into DynamoDB's letters and counts them: any
form between would be walked a second time. Most documents are walked in C, by DynamoDB's notation
(engine/documents/walking.py); what stands here says what comes out.

Invariant: a fragment without a flaw says the same as the JSON text; what can't be said carries a flaw, and
then its fragment is for reading only: bad numbers stand in it as strings (what `numbers: string` writes), and
a document that can't be taken apart stands in it whole, as one string.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from connectors.dynamodb.documents.notation import CONTAINER_SIZE, ELEMENT_SIZE, LEVELS_MAX, NOTATION
from connectors.dynamodb.documents.numbers import number, plain_size
from engine.contracts.documents import AS_TEXT
from engine.documents import walking
from engine.documents.exact import NumberText, UnsupportedError, parsed_exactly, utf8_size
from engine.kinds import Cell, documents_array

# A number that a double may not carry: 17 or more digits and points, or an exponent. It may match inside a
# string, which only costs time. With fewer than 17 characters there are at most 15 digits beside the point,
# or 16 that are an integer.
_DELICATE = r"(?:^|[\[:, \t\r\n])-?(?:[0-9.]{17}|[0-9.]+[eE])"
_MEMBER = r'"[ \t\r\n]*:'
_TOO_DEEP = f"nesting_too_deep: more than {LEVELS_MAX} levels{AS_TEXT}"
_NULL, _TRUE, _FALSE = {"NULL": True}, {"BOOL": True}, {"BOOL": False}


def documents_from_json(texts: pa.Array) -> pa.StructArray:
    """Turn JSON texts into documents.

    Shape: one row of kinds.DOCUMENT_TYPE per text; SQL NULL stays null, JSON null becomes `{"NULL":true}`.
    """
    return walking.documents(texts, NOTATION, LEVELS_MAX, documents_one_by_one)


def documents_one_by_one(texts: pa.Array) -> pa.StructArray:
    """Do the same in Python: what the walk in C is compared with, and what its odd documents go through."""
    column = pl.Series(texts, dtype=pl.String)
    delicate = column.str.contains(_DELICATE).to_list()
    colons = column.str.count_matches(_MEMBER).to_list()
    return documents_array(list(map(_from_json, texts.to_pylist(), delicate, colons)))


def _from_json(text: str | None, delicate: bool | None, colons: int | None) -> Cell | None:
    """Turn one JSON text into a fragment: through doubles where they lose nothing, else digit by digit.

    Every member has a colon behind a quote. With as many of these as members kept, no name stood twice.
    """
    if text is None:
        return None
    if not delicate:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            pass  # not JSON, or more than orjson takes: the exact parser says which
        else:
            tree = _Tree()
            fragment = _taken_apart(text, value, tree)
            if tree.members == colons:
                return fragment
    try:
        value = parsed_exactly(text)
    except UnsupportedError as error:
        return _whole(text, str(error))
    except RecursionError:
        return _whole(text, _TOO_DEEP)
    return _taken_apart(text, value, _Tree())


def _taken_apart(text: str, value: Any, tree: "_Tree") -> Cell:
    try:
        wire = orjson.dumps(tree.values((value,), 0)[0]).decode()
    except UnsupportedError as error:
        return _whole(text, str(error))
    return wire, tree.size, tree.depth, tree.flaw


def _whole(text: str, flaw: str) -> Cell:
    return orjson.dumps({"S": text}).decode(), len(text.encode()), 0, flaw


class _Tree:
    """One document being taken apart: what its values add up to."""

    __slots__ = ("depth", "flaw", "members", "size")

    def __init__(self) -> None:
        self.size = 0
        self.depth = 0
        self.members = 0
        self.flaw: str | None = None

    def values(self, values: Iterable[Any], level: int) -> list[Any]:
        """Return JSON values as attribute values. The hot loop of documents."""
        wires: list[Any] = []
        size = 0
        for value in values:
            kind = type(value)
            if kind is str:
                size += len(value) if value.isascii() else utf8_size(value)
                wires.append({"S": value})
            elif kind is int:
                wire, digits = _integer(value)
                size += digits
                wires.append(wire)
            elif value is None:
                size += 1
                wires.append(_NULL)
            elif kind is dict:
                wires.append({"M": self._members(value, level)})
            elif kind is list:
                self.enter(level, len(value))
                wires.append({"L": self.values(value, level + 1)})
            elif kind is bool:
                size += 1
                wires.append(_TRUE if value else _FALSE)
            elif kind is float:
                wire, digits = _double(value)
                size += digits
                wires.append(wire)
            else:
                assert kind is NumberText, f"JSON has no {kind.__name__}"
                wires.append(self.number(str(value)))
        self.size += size
        return wires

    def _members(self, members: dict[str, Any], level: int) -> dict[str, Any]:
        self.enter(level, len(members))
        self.members += len(members)
        if "" in members:
            raise UnsupportedError(f"value_unsupported: {NOTATION.nameless}")
        names = "".join(members)
        self.size += len(names) if names.isascii() else utf8_size(names)
        return dict(zip(members, self.values(members.values(), level + 1), strict=True))

    def enter(self, level: int, elements: int) -> None:
        """Count a list or a map with so many elements."""
        if level >= LEVELS_MAX:
            raise UnsupportedError(_TOO_DEEP)
        if level >= self.depth:
            self.depth = level + (elements > 0)
        self.size += CONTAINER_SIZE + ELEMENT_SIZE * elements

    def number(self, text: str) -> Any:
        """Return a number's text as an attribute value; as S, with a flaw, where it can't be N."""
        shortest, size, flaw = number(text)
        self.size += size
        if flaw is None:
            return {"N": shortest}
        self.flaw = self.flaw or flaw
        return {"S": text}


@lru_cache(maxsize=1 << 16)
def _integer(value: int) -> tuple[dict[str, str], int]:
    """Return an integer of at most 64 bits as an attribute value, and its size."""
    text = str(value)
    return {"N": text}, plain_size(text)


@lru_cache(maxsize=1 << 16)
def _double(value: float) -> tuple[dict[str, str], int]:
    """Return a double of a short decimal as an attribute value, and its size."""
    text, size, flaw = number(repr(value))
    assert flaw is None, "what has no exponent and few digits is in range"
    return {"N": text}, size
