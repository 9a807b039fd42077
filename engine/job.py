"""The job file's models: what a user may write, and nothing else.

Invariant: a Job that exists has passed every check that needs neither source nor target.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Section(BaseModel):
    """A frozen part of the job; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Embed(Section):
    """Children that become a list inside their parent row."""

    table: str
    on: dict[str, str]
    """Child column → parent column."""
    order_by: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    where: str | None = None


class PostgresSource(Section):
    """A PostgreSQL table or query."""

    type: Literal["postgres"]
    url: SecretStr
    table: str | None = None
    query: str | None = None
    key: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    where: str | None = None
    embed: dict[str, Embed] = Field(default_factory=dict)
    watermark: str | None = None
    segments: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)] = "auto"
    batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000


SourceSection: TypeAlias = PostgresSource


class Gsi(Section):
    """A global secondary index of a table to create."""

    name: str
    partition_key: str
    sort_key: str | None = None
    projection: Literal["all", "keys_only"] | tuple[str, ...] = "all"


class Create(Section):
    """How `backfill table create` makes the target table."""

    partition_key: str = "PK"
    sort_key: str | None = "SK"
    key_types: dict[str, Literal["S", "N", "B"]] = Field(default_factory=dict)
    """Type of each key attribute, of the table and its indexes; S where it isn't given."""
    billing: Literal["on_demand", "provisioned"] = "on_demand"
    read_capacity: int | None = None
    write_capacity: int | None = None
    gsi: tuple[Gsi, ...] = ()
    pitr: bool = False
    encryption: Literal["default", "kms"] | str = "default"  # noqa: PYI051 - or the ARN of a KMS key
    tags: dict[str, str] = Field(default_factory=dict)
    stream: Literal["keys_only", "new_image", "old_image", "new_and_old_images"] | None = None
    warm_throughput: dict[Literal["read", "write"], int] | None = None
    deletion_protection: bool = False


class DynamoDBTarget(Section):
    """A DynamoDB table."""

    type: Literal["dynamodb"]
    table: str
    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None
    mode: Literal["put", "insert", "newer"] = "put"
    version: str | None = None
    max_wcu: Annotated[float, Field(gt=0)] | None = None
    give_up_after_s: Annotated[float, Field(gt=0)] = 600.0
    """Seconds for which an unreachable target is waited for before the run stops, resumable."""
    create: Create | None = None


class Value(Section):
    """An attribute from a template, with the type it is to have."""

    value: str
    as_: Literal["S", "N", "B", "BOOL", "L", "M", "SS", "NS", "BS", "epoch_s", "epoch_ms", "json"] | None = (
        Field(default=None, alias="as")
    )


class Sql(Section):
    """An attribute from a Polars SQL expression over the source columns."""

    sql: str
    as_: Literal["S", "N", "B", "BOOL", "L", "M", "SS", "NS", "BS", "epoch_s", "epoch_ms", "json"] | None = (
        Field(default=None, alias="as")
    )


class ItemRule(Section):
    """How every source row becomes an item (or several, with `for_each`)."""

    name: str
    when: str | None = None
    for_each: str | None = None
    key: dict[str, str]
    include: Literal["all", "none"] | tuple[str, ...] = "none"
    exclude: tuple[str, ...] = ()
    attributes: dict[str, str | int | float | bool | Value | Sql] = Field(default_factory=dict)
    delete_when: str | None = None


class Options(Section):
    """How values are treated."""

    nulls: Literal["omit", "keep"] = "omit"
    on_invalid: Literal["dead_letter", "fail"] = "dead_letter"
    numbers: Literal["exact", "string"] = "exact"


class SqliteState(Section):
    """State in files below --state."""

    type: Literal["sqlite"] = "sqlite"


class DynamoDBState(Section):
    """State in a DynamoDB table, for runs that may go on from another machine."""

    type: Literal["dynamodb"]
    table: str
    region: str | None = None
    endpoint_url: str | None = None


class Job(Section):
    """One load: a source, a target, the rules between them."""

    name: str
    source: SourceSection
    target: DynamoDBTarget
    transform: str | None = None
    items: tuple[ItemRule, ...]
    options: Options = Options()
    state: SqliteState | DynamoDBState = SqliteState()

    def fingerprint_parts(self) -> dict[str, Any]:
        """Return what a checkpoint of this job depends on, without secrets."""
        raise NotImplementedError
