"""What a test of a whole load needs: a job, a table, the items in it as boto3 reads them."""

from decimal import Decimal
from functools import lru_cache
from typing import Any

import boto3

Wire = dict[str, Any]
"""A value as DynamoDB JSON, but with a Decimal under N and bytes under B."""

FATES = ("items_written", "items_deleted", "items_skipped", "items_coalesced", "items_dead_lettered")


def job(url: str, endpoint: str, table: str, **changes: Any) -> dict[str, Any]:
    """Return a job; `source` and `target` among the changes are merged into what is here."""
    made: dict[str, Any] = {
        "name": "load",
        "source": {"type": "postgres", "url": url, "table": "t"},
        "target": {"type": "dynamodb", "table": table, "endpoint_url": endpoint, "region": "us-east-1"},
        "items": [{"name": "Row", "key": {"PK": "ROW#{id}", "SK": "ROW"}, "include": "all"}],
    }
    for section, value in changes.items():
        made[section] = {**made[section], **value} if section in ("source", "target") else value
    if "query" in made["source"]:
        del made["source"]["table"]
    return made


@lru_cache
def client(endpoint: str) -> Any:
    return boto3.client("dynamodb", endpoint_url=endpoint, region_name="us-east-1")


def create_table(endpoint: str, table: str, sort_key: str | None = "SK", key_type: str = "S") -> None:
    """Create a table with a partition key PK of a type, and a sort key of text."""
    keys = [("PK", "HASH", key_type), *([(sort_key, "RANGE", "S")] if sort_key else [])]
    client(endpoint).create_table(
        TableName=table,
        KeySchema=[{"AttributeName": name, "KeyType": role} for name, role, _ in keys],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, _, kind in keys],
        BillingMode="PAY_PER_REQUEST",
    )


def items(endpoint: str, table: str) -> dict[str, dict[str, Wire]]:
    """Return every item by `PK` or `PK|SK`."""
    found: dict[str, dict[str, Wire]] = {}
    for page in client(endpoint).get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            place = "|".join(next(iter(item[name].values())) for name in ("PK", "SK") if name in item)
            assert place not in found, place
            found[place] = {name: exact(value) for name, value in item.items()}
    return found


def exact(value: Wire) -> Wire:
    """Make numbers comparable."""
    ((kind, inner),) = value.items()
    match kind:
        case "N":
            return {"N": Decimal(inner)}
        case "NS":
            return {"NS": sorted(Decimal(member) for member in inner)}
        case "SS" | "BS":
            return {kind: sorted(inner)}
        case "L":
            return {"L": [exact(element) for element in inner]}
        case "M":
            return {"M": {name: exact(field) for name, field in inner.items()}}
    return value


def assert_balanced(report: dict[str, Any]) -> None:
    assert report["items_emitted"] == sum(report[fate] for fate in FATES), report
