"""The job's `source` section for MongoDB.

Invariant: a section that exists reads `_id` of every document.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from connectors.url import misencoded
from engine.job.section import Misfit, Section, Text
from engine.job.sections import SourceSection
from engine.job.unique import Unique
from engine.job.watermark import AnyWatermark

MONGODB_URL = re.compile(r"mongodb(\+srv)?://")
"""Source: MongoDB manual, "Connection Strings"."""


def _mongodb_url(url: SecretStr) -> SecretStr:
    if not MONGODB_URL.match(url.get_secret_value()):
        raise Misfit("it must be a URL such as mongodb://user@host:27017/?replicaSet=rs0")
    if (fault := misencoded(url.get_secret_value())) is not None:
        raise Misfit(fault)
    return url


class StreamCatchUp(Section):
    """Catch-up runs that read the server's log: deleted documents and changed keys, too."""

    type: Literal["log"]
    """What catch-up runs go by."""


class MongoDBSection(SourceSection):
    """A MongoDB collection or view."""

    FREE = SourceSection.FREE | {"driver", "catch_up"}
    CLOCK_DIGITS = 3
    LOG_SHARED = True

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
    catch_up: StreamCatchUp | None = None
    """Instead of a watermark: catch-up runs read the server's log, by a change stream."""
    driver: Literal["pymongo", "motor"] = "pymongo"
    """The driver: PyMongo's own asyncio API, or Motor (`pip install 'backfill[motor]'`)."""
    unique: Unique = False
    """The user's word: item keys are one row's alone (true), or fields are unique. Checked in each run."""
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
        """What catch-up runs go by."""
        return super().watched if self.catch_up is None else ("source.catch_up log",)

    @property
    def log(self) -> str | None:
        """What catch-up runs go by in the log; None: they don't."""
        return None if self.catch_up is None else "change stream"

    @property
    def named_fields(self) -> tuple[str, ...]:
        """Paths of the fields that the projection shows."""
        return tuple(name for name, shown in self.projection.items() if shown in (1, True))

    @model_validator(mode="after")
    def _check(self) -> "MongoDBSection":
        if "_id" in self.projection and not self.projection["_id"]:
            raise Misfit("`_id` is the position of a document, so it is always sent", "projection", "_id")
        if self.catch_up is not None and self.watermark is not None:
            raise Misfit("it excludes `watermark`; keep one of the two", "catch_up")
        if self.watermark is not None and self.watermark.column.startswith("$"):
            raise Misfit("it must be the name of a field, without a dollar sign", "watermark")
        return self
