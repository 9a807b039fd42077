"""The `source` section: where rows are read.

Invariant: a section that exists says exactly one thing to read, and a query comes with its key.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from engine.job.section import Misfit, Names, Section, SomeNames, Text
from engine.job.watermark import AnyWatermark

SOURCE_TYPES = ("postgres", "mongodb")
POSTGRES_URL = re.compile(r"postgres(ql)?://", re.IGNORECASE)
"""Source: PostgreSQL manual, "Connection Strings", Connection URIs."""

MONGODB_URL = re.compile(r"mongodb(\+srv)?://")
"""Source: MongoDB manual, "Connection Strings"."""


def _postgres_url(url: SecretStr) -> SecretStr:
    if not POSTGRES_URL.match(url.get_secret_value()):
        raise Misfit("it must be a URL such as postgresql://user@host:5432/database")
    return url


def _mongodb_url(url: SecretStr) -> SecretStr:
    if not MONGODB_URL.match(url.get_secret_value()):
        raise Misfit("it must be a URL such as mongodb://user@host:27017/?replicaSet=rs0")
    return url


class Embed(Section):
    """Children that become a list inside their parent row."""

    table: Text
    """The children's table."""
    on: Annotated[dict[Text, Text], Field(min_length=1)]
    """Child column → parent column."""
    order_by: Names = ()
    """The child columns that give the list its order."""
    columns: SomeNames | None = None
    """The child columns to read; all by default."""
    where: Text | None = None
    """SQL over the child columns, sent to the server."""
    watermark: AnyWatermark = None
    """The child column that says when a child last changed; catch-up runs read its parents then."""


class PostgresSource(Section):
    """A PostgreSQL table or query."""

    type: Literal["postgres"]
    """The kind of source."""
    url: Annotated[SecretStr, AfterValidator(_postgres_url)]
    """Where the database is, `postgresql://user:password@host:5432/database`; better from the environment."""
    table: Text | None = None
    """The table or view to read, with its schema if need be."""
    query: Text | None = None
    """A SELECT to read instead of a table; needs `key`."""
    key: SomeNames | None = None
    """The columns by which reading goes on after a stop; the primary key by default."""
    columns: SomeNames | None = None
    """The columns to read; all by default."""
    where: Text | None = None
    """SQL over the columns, sent to the server: only these rows are read."""
    embed: dict[Text, Embed] = Field(default_factory=dict)
    """Lists of children by the name of the column that they become."""
    watermark: AnyWatermark = None
    """The column that says when a row last changed, or a section; makes catch-up runs possible."""
    segments: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)] = "auto"
    """Into how many ranges the source is cut."""
    batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """The most rows that travel together."""
    max_connections: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many connections a run may have at a time, over all workers; one is enough."""

    @property
    def reads(self) -> str:
        """What is read, in a word or two."""
        return self.table or "query"

    @property
    def watched(self) -> tuple[str, ...]:
        """What catch-up runs go by: each key of the job with its column."""
        own = () if self.watermark is None else (f"source.watermark {self.watermark.column}",)
        children = (
            f"source.embed.{name}.watermark {child.watermark.column}"
            for name, child in sorted(self.embed.items())
            if child.watermark is not None
        )
        return (*own, *children)

    @model_validator(mode="after")
    def _check(self) -> "PostgresSource":
        if self.table is None and self.query is None:
            raise Misfit("it needs `table`, or `query` with `key`")
        if self.table is not None and self.query is not None:
            raise Misfit("it excludes `table`; keep one of the two", "query")
        if self.query is not None and self.key is None:
            raise Misfit(
                "it needs `key`: columns that are unique and not null, to go on from after a stop", "query"
            )
        for name, child in self.embed.items():
            if child.watermark is not None and self.watermark is None:
                raise Misfit(
                    "it needs `source.watermark` too: changed children don't tell of changed parents",
                    "embed",
                    name,
                    "watermark",
                )
            if self.columns is not None and name in self.columns:
                raise Misfit("a column of this name is read already; choose another name", "embed", name)
        return self


class MongoDBSource(Section):
    """A MongoDB collection or view."""

    type: Literal["mongodb"]
    """The kind of source."""
    url: Annotated[SecretStr, AfterValidator(_mongodb_url)]
    """Where the server is, `mongodb://user:password@host:27017/`; better from the environment."""
    database: Text
    """The database."""
    collection: Text
    """The collection or view to read."""
    filter: dict[str, Any] = Field(default_factory=dict)
    """A MongoDB query: only these documents are read. Types that YAML hasn't got in Extended JSON."""
    projection: dict[Text, Any] = Field(default_factory=dict)
    """A MongoDB projection: what the server sends of each document; `_id` is always sent."""
    watermark: AnyWatermark = None
    """The field that says when a document last changed, or a section; makes catch-up runs possible."""
    driver: Literal["pymongo", "motor"] = "pymongo"
    """The driver: PyMongo's own asyncio API, or Motor (`pip install 'backfill[motor]'`)."""
    segments: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)] = "auto"
    """Into how many ranges the source is cut."""
    batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """The most documents that travel together."""

    @property
    def reads(self) -> str:
        """What is read, in a word or two."""
        return self.collection

    @property
    def watched(self) -> tuple[str, ...]:
        """What catch-up runs go by: each key of the job with its field."""
        return () if self.watermark is None else (f"source.watermark {self.watermark.column}",)

    @model_validator(mode="after")
    def _check(self) -> "MongoDBSource":
        if "_id" in self.projection and not self.projection["_id"]:
            raise Misfit("`_id` is the position of a document, so it is always sent", "projection", "_id")
        if self.watermark is not None and self.watermark.column.startswith("$"):
            raise Misfit("it must be the name of a field, without a dollar sign", "watermark")
        return self


def _supported(data: Any) -> Any:
    if isinstance(data, Mapping) and data.get("type") not in SOURCE_TYPES:
        supported = ", ".join(SOURCE_TYPES)
        raise Misfit(f"it must name a kind of source that is supported: {supported}", "type")
    return data


SourceSection: TypeAlias = Annotated[
    PostgresSource | MongoDBSource, Field(discriminator="type"), BeforeValidator(_supported)
]
