"""Attribute values on the wire: which DynamoDB takes, how it writes them, how large they are. Pure.

Invariant: written from DynamoDB's documents and without the engine's code, so that it can judge the engine.
A value that passes is in DynamoDB's own form afterwards: numbers plain and trimmed.
Source: Developer Guide, "Supported data types", "Constraints", "Item sizes and formats".
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal
from typing import Any, Final

from bench.simulator.errors import invalid, invalid_value, malformed
from connectors.dynamodb.limits import (
    ITEM_BYTES_MAX,
    NESTING_LEVELS_MAX,
    NUMBER_DIGITS_MAX,
    NUMBER_MAGNITUDE_MAX,
    NUMBER_MAGNITUDE_MIN,
)

KINDS: Final = frozenset({"S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"})
CONTAINER_BYTES: Final = 3
"""What a list or a map takes before its elements."""
ELEMENT_BYTES: Final = 1
"""What each element of a list or a map takes beside itself."""

_NUMBER_BYTES_MAX: Final = 21
"""What a number takes at most, as DynamoDB Local shows: 38 digits in 20 pairs hide the sign."""
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?", re.ASCII)
_EXACT: Final = Context(prec=NUMBER_DIGITS_MAX)


def check_item(item: Any) -> int:
    """Check all of an item's values, bring them to DynamoDB's form in place and return the item's size.

    Units: bytes that count for capacity: names and values.
    Raises: ApiError.
    """
    if type(item) is not dict:
        raise malformed("Unexpected value type in payload")
    size = 0
    for name, value in item.items():
        if not name:
            raise invalid("Empty attribute name")
        size += (len(name) if name.isascii() else len(name.encode())) + check(value)
    if size > ITEM_BYTES_MAX:
        raise invalid("Item size has exceeded the maximum allowed size")
    return size


def item_size(item: Mapping[str, Any]) -> int:
    """Return the size of an item, or of a part of one, that passed already."""
    return sum(len(name.encode()) + check(value) for name, value in item.items())


def check(value: Any, level: int = 1) -> int:
    """Check one value, bring it to DynamoDB's form in place and return its size in bytes."""
    if type(value) is not dict:
        raise malformed("Unexpected value type in payload")
    if len(value) != 1 or not KINDS.issuperset(value):
        known = len(KINDS.intersection(value))
        if known != 1:
            fault = "has more than one datatypes set" if known else "is empty"
            raise invalid(
                f"Supplied AttributeValue {fault}, must contain exactly one of the supported datatypes"
            )
        for kind in value.keys() - KINDS:
            del value[kind]
    [(kind, content)] = value.items()
    if kind == "S":
        return _text_size(content)
    if kind == "N":
        value["N"], size = number(content)
        return size
    if level > NESTING_LEVELS_MAX:
        raise _too_deep()
    match kind:
        case "BOOL":
            if type(content) is not bool:
                raise malformed("Unexpected token received from parser")
            return 1
        case "NULL":
            if type(content) is not bool:
                raise malformed("Unexpected token received from parser")
            if not content:
                raise invalid_value("Null attribute value types must have the value of true")
            return 1
        case "B":
            return len(binary(content))
        case "L":
            return _list_size(content, level)
        case "M":
            return _map_size(content, level)
        case _:
            return _check_set(kind, value, content)


def number(text: Any) -> tuple[str, int]:
    """Return a number as DynamoDB writes it, and its size in bytes."""
    if type(text) is not str:
        raise malformed("NUMBER_VALUE cannot be converted to String")
    if text.isdecimal() and text.isascii() and text[0] != "0" and len(text) <= NUMBER_DIGITS_MAX:
        return text, _number_size(len(text) - 1, len(text) - len(text.rstrip("0")))
    if not _NUMBER.fullmatch(text):
        said = f": {text}" if text else ""
        raise invalid(f"The parameter cannot be converted to a numeric value{said}")
    exact = Decimal(text)
    if not exact:
        return "0", 1
    digits = len("".join(map(str, exact.as_tuple().digits)).strip("0"))
    magnitude = exact.adjusted()
    if magnitude > NUMBER_MAGNITUDE_MAX:
        raise invalid(
            "Number overflow. Attempting to store a number with magnitude larger than supported range"
        )
    if magnitude < NUMBER_MAGNITUDE_MIN:
        raise invalid(
            "Number underflow. Attempting to store a number with magnitude smaller than supported range"
        )
    if digits > NUMBER_DIGITS_MAX:
        raise invalid("Attempting to store more than 38 significant digits in a Number")
    plain = format(exact.normalize(_EXACT), "f")
    size = _number_size(magnitude, magnitude - digits + 1) + (exact < 0)
    return plain, min(size, _NUMBER_BYTES_MAX)


def _number_size(first: int, last: int) -> int:
    """Return what a number takes whose significant digits stand at these powers of ten.

    Source: "Item sizes and formats": about a byte per two digits and one more; negative: one more. The digits
    are paired from the point, as DynamoDB Local shows: 12 takes 2 bytes and 1.5 takes 3.
    """
    return first // 2 - last // 2 + 2


def binary(text: Any) -> bytes:
    """Return the bytes that base64 stands for."""
    if type(text) is not str:
        raise malformed("Unexpected value type in payload")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed("Invalid base64 in a binary value") from error


def comparable(value: Mapping[str, Any]) -> Any:
    """Return a scalar that sorts as DynamoDB sorts it: numbers by value, strings and binaries by bytes."""
    [(kind, content)] = value.items()
    # Python compares strings by code point, which is the order of their UTF-8 bytes.
    return Decimal(content) if kind == "N" else binary(content) if kind == "B" else content


def _text_size(content: Any) -> int:
    if type(content) is not str:
        raise malformed("NUMBER_VALUE cannot be converted to String")
    return len(content) if content.isascii() else len(content.encode())


def _list_size(content: Any, level: int) -> int:
    if type(content) is not list:
        raise malformed("Unexpected value type in payload")
    if content and level >= NESTING_LEVELS_MAX:
        raise _too_deep()
    return CONTAINER_BYTES + sum(ELEMENT_BYTES + check(element, level + 1) for element in content)


def _map_size(content: Any, level: int) -> int:
    if type(content) is not dict:
        raise malformed("Unexpected value type in payload")
    if content and level >= NESTING_LEVELS_MAX:
        raise _too_deep()
    size = CONTAINER_BYTES
    for name, value in content.items():
        if not name:
            raise invalid("Empty attribute name")
        size += ELEMENT_BYTES + len(name.encode()) + check(value, level + 1)
    return size


def _check_set(kind: str, value: dict[str, Any], content: Any) -> int:
    if type(content) is not list:
        raise malformed("Unexpected value type in payload")
    name = {"SS": "string", "NS": "number", "BS": "binary"}[kind]
    if not content:
        raise invalid_value(f"An {name} set  may not be empty")
    match kind:
        case "SS":
            size = sum(_text_size(member) for member in content)
            if _repeats(content):
                raise invalid_value(f"Input collection [{', '.join(content)}] contains duplicates.")
        case "NS":
            numbers = [number(member) for member in content]
            value["NS"] = [text for text, _ in numbers]
            size = sum(each for _, each in numbers)
            if _repeats(value["NS"]):
                raise invalid("Input collection contains duplicates")
        case _:
            size = sum(len(binary(member)) for member in content)
            if _repeats(content):
                raise invalid_value(f"Input collection [{', '.join(content)}]of type BS contains duplicates.")
    return size


def _repeats(members: Iterable[str]) -> bool:
    texts = list(members)
    return len(set(texts)) < len(texts)


def _too_deep() -> Exception:
    return invalid(
        "Nesting Levels have exceeded supported limits: "
        "Attributes in the item have nested levels beyond supported limit"
    )
