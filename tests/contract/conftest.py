"""Each server that stands in for DynamoDB, and a table in it."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.support.server_items import ONCE, schema


@pytest.fixture(params=["simulator", "dynoxide", "dynamodb_local"])
def client(request: pytest.FixtureRequest) -> Any:
    """A client of each server; botocore proves the checksum of every answer."""
    url = request.getfixturevalue(request.param)
    return boto3.client("dynamodb", region_name="us-east-1", endpoint_url=url, config=ONCE)


@pytest.fixture
def table(client: Any, table_name: str) -> Iterator[str]:
    """A table with a partition and a sort key, and an index with a number as its sort key."""
    client.create_table(
        TableName=table_name,
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind}
            for name, kind in (("PK", "S"), ("SK", "S"), ("G", "S"), ("H", "N"))
        ],
        KeySchema=schema("PK", "SK"),
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[
            {"IndexName": "gsi", "KeySchema": schema("G", "H"), "Projection": {"ProjectionType": "ALL"}}
        ],
    )
    yield table_name
    client.delete_table(TableName=table_name)
