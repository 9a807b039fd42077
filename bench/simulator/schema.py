"""What a table is: its keys and indexes, read out of CreateTable as DynamoDB checks it. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, TypeAlias

from bench.simulator.errors import constraint, invalid, invalid_value
from bench.simulator.values import check, comparable, item_size
from connectors.dynamodb.limits import PARTITION_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX

Item: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[Any, ...]
"""A primary key: its place on the ring of hashes, then its values, so that keys sort as a scan goes."""

RING: Final = 1 << 64
INDEXES_MAX: Final = 20
"""Global indexes of a table. Source: Developer Guide, "Service quotas"."""
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class KeyAttributes:
    """The attributes of a key. An index may have several of each sort."""

    partition: tuple[str, ...]
    sort: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All attributes, partition first."""
        return self.partition + self.sort

    def key(self, item: Mapping[str, Any]) -> Key:
        """Return the key of an item that has it."""
        place = ring(item[name] for name in self.partition)
        return (place, *[comparable(item[name]) for name in self.names])


@dataclass(frozen=True, slots=True)
class IndexSchema:
    """A global secondary index. `projected` None: all attributes."""

    name: str
    keys: KeyAttributes
    projected: frozenset[str] | None
    definition: Mapping[str, Any]

    def entry(self, item: Item | None, size: int) -> "Entry | None":
        """Return what the index holds of an item; None when the item isn't in it."""
        if item is None or any(name not in item for name in self.keys.names):
            return None
        if self.projected is None:
            return Entry(self.keys.key(item), item, size)
        part = {name: value for name, value in item.items() if name in self.projected}
        return Entry(self.keys.key(item), part, item_size(part))


@dataclass(frozen=True, slots=True)
class Entry:
    """One item as an index holds it."""

    key: Key
    item: Item
    size: int


@dataclass(frozen=True, slots=True)
class Schema:
    """A table's keys, the types of their attributes, and its indexes by name."""

    name: str
    keys: KeyAttributes
    types: Mapping[str, str]
    indexes: Mapping[str, IndexSchema]

    def check_put(self, item: Item, *, batch: bool) -> Key:
        """Check an item's keys, the table's and the indexes', and return its primary key."""
        for name in self.keys.names:
            if name not in item:
                raise invalid_value(f"Missing the key {name} in the item")
            [actual] = item[name]
            if actual != self.types[name]:
                if batch:
                    raise _mismatch()
                raise invalid_value(
                    f"Type mismatch for key {name} expected: {self.types[name]} actual: {actual}"
                )
        self._check_lengths(self.keys, item)
        for index in self.indexes.values():
            self._check_index(index, item)
        return self.keys.key(item)

    def check_key(self, key: Any) -> Key:
        """Check a key that was given alone and return it."""
        if type(key) is not dict or key.keys() != set(self.keys.names):
            raise _mismatch()
        for name, value in key.items():
            check(value)
            if [*value] != [self.types[name]]:
                raise _mismatch()
        self._check_lengths(self.keys, key)
        return self.keys.key(key)

    def _check_lengths(self, keys: KeyAttributes, item: Item) -> None:
        for name in keys.names:
            [(kind, content)] = item[name].items()
            if not content:
                raise invalid(_EMPTY_KEY.format(kind="string" if kind == "S" else "binary") + f" Key: {name}")
            _check_length(item[name], sort=name in keys.sort)

    def _check_index(self, index: IndexSchema, item: Item) -> None:
        for name in index.keys.names:
            if name not in item:
                continue
            [(kind, content)] = item[name].items()
            if kind != self.types[name]:
                raise invalid_value(
                    f"Type mismatch for Index Key {name} Expected: {self.types[name]} Actual: {kind} "
                    f"IndexName: {index.name}"
                )
            if not content:
                empty = _EMPTY_KEY.removeprefix(_NOT_VALID).format(kind="string" if kind == "S" else "binary")
                raise invalid(
                    f"{_NOT_VALID}A value specified for a secondary index key is not supported. {empty} "
                    f"IndexName: {index.name}, IndexKey: {name}"
                )
            _check_length(item[name], sort=name in index.keys.sort)


_NOT_VALID: Final = "One or more parameter values are not valid. "
_EMPTY_KEY: Final = (
    _NOT_VALID + "The AttributeValue for a key attribute cannot contain an empty {kind} value."
)


def ring(values: Iterable[Mapping[str, Any]]) -> int:
    """Return where a partition key lies among all: an even spread, the same for ever."""
    digest = blake2b(digest_size=8)
    for value in values:
        for content in value.values():
            digest.update(content.encode() + b"\0")
    return int.from_bytes(digest.digest())


def read_schema(request: Mapping[str, Any]) -> Schema:
    """Check CreateTable's parameters and return the table's schema."""
    name = table_name(request)
    types = attribute_types(request)
    keys = key_schema(request.get("KeySchema"), types)
    indexes: dict[str, IndexSchema] = {}
    for definition in request.get("GlobalSecondaryIndexes") or ():
        index = read_index(definition, keys, types)
        if index.name in indexes:
            raise invalid_value(f"Duplicate index name: {index.name}")
        indexes[index.name] = index
    if len(indexes) > INDEXES_MAX:
        raise invalid_value(f"GlobalSecondaryIndex count exceeds the per-table limit of {INDEXES_MAX}")
    if request.get("LocalSecondaryIndexes"):
        raise invalid_value("The simulator has no local secondary indexes")
    used = {*keys.names, *[each for index in indexes.values() for each in index.keys.names]}
    if used != types.keys():
        raise invalid_value(
            "Number of attributes in KeySchema does not exactly match number of attributes defined in "
            "AttributeDefinitions"
        )
    return Schema(name, keys, types, indexes)


def table_name(request: Mapping[str, Any]) -> str:
    """Return the table's name that a request gives, if one may be called so."""
    name = request.get("TableName")
    if name is None:
        raise invalid("The parameter 'TableName' is required but was not present in the request")
    if type(name) is not str:
        raise invalid("TableName must be a string")
    name = name.rpartition("/")[2] if name.startswith("arn:") else name
    if not _NAME.fullmatch(name):
        raise constraint("tableName", "satisfy regular expression pattern: [a-zA-Z0-9_.-]+", name)
    if len(name) < 3:
        raise constraint("tableName", "have length greater than or equal to 3", name)
    if len(name) > 255:
        raise constraint("tableName", "have length less than or equal to 255", name)
    return name


def attribute_types(request: Mapping[str, Any]) -> dict[str, str]:
    """Return AttributeDefinitions by name."""
    types = {
        each["AttributeName"]: each["AttributeType"] for each in request.get("AttributeDefinitions") or ()
    }
    for kind in types.values():
        if kind not in ("S", "N", "B"):
            raise constraint(
                "attributeDefinitions.1.member.attributeType", "satisfy enum value set: [B, N, S]", kind
            )
    return types


def key_schema(schema: Sequence[Mapping[str, str]] | None, types: Mapping[str, str]) -> KeyAttributes:
    """Return a KeySchema whose attributes are all defined."""
    if not schema:
        raise constraint("keySchema", "not be null", "null")
    by_type: dict[str, list[str]] = {"HASH": [], "RANGE": []}
    for each in schema:
        by_type.setdefault(each["KeyType"], []).append(each["AttributeName"])
    if by_type.keys() != {"HASH", "RANGE"} or schema[0]["KeyType"] != "HASH":
        raise invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    keys = KeyAttributes(tuple(by_type["HASH"]), tuple(by_type["RANGE"]))
    missing = [name for name in keys.names if name not in types]
    if missing:
        raise invalid_value(
            "Some index key attributes are not defined in AttributeDefinitions. "
            f"Keys: [{', '.join(missing)}], AttributeDefinitions: [{', '.join(types)}]"
        )
    return keys


def read_index(definition: Mapping[str, Any], table: KeyAttributes, types: Mapping[str, str]) -> IndexSchema:
    """Return one index of CreateTable or UpdateTable."""
    keys = key_schema(definition.get("KeySchema"), types)
    projection = definition.get("Projection") or {}
    kind, others = projection.get("ProjectionType"), projection.get("NonKeyAttributes") or ()
    if kind not in ("ALL", "KEYS_ONLY", "INCLUDE"):
        raise invalid_value(f"Unknown ProjectionType: {kind}")
    if bool(others) != (kind == "INCLUDE"):
        said = "is specified" if others else "is not specified"
        raise invalid_value(f"ProjectionType is {kind}, but NonKeyAttributes {said}")
    projected = None if kind == "ALL" else frozenset((*keys.names, *table.names, *others))
    return IndexSchema(definition["IndexName"], keys, projected, definition)


def _check_length(value: Mapping[str, Any], *, sort: bool) -> None:
    size = check(dict(value))
    if sort and size > SORT_KEY_BYTES_MAX:
        raise invalid_value(
            f"Aggregated size of all range keys has exceeded the size limit of {SORT_KEY_BYTES_MAX} bytes"
        )
    if size > PARTITION_KEY_BYTES_MAX:
        # "of2048": so says the service.
        raise invalid_value(
            f"Size of hashkey has exceeded the maximum size limit of{PARTITION_KEY_BYTES_MAX} bytes"
        )


def _mismatch() -> Exception:
    return invalid("The provided key element does not match the schema")
