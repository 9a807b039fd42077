"""The job's `target` section for DynamoDB.

Invariant: a table that is to be created can be: its keys, types and capacities fit together.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from connectors.dynamodb.limits import NUMBER_DIGITS_MAX, NUMBER_MAGNITUDE_MAX, NUMBER_MAGNITUDE_MIN
from engine.job.items import ItemRule
from engine.job.section import Misfit, Section, SomeNames, Text, pattern
from engine.job.sections import TargetSection

TABLE_NAME = pattern(
    r"^([a-zA-Z0-9_.-]{3,255}|arn:[^\s]{1,1020})$",
    "it must be a table's name (3 to 255 of A-Z a-z 0-9 _ - .) or ARN",
)
"""A table's name or ARN. Source: API_CreateTable and API_BatchWriteItem, TableName."""
INDEX_NAME = pattern(r"^[a-zA-Z0-9_.-]{3,255}$", "it must be an index's name (3 to 255 of A-Z a-z 0-9 _ - .)")
"""Source: API_GlobalSecondaryIndex, IndexName."""
KEY_ATTRIBUTES_MAX = 2
"""A partition key and a sort key. Source: API_CreateTable, KeySchema."""
TAGS_MAX = 50
"""Source: Amazon DynamoDB Developer Guide, "Tagging restrictions"."""
NO_NUMBER = "DynamoDB can't hold this number (38 digits, 1E-130 to 9.99E+125); quote it for a text"
ATTRIBUTE_NAME_MAX = 255
"""Of a key attribute. Source: API_KeySchemaElement, AttributeName."""
KMS_KEY = re.compile(
    r"default|kms|arn:\S+|alias/\S+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}"
)
"""Source: API_SSESpecification, KMSMasterKeyId."""

Mode: TypeAlias = Literal["put", "insert", "newer"]
PositiveInt: TypeAlias = Annotated[int, Field(ge=1)]
KeyName: TypeAlias = Annotated[str, Field(min_length=1, max_length=ATTRIBUTE_NAME_MAX)]


def _endpoint_url(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Misfit("it isn't a URL; write one such as http://127.0.0.1:8000") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misfit("it must be a URL such as http://127.0.0.1:8000")
    if "@" in parts.netloc:
        raise Misfit("it must hold no user or password; credentials come from the AWS defaults")
    return url


def _kms_key(text: str) -> str:
    if not KMS_KEY.fullmatch(text):
        raise Misfit("it must be default, kms, or the id, alias/… or ARN of a KMS key")
    return text


EndpointUrl: TypeAlias = Annotated[str, AfterValidator(_endpoint_url)]


class Gsi(Section):
    """A global secondary index of a table to create."""

    name: Annotated[str, Field(pattern=INDEX_NAME)]
    """The index's name."""
    partition_key: KeyName
    """The attribute that is its partition key."""
    sort_key: KeyName | None = None
    """The attribute that is its sort key, if it has one."""
    projection: Literal["all", "keys_only"] | SomeNames = "all"
    """What the index holds: `all`, `keys_only`, or a list of attributes."""


class Create(Section):
    """How `backfill table create` makes the target table."""

    partition_key: KeyName = "PK"
    """The attribute that is the partition key."""
    sort_key: KeyName | None = "SK"
    """The attribute that is the sort key; null for none."""
    key_types: dict[KeyName, Literal["S", "N", "B"]] = Field(default_factory=dict)
    """Type of each key attribute, of the table and its indexes; S where it isn't given."""
    billing: Literal["on_demand", "provisioned"] = "on_demand"
    """How capacity is paid for."""
    read_capacity: PositiveInt | None = None
    """Read units per second of the table and of each index, with `billing: provisioned`."""
    write_capacity: PositiveInt | None = None
    """Write units per second of the table and of each index, with `billing: provisioned`."""
    gsi: tuple[Gsi, ...] = ()
    """Global secondary indexes."""
    pitr: bool = False
    """Point-in-time recovery."""
    encryption: Annotated[str, AfterValidator(_kms_key)] = "default"
    """`default` (a key owned by AWS), `kms` (managed by AWS), or the id, alias or ARN of a KMS key."""
    tags: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=128)], Annotated[str, Field(max_length=256)]],
        Field(max_length=TAGS_MAX),
    ] = Field(default_factory=dict)
    """The table's tags."""
    stream: Literal["keys_only", "new_image", "old_image", "new_and_old_images"] | None = None
    """What the table's stream shows; no stream by default."""
    warm_throughput: Annotated[dict[Literal["read", "write"], PositiveInt], Field(min_length=1)] | None = None
    """Units per second (`read`, `write`) that the table is warmed for, so that a load needn't wait for it."""
    deletion_protection: bool = False
    """Whether the table is protected from deletion."""

    @model_validator(mode="after")
    def _check(self) -> "Create":
        if self.partition_key == self.sort_key:
            raise Misfit("it is the partition key already", "sort_key")
        names: set[str] = set()
        for position, index in enumerate(self.gsi):
            if index.name in names:
                raise Misfit("another index has this name", "gsi", position, "name")
            if index.partition_key == index.sort_key:
                raise Misfit("it is the index's partition key already", "gsi", position, "sort_key")
            names.add(index.name)
        for name in self.key_types:
            if name not in self.key_attributes:
                known = ", ".join(sorted(self.key_attributes))
                raise Misfit(
                    f"neither the table nor an index has this key; types fit: {known}", "key_types", name
                )
        for key, units in (("read_capacity", self.read_capacity), ("write_capacity", self.write_capacity)):
            if self.billing == "provisioned" and units is None:
                raise Misfit("`billing: provisioned` needs it", key)
            if self.billing == "on_demand" and units is not None:
                raise Misfit("it needs `billing: provisioned`", key)
        return self

    @property
    def table_key(self) -> tuple[str, ...]:
        """The table's key attributes, the partition key first."""
        return (self.partition_key,) if self.sort_key is None else (self.partition_key, self.sort_key)

    @property
    def key_attributes(self) -> frozenset[str]:
        """The key attributes of the table and of all its indexes."""
        of_indexes = {
            key for index in self.gsi for key in (index.partition_key, index.sort_key) if key is not None
        }
        return frozenset({*self.table_key, *of_indexes})


class DynamoDBSection(TargetSection):
    """A DynamoDB table."""

    DECIDES = frozenset({"table", "region", "endpoint_url", "mode", "version"})

    type: Literal["dynamodb"]
    """The kind of target."""
    table: Annotated[str, Field(pattern=TABLE_NAME)]
    """The table's name or ARN."""
    region: Text | None = None
    """The AWS region; by default from the environment or the profile."""
    endpoint_url: EndpointUrl | None = None
    """Another endpoint than the region's, such as a local server's."""
    profile: Text | None = None
    """The profile of the AWS configuration to take credentials and region from."""
    plain_http: bool = False
    """Whether AWS's own keys may be used over `http://` to another machine."""
    mode: Mode = "put"
    """`put` replaces, `insert` keeps what is there, `newer` writes where `version` is greater."""
    version: Text | None = None
    """The attribute that `mode: newer` compares."""
    expired: Literal["load", "skip"] = "load"
    """Items that the table's time to live has expired already: write them, or leave them out."""
    max_wcu: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The most write units per second, over all workers; by default the load adapts to throttling."""
    give_up_after_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600.0
    """Seconds for which an unreachable target is waited for before the run stops, resumable."""
    stop_after_refusals: PositiveInt | None = 1_000
    """So many items refused by the target with none written between them end the run; null for never."""
    create: Create | None = None
    """How `backfill table create` makes the table."""

    @model_validator(mode="after")
    def _check(self) -> "DynamoDBSection":
        if self.mode == "newer" and self.version is None:
            raise Misfit("`newer` needs `version`, the attribute to compare", "mode")
        if self.version is not None and "mode" not in self.model_fields_set:
            raise Misfit("only `mode: newer` compares it; say which mode is meant", "version")
        return self

    @property
    def writes_to(self) -> str:
        """The table's name or ARN."""
        return self.table

    @property
    def place(self) -> tuple[str | None, ...]:
        """What is equal in two jobs that write to one table."""
        return (self.type, self.table, self.region, self.endpoint_url, self.profile)

    def may_be(self, other: TargetSection) -> bool:
        """Say whether both may be one table: an ARN ends with its name, and replicas share it."""
        return isinstance(other, DynamoDBSection) and self._name == other._name

    @property
    def _name(self) -> str:
        return self.table.rpartition("/")[2]

    @property
    def rate_max(self) -> float | None:
        """The most write units per second, over all workers."""
        return self.max_wcu

    @property
    def key(self) -> tuple[str, ...] | None:
        """The key that `create` gives the table."""
        return None if self.create is None else self.create.table_key

    @property
    def compared(self) -> str | None:
        """The version's attribute in mode `newer`."""
        return self.version if self.mode == "newer" else None

    @property
    def looked_into(self) -> tuple[str, ...]:
        """The version's attribute and the keys of the indexes to create, each once."""
        found = {} if self.compared is None else {self.compared: None}
        for index in () if self.create is None else self.create.gsi:
            found |= dict.fromkeys(name for name in (index.partition_key, index.sort_key) if name is not None)
        return tuple(found)

    def in_mode(self, mode: str) -> "DynamoDBSection":
        """Return this section in another mode, with all items; only `newer` has a version."""
        version = self.version if mode == "newer" else None
        return self.model_copy(update={"mode": mode, "version": version, "expired": "load"})

    def patient(self) -> "DynamoDBSection":
        """Return this section with no end to refusals."""
        return self.model_copy(update={"stop_after_refusals": None})

    def check_rules(self, rules: Sequence[ItemRule]) -> None:
        """See that a table can have these keys, literal numbers and versions. Raises: Misfit."""
        for position, rule in enumerate(rules):
            if len(rule.key) > KEY_ATTRIBUTES_MAX:
                raise Misfit(f"it must have at most {KEY_ATTRIBUTES_MAX} entries", "items", position, "key")
            for name, value in rule.attributes.items():
                if isinstance(value, Decimal) and not fits(value):
                    raise Misfit(NO_NUMBER, "items", position, "attributes", name)
            if self.compared is not None:
                self._check_version(self.compared, position, rule)

    def _check_version(self, version: str, position: int, rule: ItemRule) -> None:
        if version in rule.key:
            raise Misfit(
                "a key attribute is equal in both items, so it can't tell the newer", "target", "version"
            )
        known = rule.attributes_known
        if (known is not None and version not in known) or (
            known is None and version in rule.exclude and version not in rule.attributes
        ):
            raise Misfit(
                f"its items have no attribute {version!r}, which target.version compares", "items", position
            )


def fits(number: Decimal) -> bool:
    """Return whether a literal number is one that DynamoDB holds exactly."""
    if not number.is_finite():
        return False
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    return len(digits) <= NUMBER_DIGITS_MAX and (
        not number or NUMBER_MAGNITUDE_MIN <= number.adjusted() <= NUMBER_MAGNITUDE_MAX
    )
