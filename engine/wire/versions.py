"""Which of two attribute values is the lower one, as conditions of DynamoDB compare them. Pure."""

from base64 import b64decode
from decimal import Decimal
from typing import Any


def is_lower(one: Any, other: Any) -> bool:
    """Whether an attribute value is lower than another, as `<` of a condition compares: types don't mix."""
    ((kind, content),), ((other_kind, other_content),) = one.items(), other.items()
    if kind != other_kind:
        return False
    if kind == "N":
        return Decimal(content) < Decimal(other_content)
    if kind == "B":
        return b64decode(content) < b64decode(other_content)
    return bool(kind == "S" and content.encode() < other_content.encode())
