"""The bodies of reads and what their answers hold. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from connectors.dynamodb.encoding.comparison import Item
from connectors.dynamodb.reading.digests import KeyTypes, digests, sliced
from connectors.dynamodb.reading.slices import Slices
from engine.contracts.readback import Digests
from engine.frozen import dataclass

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


@dataclass(slots=True)
class ScanPage:
    """Items of one scan request, and the key behind which the segment goes on; None: it has ended.

    Shape: `text` is the items as a JSON array, as the server wrote them: to parse it takes longer than to
    compare it. `key` the table's. Units: `consumed` read units.
    """

    text: bytes
    count: int
    next: Item | None
    consumed: float
    key: KeyTypes
    _slices: Slices | None = None

    def digests(self) -> Digests:
        """Return the items' hashes. Raises: ValueError when they aren't JSON."""
        try:
            self._slices = sliced(self.text, self.count)
        except ValueError as error:
            raise ValueError(f"items that aren't JSON ({error})") from error
        return digests(self._slices, self.key)

    def item(self, index: int) -> Item:
        """Return one item."""
        assert self._slices is not None, "items are hashed first"
        item: Item = orjson.loads(self._slices.item(index))
        return item


def page(body: bytes, key: KeyTypes = ()) -> ScanPage:
    """Read the answer to a Scan, all but its items. Raises: ValueError when it isn't JSON."""
    begin = body.find(_ITEMS_BEGIN)
    end = body.rfind(_ITEMS_END + b",")
    if 0 <= begin < end:
        begin, end = begin + len(_ITEMS_BEGIN) - 2, end + len(_ITEMS_END)
        try:
            rest = orjson.loads(b"".join((body[:begin], b"[]", body[end:])))
            follows = rest.get("LastEvaluatedKey")
            return ScanPage(body[begin:end], int(rest["Count"]), follows, consumed(rest), key)
        except (ValueError, LookupError):
            pass  # it is written otherwise: then all of it is parsed
    answer = orjson.loads(body)
    items = answer.get("Items") or []
    follows = answer.get("LastEvaluatedKey") or None
    return ScanPage(orjson.dumps(items), len(items), follows, consumed(answer), key)


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
