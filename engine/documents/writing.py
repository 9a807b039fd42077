"""Plain values written as documents, one at a time: what is too rare for a walk of its own. Pure.

Invariant: a fragment says exactly what the value says, or has a flaw.
"""

from collections.abc import Callable
from json.encoder import encode_basestring as json_text  # in C where the interpreter has it
from typing import Any

import orjson
import pyarrow as pa

from engine.contracts.documents import Affix, DocumentCodec, Fragment, Notation
from engine.kinds import Cell, Decimal, Kind, Scalar, documents_array

_NUMBERS = frozenset({Scalar.INT, Scalar.NUMBER, Scalar.FLOAT})


def documents_from_text_json(texts: pa.Array, kind: Kind, codec: DocumentCodec) -> pa.StructArray:
    """Turn JSON whose leaves are canonical texts of a scalar kind, or null, into documents.

    Shape: lists may be nested to any depth: `[["1",null],["2","3"]]` of INT is a list of lists of numbers.
    """
    assert isinstance(kind, Scalar | Decimal), "the leaves of a text array are scalars"
    scalar = Scalar.NUMBER if isinstance(kind, Decimal) else kind

    def convert(text: str | None) -> Cell | None:
        if text is None:
            return None
        writer = _Writer(codec, lambda leaf: writer.scalar(leaf, scalar))
        wire, size, depth = writer.fragment(orjson.loads(text))
        return wire, size, depth, writer.flaw

    return documents_array([convert(text) for text in texts.to_pylist()])


def plain_fragment(value: Any, codec: DocumentCodec) -> Fragment:
    """Write plain JSON: dicts, lists, texts, booleans, None and integers of 64 bits."""

    def leaf(value: Any) -> str:
        if isinstance(value, bool):
            return writer.scalar("true" if value else "false", Scalar.BOOL)
        return writer.scalar(str(value), Scalar.INT if isinstance(value, int) else Scalar.STRING)

    writer = _Writer(codec, leaf)
    return writer.fragment(value)


def has_nameless(value: Any) -> bool:
    """Say whether plain JSON has a member with the empty name."""
    if isinstance(value, dict):
        return "" in value or any(map(has_nameless, value.values()))
    return isinstance(value, list) and any(map(has_nameless, value))


def binary_size(base64: str) -> int:
    """Return how many bytes base64 stands for."""
    return len(base64) // 4 * 3 - base64[-2:].count("=")


class _Writer:
    """One document being written: what its values add up to. `leaf` writes what is no list, map or null."""

    __slots__ = ("_codec", "_leaf", "_notation", "depth", "flaw", "size")

    def __init__(self, codec: DocumentCodec, leaf: Callable[[Any], str]) -> None:
        self._codec = codec
        self._notation: Notation = codec.notation
        self._leaf = leaf
        self.size = 0
        self.depth = 0
        self.flaw: str | None = None

    def fragment(self, value: Any) -> Fragment:
        """Write a value."""
        return self._value(value, 0), self.size, self.depth

    def scalar(self, text: str, kind: Scalar) -> str:
        """Write a canonical text; a number that can't be one as a string, with a flaw."""
        notation = self._notation
        if kind in _NUMBERS:
            written, size, flaw = self._codec.number(text)
            self.size += size
            if flaw is None:
                return _within(notation.number, written)
            self.flaw = self.flaw or flaw
            return _within(notation.string, json_text(text))
        if kind is Scalar.BOOL:
            self.size += notation.bool_size
            return _within(notation.bool, text)
        if kind is Scalar.BINARY:
            self.size += binary_size(text)
            return _within(notation.binary, text)
        self.size += len(text.encode())
        return _within(notation.string, json_text(text))

    def _value(self, value: Any, level: int) -> str:
        notation = self._notation
        if value is None:
            self.size += notation.null_size
            return notation.null
        if isinstance(value, list):
            self._enter(level, len(value))
            return _within(notation.list, ",".join([self._value(each, level + 1) for each in value]))
        if isinstance(value, dict):
            self._enter(level, len(value))
            self.size += sum(len(name.encode()) for name in value)
            members = [f"{json_text(name)}:{self._value(each, level + 1)}" for name, each in value.items()]
            return _within(notation.map, ",".join(members))
        return self._leaf(value)

    def _enter(self, level: int, elements: int) -> None:
        self.size += self._notation.container_size + self._notation.element_size * elements
        self.depth = max(self.depth, level + (elements > 0))


def _within(affix: Affix, text: str) -> str:
    return f"{affix.before}{text}{affix.after}"
