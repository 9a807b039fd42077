"""Read a whole table as wire JSON over plain HTTP: fast enough to compare 100,000 items many times."""

import json
import urllib.request
from typing import Any

import orjson

_HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request,"
    " SignedHeaders=host, Signature=0",
    "X-Amz-Date": "20260101T000000Z",
}


def call(endpoint: str, operation: str, body: dict[str, Any]) -> dict[str, Any]:
    """Make one call to an emulator that doesn't check signatures."""
    request = urllib.request.Request(
        endpoint,
        data=json.dumps(body).encode(),
        headers={**_HEADERS, "X-Amz-Target": f"DynamoDB_20120810.{operation}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return orjson.loads(answer.read())


def scan(endpoint: str, table: str, key: tuple[str, ...] = ("PK", "SK")) -> dict[tuple[str, ...], Any]:
    """Return every item as DynamoDB JSON by its primary key."""
    items: dict[tuple[str, ...], Any] = {}
    body: dict[str, Any] = {"TableName": table, "ConsistentRead": True}
    while True:
        page = call(endpoint, "Scan", body)
        for item in page["Items"]:
            place = tuple(json.dumps(item[name], sort_keys=True) for name in key)
            assert place not in items, f"the scan gave {place} twice"
            items[place] = item
        if "LastEvaluatedKey" not in page:
            return items
        body["ExclusiveStartKey"] = page["LastEvaluatedKey"]
