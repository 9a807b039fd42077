"""What the suite of the servers that stand in for DynamoDB writes, and how it reads it back."""

from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

ONCE = Config(retries={"total_max_attempts": 1})


def schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]


def item(sort: str = "s", /, **attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"PK": {"S": "p"}, "SK": {"S": sort}, **attributes}


def put(sort: str = "s", /, **attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"PutRequest": {"Item": item(sort, **attributes)}}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "x"}
    for _ in range(levels):
        value = {"L": [value]}
    return value


def everything(client: Any, table: str, **more: Any) -> list[dict[str, Any]]:
    pages = client.get_paginator("scan").paginate(TableName=table, **more)
    return [each for page in pages for each in page["Items"]]


def unchecked(client: Any) -> Any:
    """Return a client without botocore's own checks, which aren't the service's."""
    config = client.meta.config.merge(Config(parameter_validation=False))
    return boto3.client(
        "dynamodb", region_name="us-east-1", endpoint_url=client.meta.endpoint_url, config=config
    )
