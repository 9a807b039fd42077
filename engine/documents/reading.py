"""Documents read again, value by value, in whatever notation they are: for rules that look inside. Pure.

Invariant: numbers stay the texts that they are; a null fragment gives null.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from engine.contracts.documents import NUMBER_FLAW, DocumentCodec, Fragment, ValueType
from engine.kinds import Scalar

_OF_SETS = {
    Scalar.STRING: ValueType.STRING,
    Scalar.NUMBER: ValueType.NUMBER,
    Scalar.BINARY: ValueType.BINARY,
}

_NOTHING: Any = object()
_LIST, _MAP, _BOOL, _NULL = ValueType.LIST, ValueType.MAP, ValueType.BOOL, ValueType.NULL  # cheaper by name


class DocumentReader:
    """Reads whole columns of documents that a codec wrote."""

    __slots__ = ("_opened", "_parsed", "_plain", "_printed")

    def __init__(self, codec: DocumentCodec) -> None:
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

    def parts(
        self,
        paths: Sequence[tuple[str, ...]],
        wires: Sequence[str | None],
        flaws: Sequence[str | None],
    ) -> list[list[Fragment | None]]:
        """Return for each path of member names what it leads to in each document, null where to nothing.

        A document whose flaw keeps it from being taken apart is given back whole.
        """
        found: list[list[Fragment | None]] = [[] for _ in paths]
        for wire, flaw in zip(wires, flaws, strict=True):
            whole = _NOTHING if wire is None else self._parsed(wire)
            apart = flaw is None or flaw.startswith(NUMBER_FLAW)
            for path, column in zip(paths, found, strict=True):
                value = self._below(whole, path) if apart else whole
                column.append(None if value is _NOTHING else self._printed(value))
        return found

    def elements(self, rows: Sequence[Mapping[str, Any] | None]) -> list[list[Mapping[str, Any]] | None]:
        """Return the elements of each list; null for what is no list.

        Shape: values of kinds.DOCUMENT_TYPE as Polars hands them to Python.
        """

        def split(row: Mapping[str, Any] | None) -> list[Mapping[str, Any]] | None:
            if row is None or row["wire"] is None:
                return None
            kind, content = self._opened(self._parsed(row["wire"]))
            if kind is not _LIST:
                return None
            written = map(self._printed, content)
            return [{"wire": w, "size": s, "depth": d, "flaw": row["flaw"]} for w, s, d in written]

        return [split(row) for row in rows]

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

    def _json(self, value: Any) -> str:
        return orjson.dumps(self._plain(value)).decode()


def _scalar(kind: ValueType, content: Any) -> str | None:
    if kind is _BOOL:
        return "true" if content else "false"
    return None if kind is _NULL or kind is _LIST or kind is _MAP else str(content)
