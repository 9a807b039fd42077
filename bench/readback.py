"""Read a table back with boto3, a client that shares nothing with the engine's wire path, and compare."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

Key = tuple[Any, ...]

DIFFERENCES_KEPT = 10


def client(endpoint: str) -> Any:
    """Return a boto3 table resource factory for a local endpoint."""
    return boto3.resource(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - emulators take anything
        config=Config(retries={"mode": "standard"}),
    )


def scan(endpoint: str, table: str) -> dict[Key, dict[str, Any]]:
    """Return every item of a table by its primary key."""
    handle = client(endpoint).Table(table)
    names = [part["AttributeName"] for part in handle.key_schema]
    items: dict[Key, dict[str, Any]] = {}
    request: dict[str, Any] = {"ConsistentRead": True}
    while True:
        page = handle.scan(**request)
        for item in page["Items"]:
            items[tuple(item[name] for name in names)] = item
        if "LastEvaluatedKey" not in page:
            return items
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


@dataclass(slots=True)
class Comparison:
    """What a comparison of all items found; the first differences are kept in words."""

    checked: int = 0
    matched: int = 0
    missing: int = 0
    mismatched: int = 0
    extra: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same items."""
        return self.checked == self.matched and self.extra == 0

    def note(self, text: str) -> None:
        """Keep a difference while there are few."""
        if len(self.differences) < DIFFERENCES_KEPT:
            self.differences.append(text)


async def compare(
    expected: AsyncIterator[Mapping[str, Any]], found: dict[Key, dict[str, Any]], key: tuple[str, ...]
) -> Comparison:
    """Compare expected items with those of a table, one by one, values by value."""
    result = Comparison()
    left = dict(found)
    async for item in expected:
        result.checked += 1
        place = tuple(item[name] for name in key)
        there = left.pop(place, None)
        if there is None:
            result.missing += 1
            result.note(f"missing {place}")
        elif there != item:
            result.mismatched += 1
            differing = sorted(n for n in item.keys() | there.keys() if item.get(n) != there.get(n))
            result.note(f"differs {place} in {', '.join(differing)}")
        else:
            result.matched += 1
    result.extra = len(left)
    for place in list(left)[:DIFFERENCES_KEPT]:
        result.note(f"extra {place}")
    return result
