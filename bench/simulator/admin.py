"""The operations on tables themselves: create, describe, update, delete, list."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from bench.simulator.capacity import Resources
from bench.simulator.database import Call, Database, capacities_of
from bench.simulator.errors import constraint, in_use, invalid, invalid_value
from bench.simulator.schema import IndexSchema, Schema, attribute_types, read_index, read_schema, table_name
from bench.simulator.settings import TABLE, Billing, Capacity, capacity_of
from bench.simulator.table import Table

ARN: Final = "arn:aws:dynamodb:us-east-1:000000000000:table/"
BILLINGS: Final = ("PROVISIONED", "PAY_PER_REQUEST")
KEPT: Final = ("StreamSpecification", "DeletionProtectionEnabled", "OnDemandThroughput")
"""Settings that are told as they were made and change nothing else."""
LIST_MAX: Final = 100
"""Names of one answer. Source: API_ListTables, Limit."""


def create_table(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Create a table; the next look finds it active."""
    schema = read_schema(request)
    if schema.name in database.tables:
        raise in_use(f"Table already exists: {schema.name}")
    billing = _billing(request, request.get("BillingMode", "PROVISIONED"))
    for each in request.get("GlobalSecondaryIndexes") or ():
        _billing(each, billing, index=each["IndexName"])
    capacities = capacities_of(schema, request, billing)
    if database.forced is not None:
        capacities = dict.fromkeys(capacities, database.forced)
    settings = {
        "CreationDateTime": call.wall,
        "TableArn": ARN + schema.name,
        "TableId": str(uuid.uuid4()),
        **{name: request[name] for name in KEPT if name in request},
    }
    table = Table(schema, capacities, Resources.build(capacities, database.model, call.now), settings)
    database.tables[schema.name] = table
    return {"TableDescription": describe(table, "CREATING")}


def describe_table(database: Database, request: Mapping[str, Any], _: Call) -> dict[str, Any]:
    """Describe a table."""
    return {"Table": describe(database.table(request.get("TableName"), named=True))}


def delete_table(database: Database, request: Mapping[str, Any], _: Call) -> dict[str, Any]:
    """Delete a table and everything that is known of it."""
    table = database.table(request.get("TableName"), named=True)
    if table.settings.get("DeletionProtectionEnabled"):
        raise invalid(
            "Resource cannot be deleted as it is currently protected against deletion. "
            "Disable deletion protection first."
        )
    del database.tables[table.schema.name]
    return {"TableDescription": describe(table, "DELETING")}


def list_tables(database: Database, request: Mapping[str, Any], _: Call) -> dict[str, Any]:
    """List the tables' names."""
    limit = request.get("Limit", LIST_MAX)
    if not 1 <= limit <= LIST_MAX:
        raise constraint("limit", f"have value between 1 and {LIST_MAX}", str(limit))
    start = request.get("ExclusiveStartTableName", "")
    names = [name for name in sorted(database.tables) if name > start]
    more = {"LastEvaluatedTableName": names[limit - 1]} if len(names) > limit else {}
    return {"TableNames": names[:limit], **more}


def update_table(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Change billing, capacity, warm throughput or indexes; everything holds at once."""
    name = table_name(request)
    table = database.table(name, named=True)
    changes = request.keys() - {"TableName", "AttributeDefinitions"}
    if not changes:
        raise invalid(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, "
            "GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required"
        )
    table.settings.update({key: request[key] for key in KEPT if key in request})
    if changes & {"BillingMode", "ProvisionedThroughput", "WarmThroughput", "OnDemandThroughput"}:
        _set(database, table, TABLE, request, call.now)
    for update in request.get("GlobalSecondaryIndexUpdates") or ():
        _update_index(database, table, update, request, call.now)
    return {"TableDescription": describe(table, "UPDATING")}


def describe(table: Table, status: str = "ACTIVE") -> dict[str, Any]:
    """Return what DynamoDB says of a table."""
    schema, capacity = table.schema, table.capacities[TABLE]
    description: dict[str, Any] = {
        "TableName": schema.name,
        "TableStatus": status,
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind in schema.types.items()
        ],
        "KeySchema": _elements(schema.keys.partition, schema.keys.sort),
        "ItemCount": len(table.items),
        "TableSizeBytes": table.size,
        **table.settings,
        **_throughput(capacity, status),
    }
    if capacity.write is None:
        description["BillingModeSummary"] = {"BillingMode": "PAY_PER_REQUEST"}
    if schema.indexes:
        description["GlobalSecondaryIndexes"] = [
            _describe_index(table, index, "CREATING" if status == "CREATING" else "ACTIVE")
            for index in schema.indexes.values()
        ]
    return description


def _describe_index(table: Table, index: IndexSchema, status: str) -> dict[str, Any]:
    return {
        "IndexName": index.name,
        "IndexArn": f"{ARN}{table.schema.name}/index/{index.name}",
        "IndexStatus": status,
        "KeySchema": _elements(index.keys.partition, index.keys.sort),
        "Projection": index.definition["Projection"],
        "ItemCount": 0,
        "IndexSizeBytes": 0,
        **_throughput(table.capacities[index.name], status),
    }


def _throughput(capacity: Capacity, status: str) -> dict[str, Any]:
    warm_write, warm_read = capacity.write or capacity.warm_write, capacity.read or capacity.warm_read
    return {
        "ProvisionedThroughput": {
            "NumberOfDecreasesToday": 0,
            "ReadCapacityUnits": int(capacity.read or 0),
            "WriteCapacityUnits": int(capacity.write or 0),
        },
        "WarmThroughput": {
            "ReadUnitsPerSecond": int(warm_read),
            "WriteUnitsPerSecond": int(warm_write),
            "Status": "ACTIVE" if status == "ACTIVE" else "UPDATING",
        },
    }


def _elements(partition: tuple[str, ...], sort: tuple[str, ...]) -> list[dict[str, str]]:
    return [
        *({"AttributeName": name, "KeyType": "HASH"} for name in partition),
        *({"AttributeName": name, "KeyType": "RANGE"} for name in sort),
    ]


def _billing(part: Mapping[str, Any], billing: Any, *, index: str | None = None) -> Billing:
    """Check that a capacity is given exactly where the billing mode wants one."""
    if billing not in BILLINGS:
        raise constraint(
            "billingMode", "satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]", str(billing)
        )
    where = "" if index is None else f" for index: {index}"
    given = part.get("ProvisionedThroughput")
    if billing == "PROVISIONED":
        if not given or not {"ReadCapacityUnits", "WriteCapacityUnits"} <= given.keys():
            raise invalid_value(
                "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is "
                "PROVISIONED" + where
            )
        if min(given.values()) < 1:
            raise constraint("provisionedThroughput", "have value greater than or equal to 1", "0")
    elif given:
        raise invalid_value(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is "
            "PAY_PER_REQUEST" + where
        )
    return "PROVISIONED" if billing == "PROVISIONED" else "PAY_PER_REQUEST"


def _set(database: Database, table: Table, index: str, part: Mapping[str, Any], now: float) -> None:
    """Bring what is known of a capacity up to what a request asks for."""
    known = table.capacities[index]
    was = "PAY_PER_REQUEST" if known.write is None else "PROVISIONED"
    billing = part.get("BillingMode", was)
    if billing == "PROVISIONED" and "ProvisionedThroughput" not in part:
        wanted = known
    else:
        wanted = capacity_of(part, _billing(part, billing, index=index or None))
    warm = part.get("WarmThroughput") or {}
    capacity = replace(
        wanted,
        warm_write=max(known.warm_write, float(warm.get("WriteUnitsPerSecond", 0))),
        warm_read=max(known.warm_read, float(warm.get("ReadUnitsPerSecond", 0))),
    )
    database.set_capacity(table, index, capacity, now, now)


def _update_index(
    database: Database, table: Table, update: Mapping[str, Any], request: Mapping[str, Any], now: float
) -> None:
    [(action, part)] = update.items()
    schema, name = table.schema, part["IndexName"]
    if action == "Create":
        if name in schema.indexes:
            raise invalid_value(f"Attempting to create an index which already exists: {name}")
        types = {**schema.types, **attribute_types(request)}
        on_demand = table.capacities[TABLE].write is None
        billing = _billing(part, "PAY_PER_REQUEST" if on_demand else "PROVISIONED", index=name)
        index = read_index(part, schema.keys, types)
        table.schema = Schema(schema.name, schema.keys, types, {**schema.indexes, name: index})
        database.set_capacity(table, name, database.forced or capacity_of(part, billing), now, now)
        return
    if name not in schema.indexes:
        raise invalid_value(f"The table does not have the specified index: {name}")
    if action == "Update":
        _set(database, table, name, part, now)
        return
    left = {each: index for each, index in schema.indexes.items() if each != name}
    used = {*schema.keys.names, *[each for index in left.values() for each in index.keys.names]}
    types = {each: kind for each, kind in schema.types.items() if each in used}
    table.schema = Schema(schema.name, schema.keys, types, left)
    del table.capacities[name]
    table.resources.write.pop(name)
    table.resources.read.pop(name)
