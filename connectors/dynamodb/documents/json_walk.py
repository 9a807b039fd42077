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
import pyarrow as pa

from connectors.dynamodb.documents.notation import CONTAINER_SIZE, ELEMENT_SIZE, LEVELS_MAX, NOTATION
from connectors.dynamodb.documents.numbers import number
from engine.contracts.documents import AS_TEXT
from engine.documents import walking
from engine.documents.exact import NumberText, UnsupportedError, parsed_exactly, utf8_size
from engine.kinds import Cell, documents_array

_TOO_DEEP = f"nesting_too_deep: more than {LEVELS_MAX} levels{AS_TEXT}"
_NULL, _TRUE, _FALSE = {"NULL": True}, {"BOOL": True}, {"BOOL": False}


def documents_from_json(texts: pa.Array) -> pa.StructArray:
    """Turn JSON texts into documents.

    Shape: one row of kinds.DOCUMENT_TYPE per text; SQL NULL stays null, JSON null becomes `{"NULL":true}`.
    """
    return walking.documents(texts, NOTATION, LEVELS_MAX, documents_one_by_one)


def documents_one_by_one(texts: pa.Array) -> pa.StructArray:
    """Do the same in Python: what the walk in C is compared with, and what its odd documents go through."""
    return documents_array([None if text is None else _from_json(text) for text in texts.to_pylist()])


def _from_json(text: str) -> Cell:
    tree = _Tree()
    try:
        wire = orjson.dumps(tree.values((parsed_exactly(text),), 0)[0]).decode()
    except UnsupportedError as error:
        return _whole(text, str(error))
    except RecursionError:
        return _whole(text, _TOO_DEEP)
    return wire, tree.size, tree.depth, tree.flaw


def _whole(text: str, flaw: str) -> Cell:
    return orjson.dumps({"S": text}).decode(), len(text.encode()), 0, flaw


class _Tree:
    """One document being taken apart: what its values add up to."""

    __slots__ = ("depth", "flaw", "size")

    def __init__(self) -> None:
        self.size = 0
        self.depth = 0
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
            elif kind is NumberText:
                wire, digits, flaw = _number(value)
                size += digits
                self.flaw = self.flaw or flaw
                wires.append(wire)
            elif value is None:
                size += 1
                wires.append(_NULL)
            elif kind is dict:
                wires.append({"M": self._members(value, level)})
            elif kind is list:
                self.enter(level, len(value))
                wires.append({"L": self.values(value, level + 1)})
            else:
                assert kind is bool, f"JSON has no {kind.__name__}"
                size += 1
                wires.append(_TRUE if value else _FALSE)
        self.size += size
        return wires

    def _members(self, members: dict[str, Any], level: int) -> dict[str, Any]:
        self.enter(level, len(members))
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


@lru_cache(maxsize=1 << 14)
def _number(text: NumberText) -> tuple[dict[str, str], int, str | None]:
    """Return a number as an attribute value, its size and its flaw; with one it is an S."""
    shortest, size, flaw = number(text)
    return {"N" if flaw is None else "S": str(shortest)}, size, flaw
