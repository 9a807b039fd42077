"""Wire fragments taken apart again, value by value: for rules that look inside a document. Pure.

Invariant: numbers stay the texts that they are; a null fragment gives null.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import orjson

from engine.wire.documents import CONTAINER_SIZE, ELEMENT_SIZE
from engine.wire.numbers import number, plain_size

Row: TypeAlias = dict[str, Any]
"""One value of kinds.DOCUMENT_TYPE, as Polars hands it to Python."""

NULL_WIRE = '{"NULL":true}'
NUMBER_FLAW = "number_"
"""How the flaws begin that leave a document readable: its numbers stand in it as texts."""
_NOTHING: dict[str, Any] = {}


def scalar_texts(wires: Sequence[str | None]) -> list[str | None]:
    """Return the canonical text of each scalar; null for lists, maps, sets and NULL."""
    return [None if wire is None else _scalar_text(orjson.loads(wire)) for wire in wires]


def plain_json(wires: Sequence[str | None]) -> list[str | None]:
    """Return each document as ordinary JSON text, numbers exact; binaries are base64, sets lists."""
    return [None if wire is None else orjson.dumps(_plain(orjson.loads(wire))).decode() for wire in wires]


def plain_texts(wires: Sequence[str | None]) -> list[str | None]:
    """Return each scalar's canonical text, lists and maps as JSON text; null for NULL."""
    values = [None if wire is None else orjson.loads(wire) for wire in wires]
    return [None if value is None or "NULL" in value else _plain_text(value) for value in values]


Part: TypeAlias = tuple[str, int, int]
"""A fragment, its size and its depth."""


def parts(
    paths: Sequence[tuple[str, ...]],
) -> Callable[[Sequence[str | None], Sequence[str | None]], list[list[Part | None]]]:
    """Return the function that finds what each path of member names leads to, null where that is nothing.

    Shape: wires and flaws of documents in; for each path a list as long out. A document whose flaw keeps it
    from being taken apart is given back whole.
    """

    def find(wires: Sequence[str | None], flaws: Sequence[str | None]) -> list[list[Part | None]]:
        found: list[list[Part | None]] = [[] for _ in paths]
        for wire, flaw in zip(wires, flaws, strict=True):
            whole = None if wire is None else orjson.loads(wire)
            apart = flaw is None or flaw.startswith(NUMBER_FLAW)
            for path, column in zip(paths, found, strict=True):
                value = _below(whole, path) if apart else whole
                column.append(None if value is None else _part(value))
        return found

    return find


def _below(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if value is None:
            return None
        value = value.get("M", _NOTHING).get(name)
    return value


def elements(rows: Sequence[Row | None]) -> list[list[Row] | None]:
    """Return the elements of each list; null for what is no list."""

    def split(row: Row | None) -> list[Row] | None:
        if row is None or row["wire"] is None:
            return None
        values = orjson.loads(row["wire"]).get("L")
        return None if values is None else [_row(value, row["flaw"]) for value in values]

    return [split(row) for row in rows]


def set_texts(letter: str) -> Callable[[Sequence[str | None]], list[list[str] | None]]:
    """Return the function that gives the texts of a list's elements if all have one type, S, N or B.

    A fragment that is that set already gives its elements; everything else gives null.
    """

    def texts(wire: str | None) -> list[str] | None:
        if wire is None:
            return None
        value = orjson.loads(wire)
        ready: list[str] | None = value.get(letter + "S")
        if ready is not None:
            return ready
        members = value.get("L")
        if members is None or any(letter not in member for member in members):
            return None
        return [member[letter] for member in members]

    return lambda wires: [texts(wire) for wire in wires]


def measured(value: Any) -> tuple[int, int]:
    """Return an attribute value's size and depth, as kinds.Document counts them."""
    ((letter, content),) = value.items()
    match letter:
        case "S":
            return len(content) if content.isascii() else len(content.encode()), 0
        case "N":
            return _number_size(content), 0
        case "B":
            return _binary_size(content), 0
        case "BOOL" | "NULL":
            return 1, 0
        case "SS":
            return sum(len(text.encode()) for text in content), 0
        case "NS":
            return sum(map(_number_size, content)), 0
        case "BS":
            return sum(_binary_size(text) for text in content), 0
        case "L":
            inner = [measured(element) for element in content]
            names = 0
        case _:
            assert letter == "M", f"DynamoDB has no type {letter}"
            inner = [measured(member) for member in content.values()]
            names = sum(len(name.encode()) for name in content)
    size = CONTAINER_SIZE + ELEMENT_SIZE * len(inner) + names + sum(size for size, _ in inner)
    return size, 1 + max(depth for _, depth in inner) if inner else 0


def _part(value: Any) -> Part:
    size, depth = measured(value)
    return orjson.dumps(value).decode(), size, depth


def _row(value: Any, flaw: str | None) -> Row:
    wire, size, depth = _part(value)
    return {"wire": wire, "size": size, "depth": depth, "flaw": flaw}


def _number_size(text: str) -> int:
    return number(text).size if "E" in text or "e" in text else plain_size(text)


def _binary_size(base64: str) -> int:
    return len(base64) // 4 * 3 - base64[-2:].count("=")


def _scalar_text(value: Any) -> str | None:
    ((letter, content),) = value.items()
    match letter:
        case "S" | "N" | "B":
            return str(content)
        case "BOOL":
            return "true" if content else "false"
        case _:
            return None


def _plain_text(value: Any) -> str:
    scalar = _scalar_text(value)
    return orjson.dumps(_plain(value)).decode() if scalar is None else scalar


def _plain(value: Any) -> Any:
    ((letter, content),) = value.items()
    match letter:
        case "N":
            return orjson.Fragment(content)
        case "NULL":
            return None
        case "M":
            return {name: _plain(member) for name, member in content.items()}
        case "L":
            return [_plain(element) for element in content]
        case "NS":
            return [orjson.Fragment(text) for text in content]
        case _:
            return content
