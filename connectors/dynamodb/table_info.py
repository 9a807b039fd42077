"""What a table is, as values: read from DescribeTable once, then passed around.

Invariant: pure; nothing here calls DynamoDB.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from connectors.dynamodb.expiry import TimeToLive
from engine.frozen import dataclass
from engine.plain import dumped, loaded

WRITABLE = ("ACTIVE", "UPDATING")
"""Statuses in which a table takes writes. Source: API reference, TableDescription.TableStatus."""


class KeyAttribute(NamedTuple):
    """A key attribute: its name, and its type S, N or B."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index. A local one shares the table's partition key and its capacity.

    Shape: `keys` the attributes of its key, partition first; an index may have several of each sort.
    `projection` is `ALL`, `KEYS_ONLY` or `INCLUDE`; `projected` the non-key attributes of the latter.
    Units: writes per second; None where no such setting is made.
    """

    name: str
    local: bool
    status: str
    keys: tuple[KeyAttribute, ...]
    projection: str
    projected: tuple[str, ...]
    write_capacity: int | None
    on_demand_write_max: int | None
    warm_write: int | None


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table as it was when it was described.

    Shape: `created_at` ISO 8601 in UTC; with `arn` and `table_id` (empty where an emulator has none) it tells
    this table from one made anew under its name.
    `indexes` the global ones first, by name.
    `pitr` None: not known (no permission, or an emulator without it). `stream` is the view type. `ttl` None:
    nothing expires, or that isn't known.
    Units: capacities in units per second, None where the setting isn't made; `item_count` and `size_bytes`
    are DynamoDB's own estimates, some six hours old.
    """

    name: str
    arn: str
    table_id: str
    created_at: str
    status: str
    partition_key: KeyAttribute
    sort_key: KeyAttribute | None
    indexes: tuple[Index, ...]
    billing: Literal["on_demand", "provisioned"]
    read_capacity: int | None
    write_capacity: int | None
    on_demand_write_max: int | None
    warm_read: int | None
    warm_write: int | None
    item_count: int
    size_bytes: int
    pitr: bool | None
    stream: str | None
    replicas: tuple[str, ...]
    ttl: TimeToLive | None = None

    @property
    def keys(self) -> tuple[KeyAttribute, ...]:
        """The partition key and, where there is one, the sort key."""
        return (self.partition_key,) if self.sort_key is None else (self.partition_key, self.sort_key)

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the key's attributes."""
        return tuple(attribute.name for attribute in self.keys)

    @property
    def identity(self) -> Mapping[str, str]:
        """What makes a table the same one tomorrow."""
        with_id = {"id": self.table_id} if self.table_id else {}
        return {"arn": self.arn, "created_at": self.created_at, **with_id}

    def as_text(self) -> str:
        """Return all of it as JSON, for another process; `from_text` reads it."""
        return dumped(self)


def table_info(
    table: Mapping[str, Any], pitr: bool | None = None, ttl: TimeToLive | None = None
) -> TableInfo:
    """Turn DescribeTable's `Table` into a value."""
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    partition_key, *sort_keys = _keys(table["KeySchema"], types)
    on_demand = table.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST"
    local = [_index(each, types, local=True) for each in table.get("LocalSecondaryIndexes") or ()]
    globals_ = [_index(each, types, local=False) for each in table.get("GlobalSecondaryIndexes") or ()]
    stream = table.get("StreamSpecification") or {}
    return TableInfo(
        name=table["TableName"],
        arn=table.get("TableArn", ""),
        table_id=table.get("TableId", ""),
        created_at=_iso(table.get("CreationDateTime")),
        status=table["TableStatus"],
        partition_key=partition_key,
        sort_key=sort_keys[0] if sort_keys else None,
        indexes=(*sorted(globals_, key=attrgetter("name")), *sorted(local, key=attrgetter("name"))),
        billing="on_demand" if on_demand else "provisioned",
        read_capacity=None if on_demand else _units(table, "ProvisionedThroughput", "ReadCapacityUnits"),
        write_capacity=None if on_demand else _units(table, "ProvisionedThroughput", "WriteCapacityUnits"),
        on_demand_write_max=_units(table, "OnDemandThroughput", "MaxWriteRequestUnits"),
        warm_read=_units(table, "WarmThroughput", "ReadUnitsPerSecond"),
        warm_write=_units(table, "WarmThroughput", "WriteUnitsPerSecond"),
        item_count=table.get("ItemCount", 0),
        size_bytes=table.get("TableSizeBytes", 0),
        pitr=pitr,
        stream=stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
        replicas=tuple(each["RegionName"] for each in table.get("Replicas") or () if "RegionName" in each),
        ttl=ttl,
    )


def from_text(text: str) -> TableInfo:
    """Return what `TableInfo.as_text` gave."""
    return loaded(TableInfo, text)


def _index(index: Mapping[str, Any], types: Mapping[str, str], *, local: bool) -> Index:
    projection = index.get("Projection") or {}
    return Index(
        name=index["IndexName"],
        local=local,
        status=index.get("IndexStatus", "ACTIVE"),
        keys=_keys(index["KeySchema"], types),
        projection=projection.get("ProjectionType", "ALL"),
        projected=tuple(projection.get("NonKeyAttributes") or ()),
        write_capacity=_units(index, "ProvisionedThroughput", "WriteCapacityUnits"),
        on_demand_write_max=_units(index, "OnDemandThroughput", "MaxWriteRequestUnits"),
        warm_write=_units(index, "WarmThroughput", "WriteUnitsPerSecond"),
    )


def _keys(schema: Sequence[Mapping[str, str]], types: Mapping[str, str]) -> tuple[KeyAttribute, ...]:
    """Return a key's attributes, partition first; DynamoDB says HASH and RANGE for partition and sort."""
    ordered = sorted(schema, key=lambda each: each["KeyType"] != "HASH")
    return tuple(KeyAttribute(each["AttributeName"], types[each["AttributeName"]]) for each in ordered)


def _units(part: Mapping[str, Any], group: str, name: str) -> int | None:
    """Return a capacity; 0 and -1 are how DynamoDB says that there is none."""
    units = (part.get(group) or {}).get(name)
    return int(units) if units is not None and units > 0 else None


def _iso(made: float | None) -> str:
    """Print seconds since the epoch in UTC with all their digits, so that it says the same tomorrow."""
    return "" if made is None else datetime.fromtimestamp(made, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
