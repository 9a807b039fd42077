"""Documents read again, value by value, in whatever notation they are: for rules that look inside. Pure.

Invariant: numbers stay the texts that they are; a null fragment gives null.
"""

from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as json_text  # in C where the interpreter has it
from typing import Any

import orjson
import pyarrow as pa

from engine.contracts.documents import AS_TEXT, NUMBER_FLAW, DocumentCodec, ValueType
from engine.documents.exact import UnsupportedError, parsed_exactly
from engine.documents.plain import PLAIN
from engine.documents.writing import has_nameless
from engine.kinds import Cell, Scalar

_OF_SETS = {
    Scalar.STRING: ValueType.STRING,
    Scalar.NUMBER: ValueType.NUMBER,
    Scalar.BINARY: ValueType.BINARY,
}

_NOTHING: Any = object()
_LIST, _MAP, _BOOL, _NULL = ValueType.LIST, ValueType.MAP, ValueType.BOOL, ValueType.NULL  # cheaper by name


class DocumentReader:
    """Reads whole columns of documents that a codec wrote."""

    __slots__ = ("_codec", "_opened", "_parsed", "_plain", "_printed")

    def __init__(self, codec: DocumentCodec) -> None:
        self._codec = codec
        self._opened = codec.opened
        self._parsed = codec.parsed
        self._plain = codec.plain
        self._printed = codec.printed

    def scalar_texts(self, wires: Sequence[str | None]) -> list[str | None]:
        """Return the canonical text of each scalar; null for lists, maps and NULL."""
        return [None if wire is None else _scalar(*self._opened(self._parsed(wire))) for wire in wires]

    def plain_json(self, wires: Sequence[str | None]) -> list[str | None]:
        """Return each document as ordinary JSON text, numbers exact; binaries are base64."""
        return [None if wire is None else self._json(self._parsed(wire)) for wire in wires]

    def plain_texts(self, wires: Sequence[str | None]) -> list[str | None]:
        """Return each scalar's canonical text, lists and maps as JSON text; null for NULL."""

        def text(value: Any) -> str | None:
            kind, content = self._opened(value)
            is_container = kind is _LIST or kind is _MAP
            return self._json(value) if is_container else _scalar(kind, content)

        return [None if wire is None else text(self._parsed(wire)) for wire in wires]

    def as_texts(self, rows: Sequence[Mapping[str, Any] | None]) -> list[Cell | None]:
        """Return each document as the text that is its JSON; one that isn't all there keeps its flaw.

        Shape: values of kinds.DOCUMENT_TYPE as Polars hands them to Python, in and out.
        """

        def read(row: Mapping[str, Any] | None) -> Cell | None:
            if row is None or row["wire"] is None:
                return None
            value, flaw = self._parsed(row["wire"]), row["flaw"]
            kind, content = self._opened(value)
            is_there = flaw is not None and AS_TEXT in flaw
            text = content if is_there and kind is ValueType.STRING else self._json(value)
            return self._string(text), len(text.encode()), 0, None if is_there else flaw

        return [read(row) for row in rows]

    def parts(
        self, path: tuple[str, ...], wires: Sequence[str | None], flaws: Sequence[str | None]
    ) -> list[Cell | None]:
        """Return what a path of member names leads to in each document, null where to nothing.

        A document whose flaw keeps it from being taken apart is given back whole.
        """
        return [
            None if wire is None else self._part(path, self._parsed(wire), flaw)
            for wire, flaw in zip(wires, flaws, strict=True)
        ]

    def _part(self, path: tuple[str, ...], whole: Any, flaw: str | None) -> Cell | None:
        kind, content = self._opened(whole)
        is_there = flaw is not None and AS_TEXT in flaw
        if flaw is not None and is_there and kind is ValueType.STRING:
            return self._part_of_text(path, content, flaw)
        apart = flaw is None or is_there or flaw.startswith(NUMBER_FLAW)
        value = self._below(whole, path) if apart else whole
        if value is _NOTHING:
            return None
        own = None if is_there and not has_nameless(self._plain(value)) else flaw
        return *self._printed(value), own

    def _part_of_text(self, path: tuple[str, ...], text: str, flaw: str) -> Cell | None:
        """Return a part of a document that stands there as its JSON text; it has flaws of its own."""
        try:
            value = parsed_exactly(text)
            for name in path:
                if not isinstance(value, dict) or name not in value:
                    return None
                value = value[name]
            part = orjson.dumps(PLAIN.plain(value)).decode()
        except (UnsupportedError, RecursionError, orjson.JSONEncodeError):
            return *self._printed(self._parsed(self._string(text))), flaw.replace(AS_TEXT, "")
        found = self._codec.from_json(pa.array([part]))[0].as_py()
        return found["wire"], found["size"], found["depth"], found["flaw"]

    def elements(self, rows: Sequence[Mapping[str, Any] | None]) -> list[list[Mapping[str, Any]] | None]:
        """Return the elements of each list; null for what is no list.

        Shape: values of kinds.DOCUMENT_TYPE as Polars hands them to Python.
        """

        def split(row: Mapping[str, Any] | None) -> list[Mapping[str, Any]] | None:
            if row is None or row["wire"] is None:
                return None
            flaw, (kind, content) = row["flaw"], self._opened(self._parsed(row["wire"]))
            is_there = flaw is not None and AS_TEXT in flaw
            if is_there and kind is ValueType.STRING:
                return self._elements_of_text(content)
            if kind is not _LIST:
                return None
            flaws = [None if is_there and not has_nameless(self._plain(each)) else flaw for each in content]
            return [_row((*self._printed(each), own)) for each, own in zip(content, flaws, strict=True)]

        return [split(row) for row in rows]

    def _elements_of_text(self, text: str) -> list[Mapping[str, Any]] | None:
        """Return the elements of a list that stands there as its JSON text; they have flaws of their own."""
        try:
            value = parsed_exactly(text)
            if not isinstance(value, list):
                return None
            texts = [orjson.dumps(PLAIN.plain(each)).decode() for each in value]
        except (UnsupportedError, RecursionError, orjson.JSONEncodeError):
            return None
        found: list[Mapping[str, Any]] = self._codec.from_json(pa.array(texts, pa.string())).to_pylist()
        return found

    def texts_of(self, kind: Scalar, wires: Sequence[str | None]) -> list[list[str] | None]:
        """Return the texts of each list's elements where all are of one kind: STRING, NUMBER or BINARY."""

        def texts(wire: str) -> list[str] | None:
            found, content = self._opened(self._parsed(wire))
            if found is not _LIST:
                return None
            elements = [self._opened(element) for element in content]
            fits = all(each is _OF_SETS[kind] for each, _ in elements)
            return [text for _, text in elements] if fits else None

        return [None if wire is None else texts(wire) for wire in wires]

    def _below(self, value: Any, path: tuple[str, ...]) -> Any:
        for name in path:
            if value is _NOTHING:
                break
            kind, content = self._opened(value)
            value = content.get(name, _NOTHING) if kind is _MAP else _NOTHING
        return value

    def _string(self, text: str) -> str:
        before, after = self._codec.notation.string
        return f"{before}{json_text(text)}{after}"

    def _json(self, value: Any) -> str:
        return orjson.dumps(self._plain(value)).decode()


def _row(cell: Cell) -> Mapping[str, Any]:
    wire, size, depth, flaw = cell
    return {"wire": wire, "size": size, "depth": depth, "flaw": flaw}


def _scalar(kind: ValueType, content: Any) -> str | None:
    if kind is _BOOL:
        return "true" if content else "false"
    return None if kind is _NULL or kind is _LIST or kind is _MAP else str(content)
