"""How long a text an expression may make of a row's, told from its tree.

Invariant: an upper bound for columns of COLUMN_CHARS characters; what can't be bounded is refused. Pure.
"""

import json
from typing import Any

COLUMN_CHARS = 1_000
GROWN_CHARS_MAX = 10_000_000
"""No target holds a value of that size; what is longer in a column itself isn't looked at here."""


def unbounded(node: Any) -> str | None:
    """Say what an expression does that makes a text too long; None where it does nothing of the kind."""
    try:
        grown = _chars(node)
    except _Unbounded as what:
        return str(what)
    if grown > GROWN_CHARS_MAX:
        return f"makes texts of up to {grown:,} characters; they may have {GROWN_CHARS_MAX:,}"
    return None


class _Unbounded(Exception):
    """Carries what has no bound."""


def _chars(node: Any) -> int:
    """Return the most characters that a part of an expression gives."""
    match node:
        case {"Column": _}:
            return COLUMN_CHARS
        case {"Literal": literal}:
            return len(json.dumps(literal))
        case {"BinaryExpr": {"left": left, "right": right}}:
            return _chars(left) + _chars(right)
        case {"Function": {"input": list(inputs), "function": {"StringExpr": dict(function)}}}:
            return _of_text(inputs, next(iter(function)))
        case {"Function": {"input": [items, delimiter], "function": {"ListExpr": {"Join": _}}}}:
            return _chars(items) * _chars(delimiter)
        case {"Function": {"input": list(inputs)}}:
            return sum(map(_chars, inputs))
        case dict():
            return max((_chars(part) for part in node.values()), default=0)
        case list():
            return max(map(_chars, node), default=0)
        case _:
            return 0


def _of_text(inputs: list[Any], function: str) -> int:
    match function, inputs:
        case "PadStart" | "PadEnd", [padded, length]:
            return max(_chars(padded), _length(length))
        case "Replace", [text, _, by]:
            return _chars(text) * max(1, _chars(by))
        case _:
            return sum(map(_chars, inputs))


def _length(node: Any) -> int:
    """Return the length to which a text is filled up: a plain number."""
    match node:
        case {"Literal": {"Dyn": {"Int": int(length)}}}:
            return length
        case _:
            raise _Unbounded("fills a text up to a length that isn't a plain number; write the number")
