"""JSON parsed to the last digit, for documents that a double would alter. Pure.

Invariant: numbers are the texts that stand there; nothing is dropped, a name that stands twice least of all.
"""

import json
from typing import Any, NoReturn

from engine.contracts.documents import AS_TEXT


class NumberText(str):
    """A number as it stands in the JSON text."""

    __slots__ = ()


class UnsupportedError(Exception):
    """The document can't be taken apart; the message is its flaw, `reason: detail`."""


def parsed_exactly(text: str) -> Any:
    """Parse JSON. Raises: UnsupportedError; RecursionError where it is nested deeper than Python can go."""
    try:
        return json.loads(
            text,
            parse_int=NumberText,
            parse_float=NumberText,
            parse_constant=_refuse_constant,
            object_pairs_hook=_members,
        )
    except ValueError as error:
        raise UnsupportedError(f"value_unsupported: not JSON ({error})") from error


def utf8_size(text: str) -> int:
    """Return the bytes of a text. Raises: UnsupportedError for half a surrogate pair."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise UnsupportedError(
            f"value_unsupported: half a surrogate pair, no character ({error.reason}){AS_TEXT}"
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for position, name in enumerate(names) if name in names[:position])
        raise UnsupportedError(
            f"value_unsupported: the name {twice[:60]!r} stands twice in one object{AS_TEXT}"
        )
    return members
