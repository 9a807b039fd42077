"""Attribute values as parsed JSON: what each adds to an item's size, and its depth. Pure."""

from typing import Any

from connectors.dynamodb.documents.notation import CONTAINER_SIZE, ELEMENT_SIZE
from connectors.dynamodb.documents.numbers import number, plain_size
from engine.documents.writing import binary_size


def measured(value: Any) -> tuple[int, int]:
    """Return an attribute value's size and depth."""
    ((letter, content),) = value.items()
    match letter:
        case "S":
            return len(content) if content.isascii() else len(content.encode()), 0
        case "N":
            return _number_size(content), 0
        case "B":
            return binary_size(content), 0
        case "BOOL" | "NULL":
            return 1, 0
        case "SS":
            return sum(len(text.encode()) for text in content), 0
        case "NS":
            return sum(map(_number_size, content)), 0
        case "BS":
            return sum(binary_size(text) for text in content), 0
        case "L":
            inner = [measured(element) for element in content]
            names = 0
        case _:
            assert letter == "M", f"DynamoDB has no type {letter}"
            inner = [measured(member) for member in content.values()]
            names = sum(len(name.encode()) for name in content)
    size = CONTAINER_SIZE + ELEMENT_SIZE * len(inner) + names + sum(size for size, _ in inner)
    return size, 1 + max(depth for _, depth in inner) if inner else 0


def _number_size(text: str) -> int:
    return number(text).size if "E" in text or "e" in text else plain_size(text)
