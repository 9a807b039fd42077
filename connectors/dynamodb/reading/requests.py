"""The bodies of reads and what their answers hold. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

GET_KEYS_MAX = 100
"""Keys of one BatchGetItem. Source: API_BatchGetItem."""
SEGMENTS_MAX = 1_000_000
"""Segments of a parallel scan. Source: API_Scan, TotalSegments."""


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
