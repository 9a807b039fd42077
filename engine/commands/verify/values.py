"""Whether two items are the same: numbers as numbers, sets as sets, everything else exactly. Pure.

Invariant: what is called the same, DynamoDB would hold as the same.
"""

from collections.abc import Mapping
from typing import Any

from engine.wire.numbers import number

Item = Mapping[str, Any]
"""An item as DynamoDB JSON, parsed: `{"PK":{"S":"…"},…}`."""


def differing(expected: Item, actual: Item) -> tuple[str, ...]:
    """Return the names of the attributes in which two items differ, sorted."""
    names = expected.keys() | actual.keys()
    return tuple(sorted(name for name in names if not _same(expected.get(name), actual.get(name))))


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


def _same(one: Any, other: Any) -> bool:
    if one == other:
        return True
    return one is not None and other is not None and bool(canonical(one) == canonical(other))
