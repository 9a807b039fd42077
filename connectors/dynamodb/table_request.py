"""`target.create` as DynamoDB's requests, and what an existing table lacks of it.

Invariant: pure; nothing here calls DynamoDB.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from connectors.dynamodb.section import Create, DynamoDBSection, Gsi
from connectors.dynamodb.table_info import KeyAttribute, TableInfo, table_info

OPTIONAL = ("WarmThroughput", "Tags", "SSESpecification", "DeletionProtectionEnabled", "StreamSpecification")
"""What a table can do without; emulators refuse one or another."""


def create_request(table: str, create: Create) -> dict[str, Any]:
    """Return CreateTable's parameters.

    Each index gets the table's capacity and warm throughput: a starved index throttles the table.
    """
    capacity = _capacity(create)
    request: dict[str, Any] = {
        "TableName": table,
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": create.key_types.get(name, "S")}
            for name in sorted(create.key_attributes)
        ],
        "KeySchema": _schema(create.partition_key, create.sort_key),
        "BillingMode": "PAY_PER_REQUEST" if create.billing == "on_demand" else "PROVISIONED",
        **capacity,
    }
    if create.gsi:
        request["GlobalSecondaryIndexes"] = [_index(index, capacity) for index in create.gsi]
    if create.stream is not None:
        request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": create.stream.upper()}
    if create.encryption != "default":
        key = {} if create.encryption == "kms" else {"KMSMasterKeyId": create.encryption}
        request["SSESpecification"] = {"Enabled": True, "SSEType": "KMS", **key}
    if create.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in create.tags.items()]
    if create.deletion_protection:
        request["DeletionProtectionEnabled"] = True
    return request


def key_differences(info: TableInfo, create: Create) -> Iterator[str]:
    """Say, a clause each, in which keys an existing table isn't the one that the job describes."""
    wanted = _typed(create, *create.table_key)
    if info.keys != wanted:
        yield f"its key is {_named(info.keys)}, target.create says {_named(wanted)}"
    existing = {index.name: index.keys for index in info.indexes}
    for index in create.gsi:
        wanted = _typed(create, index.partition_key, index.sort_key)
        keys = existing.get(index.name, wanted)
        if keys != wanted:
            yield f"its index {index.name} has the key {_named(keys)}, target.create says {_named(wanted)}"


def missing_indexes(info: TableInfo, create: Create) -> list[str]:
    """Return the names of the indexes that the job describes and the table hasn't."""
    existing = {index.name for index in info.indexes}
    return [index.name for index in create.gsi if index.name not in existing]


def pending(table: Mapping[str, Any]) -> list[str]:
    """Return what of a DescribeTable answer isn't ready yet, a clause each; empty: all is ready."""
    parts = {"table": table["TableStatus"]}
    for index in table.get("GlobalSecondaryIndexes") or ():
        parts[f"index {index['IndexName']}"] = index.get("IndexStatus", "ACTIVE")
    warm = (table.get("WarmThroughput") or {}).get("Status", "ACTIVE")
    if warm == "UPDATING":
        parts["warm throughput"] = warm
    return [f"{part} {status}" for part, status in parts.items() if status != "ACTIVE"]


def _index(index: Gsi, capacity: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(index.projection, str):
        projection: dict[str, Any] = {"ProjectionType": index.projection.upper()}
    else:
        projection = {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(index.projection)}
    return {
        "IndexName": index.name,
        "KeySchema": _schema(index.partition_key, index.sort_key),
        "Projection": projection,
        **capacity,
    }


def _capacity(create: Create) -> dict[str, Any]:
    capacity: dict[str, Any] = {}
    if create.billing == "provisioned":
        capacity["ProvisionedThroughput"] = {
            "ReadCapacityUnits": create.read_capacity,
            "WriteCapacityUnits": create.write_capacity,
        }
    if create.warm_throughput:
        names = {"read": "ReadUnitsPerSecond", "write": "WriteUnitsPerSecond"}
        capacity["WarmThroughput"] = {names[kind]: units for kind, units in create.warm_throughput.items()}
    return capacity


def _schema(partition_key: str, sort_key: str | None) -> list[dict[str, str]]:
    schema = [{"AttributeName": partition_key, "KeyType": "HASH"}]
    return schema if sort_key is None else [*schema, {"AttributeName": sort_key, "KeyType": "RANGE"}]


def _typed(create: Create, *names: str | None) -> tuple[KeyAttribute, ...]:
    return tuple(KeyAttribute(name, create.key_types.get(name, "S")) for name in names if name is not None)


def _named(keys: tuple[KeyAttribute, ...]) -> str:
    return " and ".join(f"{key.name} ({key.type})" for key in keys)


def planned_table(section: DynamoDBSection) -> TableInfo:
    """Return the table that `target.create` describes, as it would be once it is there."""
    assert section.create is not None, "only a table that is to be created is planned"
    request = create_request(section.table, section.create)
    billing = {"BillingMode": request["BillingMode"]}
    return table_info({**request, "BillingModeSummary": billing, "TableStatus": "ACTIVE"})
