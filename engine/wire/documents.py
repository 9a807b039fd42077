"""Documents: JSON text as the wire fragment of one DynamoDB attribute value, exact to the last digit.

Invariant: a fragment without a flaw says the same as the JSON text; what can't be said carries a flaw, and
then its fragment is for reading only: bad numbers stand in it as strings (what `numbers: string` writes), and
a document that can't be taken apart stands in it whole, as one string.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import orjson
import polars as pl
import pyarrow as pa

from engine.kinds import DOCUMENT_TYPE, Decimal, Kind, Scalar
from engine.wire.numbers import number, plain_size

LEVELS_MAX = 64
"""Nesting at which a document isn't taken apart any more; well over what DynamoDB takes."""
CONTAINER_SIZE, ELEMENT_SIZE = 3, 1
"""What a list or a map adds to an item's size, and each of its elements.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

# A number that a double may not carry: 17 or more digits and points, or an exponent. It may match inside a
# string, which only costs time. With fewer than 17 characters there are at most 15 digits beside the point,
# or 16 that are an integer.
_DELICATE = r"(?:^|[\[:, \t\r\n])-?(?:[0-9.]{17}|[0-9.]+[eE])"
_MEMBER = r'"[ \t\r\n]*:'
_NULL, _TRUE, _FALSE = {"NULL": True}, {"BOOL": True}, {"BOOL": False}


class _Fragment(NamedTuple):
    wire: str
    size: int
    depth: int
    flaw: str | None


class _NumberText(str):
    """A number as it stands in the JSON text."""

    __slots__ = ()


class _UnsupportedError(Exception):
    """The document can't be taken apart; the message is its flaw."""


def documents_from_json(texts: pa.Array) -> pa.StructArray:
    """Turn JSON texts into documents.

    Shape: one row of kinds.DOCUMENT_TYPE per text; SQL NULL stays null, JSON null becomes `{"NULL":true}`.
    """
    column = pl.Series(texts, dtype=pl.String)
    delicate = column.str.contains(_DELICATE).to_list()
    colons = column.str.count_matches(_MEMBER).to_list()
    return _documents(map(_from_json, texts.to_pylist(), delicate, colons))


def documents_from_text_json(texts: pa.Array, kind: Kind) -> pa.StructArray:
    """Turn JSON whose leaves are canonical texts of a scalar kind, or null, into documents.

    Shape: lists may be nested to any depth: `[["1",null],["2","3"]]` of INT is a list of lists of N.
    """
    assert isinstance(kind, Scalar | Decimal), "the leaves of a text array are scalars"
    scalar = Scalar.NUMBER if isinstance(kind, Decimal) else kind

    def convert(text: str | None) -> _Fragment | None:
        return None if text is None else _taken_apart(text, orjson.loads(text), _TextTree(scalar))

    return _documents(map(convert, texts.to_pylist()))


def _documents(found: Iterable[_Fragment | None]) -> pa.StructArray:
    fragments = list(found)
    absent = _Fragment("", 0, 0, None)
    columns = zip(*(fragment or absent for fragment in fragments), strict=True) if fragments else [()] * 4
    arrays = [pa.array(values, type=f.type) for values, f in zip(columns, DOCUMENT_TYPE, strict=True)]
    mask = pa.array([fragment is None for fragment in fragments], type=pa.bool_())
    return pa.StructArray.from_arrays(arrays, fields=list(DOCUMENT_TYPE), mask=mask)


def _from_json(text: str | None, delicate: bool | None, colons: int | None) -> _Fragment | None:
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
        value = _parsed_exactly(text)
    except _UnsupportedError as error:
        return _whole(text, str(error))
    return _taken_apart(text, value, _Tree())


def _taken_apart(text: str, value: Any, tree: "_Tree") -> _Fragment:
    try:
        wire = orjson.dumps(tree.values((value,), 0)[0]).decode()
    except _UnsupportedError as error:
        return _whole(text, str(error))
    return _Fragment(wire, tree.size, tree.depth, tree.flaw)


def _whole(text: str, flaw: str) -> _Fragment:
    return _Fragment(orjson.dumps({"S": text}).decode(), len(text.encode()), 0, flaw)


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
                size += len(value) if value.isascii() else _utf8_size(value)
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
                assert kind is _NumberText, f"JSON has no {kind.__name__}"
                wires.append(self.number(str(value)))
        self.size += size
        return wires

    def _members(self, members: dict[str, Any], level: int) -> dict[str, Any]:
        self.enter(level, len(members))
        self.members += len(members)
        if "" in members:
            raise _UnsupportedError("value_unsupported: an object has a member with the empty name")
        names = "".join(members)
        self.size += len(names) if names.isascii() else _utf8_size(names)
        return dict(zip(members, self.values(members.values(), level + 1), strict=True))

    def enter(self, level: int, elements: int) -> None:
        """Count a list or a map with so many elements."""
        if level >= LEVELS_MAX:
            raise _UnsupportedError(f"nesting_too_deep: more than {LEVELS_MAX} levels")
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


class _TextTree(_Tree):
    """The same for lists whose leaves are canonical texts of one kind."""

    __slots__ = ("_kind",)

    def __init__(self, kind: Scalar) -> None:
        super().__init__()
        self._kind = kind

    def values(self, values: Iterable[Any], level: int) -> list[Any]:
        """Return lists of canonical texts as attribute values."""
        return [self._value(value, level) for value in values]

    def _value(self, value: Any, level: int) -> Any:
        if value is None:
            self.size += 1
            return _NULL
        if isinstance(value, list):
            self.enter(level, len(value))
            return {"L": self.values(value, level + 1)}
        assert isinstance(value, str), "a leaf is a text or null"
        match self._kind:
            case Scalar.INT | Scalar.NUMBER | Scalar.FLOAT:
                return self.number(value)
            case Scalar.BOOL:
                self.size += 1
                return _TRUE if value == "true" else _FALSE
            case Scalar.BINARY:
                self.size += len(value) // 4 * 3 - value[-2:].count("=")
                return {"B": value}
            case _:
                self.size += _utf8_size(value)
                return {"S": value}


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


def _parsed_exactly(text: str) -> Any:
    try:
        return json.loads(
            text,
            parse_int=_NumberText,
            parse_float=_NumberText,
            parse_constant=_refuse_constant,
            object_pairs_hook=_members,
        )
    except ValueError as error:
        raise _UnsupportedError(f"value_unsupported: not JSON ({error})") from error
    except RecursionError as error:
        raise _UnsupportedError(f"nesting_too_deep: more than {LEVELS_MAX} levels") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for position, name in enumerate(names) if name in names[:position])
        raise _UnsupportedError(f"value_unsupported: the name {twice[:60]!r} stands twice in one object")
    return members


def _utf8_size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise _UnsupportedError(
            f"value_unsupported: half a surrogate pair, no character ({error.reason})"
        ) from error
