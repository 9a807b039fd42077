"""The bodies of reads and what their answers hold. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

GET_KEYS_MAX = 100
"""Keys of one BatchGetItem. Source: API_BatchGetItem."""
SEGMENTS_MAX = 1_000_000
"""Segments of a parallel scan. Source: API_Scan, TotalSegments."""

_ITEMS_BEGIN, _ITEMS_END = b'"Items":[{', b"}}]"
"""The first is nowhere else: within an item only a type stands before a list, and within a string a quote is
escaped. The second is the last one before a comma, unless the next key holds such signs."""


def get_body(table: str, keys: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a BatchGetItem of at most GET_KEYS_MAX different keys."""
    return orjson.dumps(
        {"RequestItems": {table: {"Keys": keys, "ConsistentRead": True}}, "ReturnConsumedCapacity": "TOTAL"}
    )


def scan_body(
    table: str, segment: int, total: int, start: Mapping[str, Any] | None, limit: int | None
) -> bytes:
    """Return a Scan of one segment of a parallel scan from behind `start`."""
    body: dict[str, Any] = {
        "TableName": table,
        "ConsistentRead": True,
        "ReturnConsumedCapacity": "TOTAL",
        "Segment": segment,
        "TotalSegments": total,
    }
    if start is not None:
        body["ExclusiveStartKey"] = start
    if limit is not None:
        body["Limit"] = limit
    return orjson.dumps(body)


@dataclass(frozen=True, slots=True)
class Page:
    """Items of one scan request, and the key behind which the segment goes on; None: it has ended.

    Shape: `text` is the items as a JSON array, as the server wrote them: to parse it takes longer than to
    compare it. Units: `consumed` read units.
    """

    text: bytes
    count: int
    next: dict[str, Any] | None
    consumed: float

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items, parsed."""
        items: list[dict[str, Any]] = orjson.loads(self.text)
        return items


def page(body: bytes) -> Page:
    """Read the answer to a Scan, all but its items. Raises: ValueError when it isn't JSON."""
    begin = body.find(_ITEMS_BEGIN)
    end = body.rfind(_ITEMS_END + b",")
    if 0 <= begin < end:
        begin, end = begin + len(_ITEMS_BEGIN) - 2, end + len(_ITEMS_END)
        try:
            rest = orjson.loads(b"".join((body[:begin], b"[]", body[end:])))
            return Page(body[begin:end], int(rest["Count"]), rest.get("LastEvaluatedKey"), consumed(rest))
        except (ValueError, LookupError):
            pass  # it is written otherwise: then all of it is parsed
    answer = orjson.loads(body)
    items = answer.get("Items") or []
    return Page(orjson.dumps(items), len(items), answer.get("LastEvaluatedKey") or None, consumed(answer))


def found(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the items of a BatchGetItem's answer; a table named by ARN answers by its name."""
    return [item for items in answer.get("Responses", {}).values() for item in items]


def unprocessed(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the keys that a BatchGetItem didn't read."""
    return [key for each in (answer.get("UnprocessedKeys") or {}).values() for key in each["Keys"]]


def consumed(answer: Mapping[str, Any]) -> float:
    """Return the read units that an answer says it cost."""
    told = answer.get("ConsumedCapacity") or []
    each = told if isinstance(told, list) else [told]
    return float(sum(one.get("CapacityUnits") or 0.0 for one in each))
