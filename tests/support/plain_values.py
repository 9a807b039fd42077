"""PostgreSQL's own text of a value as DynamoDB JSON, in plain Python after the contract's table of types.

Nothing of the engine has a part in it.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.support.loads import Wire


def number(text: str) -> Wire:
    return {"N": Decimal(text)}


def string(text: str) -> Wire:
    return {"S": text}


def boolean(text: str) -> Wire:
    return {"BOOL": {"t": True, "f": False}[text]}


def binary(text: str) -> Wire:
    return {"B": bytes.fromhex(text.removeprefix("\\x"))}


def instant(text: str) -> Wire:
    """Turn what PostgreSQL prints for a date or a time into ISO 8601; 44 BC is the year -0043."""
    found = re.fullmatch(r"(\d+)(-\d\d-\d\d)(?: ([\d:.]+))?(\+00)?( BC)?", text)
    if found is None:
        assert text in ("infinity", "-infinity")
        return {"S": text}
    year, day, clock, zone, bc = found.groups()
    if bc:
        before = 1 - int(year)
        year = f"{'-' if before < 0 else ''}{abs(before):04d}"
    return {"S": year + day + (f"T{clock}" if clock else "") + ("Z" if zone else "")}


def document(text: str) -> Wire:
    return plain(json.loads(text, parse_float=Decimal, parse_int=Decimal))


def plain(value: Any) -> Wire:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case Decimal() | int():
            return {"N": Decimal(value)}
        case str():
            return {"S": value}
        case list():
            return {"L": [plain(element) for element in value]}
    return {"M": {name: plain(field) for name, field in value.items()}}


@dataclass(frozen=True)
class Bad:
    """A value that can't be written; `as_string`: what `numbers: string` makes of it, if anything."""

    literal: str
    reason: str
    as_string: Wire | None = None


@dataclass(frozen=True)
class Column:
    """A type, values of it as SQL literals, and what is expected of them: a mapping, or by hand."""

    type: str
    mapping: Callable[[str], Wire] | None
    values: dict[str, Wire | None] | list[str]
    bad: tuple[Bad, ...] = ()


def repr_exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: repr_exact(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [repr_exact(inner) for inner in value]
    return (type(value).__name__, value)


def same(one: Wire | None, other: Wire | None) -> bool:
    """Compare; True isn't 1."""
    return repr_exact(one) == repr_exact(other)
