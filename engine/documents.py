"""Documents: JSON text as the wire fragment of one DynamoDB attribute value, exact to the last digit.

Invariant: a fragment without a flaw says the same as the JSON text; what can't be said carries a flaw, and
then its fragment is for reading only: bad numbers stand in it as strings (what `numbers: string` writes), and
a document that can't be taken apart stands in it whole, as one string.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import orjson
import pyarrow as pa

from engine.kinds import DOCUMENT_TYPE, Decimal, Kind, Scalar
from engine.numbers import number, number_size

LEVELS_MAX = 64
"""Nesting at which a document isn't taken apart any more; well over what DynamoDB takes."""
CONTAINER_SIZE, ELEMENT_SIZE = 3, 1
"""What a list or a map adds to an item's size, and each of its elements.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

# A number that a double may not carry: 17 or more digits and points, or an exponent. It may match inside a
# string, which only costs time. With fewer than 17 characters there are at most 15 digits beside the point,
# or 16 that are an integer.
_DELICATE = re.compile(r"(?:^|[\[:,\s])-?(?:[0-9.]{17}|[0-9.]+[eE])")
_MEMBER = re.compile(r'"\s*:')
_NULL = {"NULL": True}
_TEXT_TYPES = {Scalar.BOOL: "BOOL", Scalar.BINARY: "B"}


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
    return _documents(texts, _from_json)


def documents_from_text_json(texts: pa.Array, kind: Kind) -> pa.StructArray:
    """Turn JSON whose leaves are canonical texts of a scalar kind, or null, into documents.

    Shape: lists may be nested to any depth: `[["1",null],["2","3"]]` of INT is a list of lists of N.
    """
    assert isinstance(kind, Scalar | Decimal), "the leaves of a text array are scalars"
    scalar = Scalar.NUMBER if isinstance(kind, Decimal) else kind

    def convert(text: str) -> _Fragment:
        return _from_tree(text, lambda tree: tree.leaf, orjson.loads(text), scalar)

    return _documents(texts, convert)


def _documents(texts: pa.Array, convert: Callable[[str], _Fragment]) -> pa.StructArray:
    fragments = [None if text is None else convert(text) for text in texts.to_pylist()]
    absent = _Fragment("", 0, 0, None)
    columns = zip(*(fragment or absent for fragment in fragments), strict=True) if fragments else [()] * 4
    arrays = [pa.array(values, type=f.type) for values, f in zip(columns, DOCUMENT_TYPE, strict=True)]
    mask = pa.array([fragment is None for fragment in fragments], type=pa.bool_())
    return pa.StructArray.from_arrays(arrays, fields=list(DOCUMENT_TYPE), mask=mask)


def _from_json(text: str) -> _Fragment:
    if _DELICATE.search(text) is None:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            pass  # not JSON, or more than orjson takes: the exact parser says which
        else:
            tree = _Tree()
            fragment = _from_tree(text, lambda _: tree.value, value, None, tree)
            # Every member has a colon behind a quote. As many of these as members kept: no name stood twice.
            if fragment.flaw is not None or len(_MEMBER.findall(text)) == tree.members:
                return fragment
    try:
        value = _parsed_exactly(text)
    except _UnsupportedError as error:
        return _whole(text, str(error))
    return _from_tree(text, lambda tree: tree.value, value, None)


def _from_tree(
    text: str,
    walk: "Callable[[_Tree], Callable[[Any, int], Any]]",
    value: Any,
    scalar: Scalar | None,
    tree: "_Tree | None" = None,
) -> _Fragment:
    tree = tree or _Tree(scalar)
    try:
        wire = orjson.dumps(walk(tree)(value, 0)).decode()
    except _UnsupportedError as error:
        return _whole(text, str(error))
    return _Fragment(wire, tree.size, tree.depth, tree.flaw)


def _whole(text: str, flaw: str) -> _Fragment:
    return _Fragment(orjson.dumps({"S": text}).decode(), len(text.encode()), 0, flaw)


class _Tree:
    """One document being taken apart: what its values add up to."""

    __slots__ = ("depth", "flaw", "members", "scalar", "size")

    def __init__(self, scalar: Scalar | None = None) -> None:
        self.scalar = scalar or Scalar.STRING
        self.size = 0
        self.depth = 0
        self.members = 0
        self.flaw: str | None = None

    def value(self, value: Any, level: int) -> Any:
        """Return a JSON value as an attribute value."""
        kind = type(value)
        if kind is str:
            self.size += len(value) if value.isascii() else _utf8_size(value)
            return {"S": value}
        if kind is int:
            text = str(value)
            self.size += number_size(len(text.strip("-0")), negative=value < 0) if value else 1
            return {"N": text}
        if kind is bool:
            self.size += 1
            return {"BOOL": value}
        if value is None:
            self.size += 1
            return _NULL
        if kind is dict:
            self._enter(level, len(value))
            self.members += len(value)
            if "" in value:
                raise _UnsupportedError("value_unsupported: an object has a member with the empty name")
            self.size += sum([len(name) if name.isascii() else _utf8_size(name) for name in value])
            return {"M": {name: self.value(member, level + 1) for name, member in value.items()}}
        if kind is list:
            self._enter(level, len(value))
            return {"L": [self.value(element, level + 1) for element in value]}
        assert kind is float or kind is _NumberText, f"JSON has no {kind.__name__}"
        return self._number(repr(value) if kind is float else str(value))

    def leaf(self, value: Any, level: int) -> Any:
        """Return a list of canonical texts, or one, as an attribute value."""
        if value is None:
            self.size += 1
            return _NULL
        if isinstance(value, list):
            self._enter(level, len(value))
            return {"L": [self.leaf(element, level + 1) for element in value]}
        assert isinstance(value, str), "a leaf is a text or null"
        match self.scalar:
            case Scalar.INT | Scalar.NUMBER | Scalar.FLOAT:
                return self._number(value)
            case Scalar.BOOL:
                self.size += 1
                return {"BOOL": value == "true"}
            case Scalar.BINARY:
                self.size += len(value) // 4 * 3 - value[-2:].count("=")
                return {"B": value}
            case _:
                self.size += _utf8_size(value)
                return {"S": value}

    def _enter(self, level: int, elements: int) -> None:
        if level >= LEVELS_MAX:
            raise _UnsupportedError(f"nesting_too_deep: more than {LEVELS_MAX} levels")
        if level >= self.depth:
            self.depth = level + (elements > 0)
        self.size += CONTAINER_SIZE + ELEMENT_SIZE * elements

    def _number(self, text: str) -> Any:
        shortest, size, flaw = number(text)
        self.size += size
        if flaw is None:
            return {"N": shortest}
        self.flaw = self.flaw or flaw
        return {"S": text}


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
