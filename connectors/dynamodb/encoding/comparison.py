"""How DynamoDB compares values: which are the same, and which is the lower one. Pure.

Invariant: what is called the same, DynamoDB would hold as the same: numbers by their value, sets in any
order, everything else exactly. What is called lower, `<` in a condition would call lower: types don't mix.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from connectors.dynamodb.documents.numbers import number
from connectors.dynamodb.limits import NUMBER_MAGNITUDE_MAX, NUMBER_MAGNITUDE_MIN

Item = Mapping[str, Any]
"""An item as DynamoDB JSON, parsed: `{"PK":{"S":"…"},…}`."""

_PLAIN_NAME = re.compile(r"[^\s.\[\]\"]+")
"""A name that stands in a path as it is; others are quoted."""

_NINES = bytes.maketrans(b"0123456789", b"9876543210")
_BEHIND_DIGITS = b"~"


def differing(one: Item, other: Item) -> tuple[str, ...]:
    """Return the names of the attributes in which two items differ, sorted."""
    names = one.keys() | other.keys()
    return tuple(sorted(name for name in names if not _same(one.get(name), other.get(name))))


def parts(one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the parts in which two values of an attribute differ, each with its path and both sides' part.

    Shape: the path follows on the attribute's name (`[0].Quantity`), empty for the value as a whole; a side
    that lacks the part gives None.
    """
    if _same(one, other):
        return
    kinds = {*(one or {}), *(other or {})}
    if one is None or other is None or len(kinds) > 1 or not kinds & {"M", "L"}:
        yield "", one, other
        return
    (kind,) = kinds
    for step, here, there in _members(kind, one[kind], other[kind]):
        for path, mine, theirs in parts(here, there):
            yield step + path, mine, theirs


def _members(kind: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    if kind == "L":
        for position, (here, there) in enumerate(zip_longest(one, other)):
            yield f"[{position}]", here, there
        return
    for name in sorted(one.keys() | other.keys()):
        step = f".{name}" if _PLAIN_NAME.fullmatch(name) else f"[{json.dumps(name, ensure_ascii=False)}]"
        yield step, one.get(name), other.get(name)


def canonical(value: Any) -> Any:
    """Return a value with the members of its sets sorted and its numbers shortest."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return {kind: number(content).text}
        case "NS":
            return {kind: sorted(number(each).text for each in content)}
        case "SS" | "BS":
            return {kind: sorted(content)}
        case "L":
            return {kind: [canonical(each) for each in content]}
        case "M":
            return {kind: {name: canonical(each) for name, each in content.items()}}
        case _:
            return value


def is_lower(one: Any, other: Any) -> bool:
    """Whether a value is lower than another, as `<` of a condition compares."""
    (kind, key), (other_kind, other_key) = version_key(one), version_key(other)
    return kind == other_kind and key < other_key


def version_key(value: Any) -> tuple[str, bytes]:
    """Return a value's type, and bytes that sort as values of that type do; no bytes where nothing sorts."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return kind, _number(content)
        case "S":
            return kind, content.encode()
        case "B":
            return kind, b64decode(content)
        case _:
            return kind, b""


def _number(text: str) -> bytes:
    """Spell a number as sign, magnitude and digits; what is negative turned round."""
    shortest = number(text).text
    mantissa, _, power = shortest.lstrip("-").partition("E")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return b"1"
    magnitude = len(digits) - len(fraction) - 1 + int(power or 0) - NUMBER_MAGNITUDE_MIN
    significant = digits.rstrip("0").encode()
    if not shortest.startswith("-"):
        return b"2%03d" % magnitude + significant
    turned = NUMBER_MAGNITUDE_MAX - NUMBER_MAGNITUDE_MIN - magnitude
    return b"0%03d" % turned + significant.translate(_NINES) + _BEHIND_DIGITS


def _same(one: Any, other: Any) -> bool:
    if one == other:
        return True
    return one is not None and other is not None and bool(canonical(one) == canonical(other))
