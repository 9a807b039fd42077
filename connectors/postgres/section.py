"""The job's `source` section for PostgreSQL.

Invariant: a section that exists says exactly one thing to read, and a query comes with its key.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from connectors.postgres.address import place
from connectors.url import misencoded
from engine.job.section import Misfit, Names, Section, SomeNames, Text, pattern
from engine.job.sections import SourceSection
from engine.job.unique import Unique
from engine.job.watermark import AnyWatermark

POSTGRES_URL = re.compile(r"postgres(ql)?://", re.IGNORECASE)
"""Source: PostgreSQL manual, "Connection Strings", Connection URIs."""

SLOT = pattern(r"^[a-z0-9_]{1,63}$", "it may hold only lower-case letters, digits and _, 63 at most")
"""Source: PostgreSQL documentation, "Replication Slots"."""

_INTEGERS = re.compile(r"\b(smallint|bigint)\b")


def _postgres_url(url: SecretStr) -> SecretStr:
    if not POSTGRES_URL.match(url.get_secret_value()):
        raise Misfit("it must be a URL such as postgresql://user@host:5432/database")
    if (fault := misencoded(url.get_secret_value())) is not None:
        raise Misfit(fault)
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


LOG_CONNECTIONS = 4
"""What a run by the log has at a time: the view's, a peek's, the look-ups', one that looks at the slot."""


class LogCatchUp(Section):
    """Catch-up runs that read the server's log: deleted rows and changed keys, too."""

    type: Literal["log"]
    """What catch-up runs go by."""
    slot: Annotated[str, Field(pattern=SLOT)]
    """The replication slot that keeps the log, made by the full run; jobs of a file may share one."""
    publication: Text | None = None
    """The publication of what is read; by default it has the slot's name, and is made by the full run."""

    @property
    def published(self) -> str:
        """The publication's name."""
        return self.publication or self.slot


class PostgresSection(SourceSection):
    """A PostgreSQL table or query."""

    FREE = SourceSection.FREE | {"max_connections", "catch_up"}

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
    catch_up: LogCatchUp | None = None
    """Instead of a watermark: catch-up runs read the server's log."""
    unique: Unique = False
    """The user's word: item keys are one row's alone (true), or columns are unique. Checked in each run."""
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

    def decides(self) -> dict[str, Any]:
        """Return what of this section decides over what is written, for the fingerprint."""
        source = super().decides()
        for child in source.get("embed", {}).values():
            child.pop("watermark", None)
        return source

    @property
    def watched(self) -> tuple[str, ...]:
        """What catch-up runs go by: each key of the job with its column."""
        children = (
            f"source.embed.{name}.watermark {child.watermark.column}"
            for name, child in sorted(self.embed.items())
            if child.watermark is not None
        )
        logged = () if self.catch_up is None else (f"source.catch_up.slot {self.catch_up.slot}",)
        return (*super().watched, *children, *logged)

    def by_log(self) -> "PostgresSection":
        """Return the section of the same job by its log."""
        return self.model_copy(
            update={"catch_up": LogCatchUp(type="log", slot="backfill"), "watermark": None}
        )

    @property
    def log(self) -> str | None:
        """The slot that catch-up runs go by; None: they don't."""
        return None if self.catch_up is None else self.catch_up.slot

    def same_log(self, other: SourceSection) -> bool:
        """Say whether both name one slot and one publication, and the server and its database alike."""
        if not isinstance(other, PostgresSection) or self.catch_up is None or other.catch_up is None:
            return False
        logs = [(each.slot, each.published) for each in (self.catch_up, other.catch_up)]
        places = [place(each.url.get_secret_value()) for each in (self, other)]
        return logs[0] == logs[1] and places[0] == places[1]

    def same_positions(self, before: str, now: str) -> bool:
        """Say whether keys are alike but for the width of integers, which are printed and sorted alike."""
        return _INTEGERS.sub("integer", before) == _INTEGERS.sub("integer", now)

    @model_validator(mode="after")
    def _check(self) -> "PostgresSection":
        if self.table is None and self.query is None:
            raise Misfit("it needs `table`, or `query` with `key`")
        if self.table is not None and self.query is not None:
            raise Misfit("it excludes `table`; keep one of the two", "query")
        if self.query is not None and self.key is None:
            raise Misfit(
                "it needs `key`: columns that are unique and not null, to go on from after a stop", "query"
            )
        if self.catch_up is not None and self.watermark is not None:
            raise Misfit("it excludes `watermark`; keep one of the two", "catch_up")
        if self.catch_up is not None and (self.max_connections or LOG_CONNECTIONS) < LOG_CONNECTIONS:
            raise Misfit(f"a run by the log needs {LOG_CONNECTIONS} of them", "max_connections")
        if self.catch_up is not None and self.query is not None:
            raise Misfit("a query has no log; read a table, or go by `watermark`", "catch_up")
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
