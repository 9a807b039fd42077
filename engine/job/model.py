"""The job: one load from a source to a target, as the job file describes it.

Invariant: a Job that exists has passed every check that needs neither source nor target.
"""

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from engine.job.hook import REFERENCE, source_digest
from engine.job.items import AttributeType, Constant, Filled, ItemRule, Sql, Value
from engine.job.section import Misfit, Section
from engine.job.source import Embed, MongoDBSource, PostgresSource, SourceSection
from engine.job.target import Create, DynamoDBState, DynamoDBTarget, Gsi, SqliteState

__all__ = [
    "AttributeType",
    "Constant",
    "Create",
    "DynamoDBState",
    "DynamoDBTarget",
    "Embed",
    "Filled",
    "Gsi",
    "ItemRule",
    "Job",
    "MongoDBSource",
    "Options",
    "PostgresSource",
    "SourceSection",
    "Sql",
    "SqliteState",
    "Value",
]

NAME = r"^[a-z0-9_-]+$"
NAME_CHARS_MAX = 100
"""Leaves room in a file name of 255 bytes."""
FINGERPRINT_DIGITS = 16
_SOURCE_FREE = {"url", "batch_rows", "segments", "max_connections", "driver", "watermark"}
"""Keys of the source that change nothing of what is written: how it is reached and cut, what a later run goes
by. What else may be gained later belongs here too."""


def _hook_reference(text: str) -> str:
    if not REFERENCE.fullmatch(text):
        raise Misfit("it must be module:function, such as mypackage.jobs:enrich")
    return text


class Options(Section):
    """How values are treated."""

    nulls: Literal["omit", "keep"] = "omit"
    """SQL NULL: leave the attribute out, or write NULL."""
    on_invalid: Literal["dead_letter", "fail"] = "dead_letter"
    """An item that can't be written: keep it as a dead letter, or stop the run."""
    numbers: Literal["exact", "string"] = "exact"
    """A number that DynamoDB can't hold: a dead letter, or a string."""


class Job(Section):
    """One load: a source, a target, the rules between them."""

    name: Annotated[str, Field(pattern=NAME, max_length=NAME_CHARS_MAX)]
    """Names the job's state: lower-case letters, digits, - and _."""
    source: SourceSection
    """Where rows are read."""
    target: DynamoDBTarget
    """Where items are written."""
    transform: Annotated[str, AfterValidator(_hook_reference)] | None = None
    """module:function, a function from LazyFrame to LazyFrame that every batch passes before `items`."""
    items: Annotated[tuple[ItemRule, ...], Field(min_length=1)]
    """Rules by which a row becomes items; every row goes through each."""
    options: Options = Options()
    """What becomes of nulls, of items that can't be written, of numbers that DynamoDB can't hold."""
    state: Annotated[SqliteState | DynamoDBState, Field(discriminator="type")] = SqliteState()
    """Where progress is kept."""
    _directory: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def directory(self) -> Path:
        """The directory of the job file, from which the hook may be imported."""
        return self._directory

    def model_post_init(self, context: Any) -> None:
        """Take the job file's directory from the validation's context."""
        if isinstance(context, Mapping):
            self._directory = Path(context["directory"])

    def fingerprint_parts(self) -> dict[str, str]:
        """Return a short digest for each part that a checkpoint of this job depends on; no secrets.

        Shape: keys `source`, `mapping`, `target`. What may change between two attempts of one run (the URL
        with its password, sizes, limits, what to do with invalid items) is in none of them.
        Raises: JobError when the hook's module can't be found.
        """
        hook = self.transform and [self.transform, source_digest(self.transform, self.directory)]
        source = self._source_dump()
        target = self.target.model_dump(include={"table", "region", "endpoint_url", "mode", "version"})
        items = [rule.model_dump(exclude_defaults=True) for rule in self.items]
        options = self.options.model_dump(exclude={"on_invalid"}, exclude_defaults=True)
        return {
            "source": _digest(source),
            "mapping": _digest([items, options, hook]),
            "target": _digest(target),
        }

    def former_parts(self) -> dict[str, str]:
        """Return the digests that earlier versions made of this job, where they differ from today's.

        They took the watermark's column for a part of the source, and knew nothing else that may be gained.
        """
        watermark = self.source.watermark
        if watermark is None:
            return {}
        return {"source": _digest({**self._source_dump(), "watermark": watermark.column})}

    def _source_dump(self) -> dict[str, Any]:
        """Return what of the source decides over what was written: not what a later run may gain."""
        source = self.source.model_dump(exclude=_SOURCE_FREE, exclude_defaults=True)
        for child in source.get("embed", {}).values():
            child.pop("watermark", None)
        return source

    @model_validator(mode="after")
    def _check(self) -> "Job":
        keys = set(self.items[0].key) if self.target.create is None else set(self.target.create.table_key)
        names: set[str] = set()
        for position, rule in enumerate(self.items):
            if rule.name in names:
                raise Misfit("another rule has this name", "items", position, "name")
            if set(rule.key) != keys:
                wanted = " and ".join(sorted(keys))
                whose = "the other rules have" if self.target.create is None else "target.create has"
                raise Misfit(
                    f"the key attributes must be those that {whose}: {wanted}", "items", position, "key"
                )
            self._check_version(position, rule)
            names.add(rule.name)
        return self

    def _check_version(self, position: int, rule: ItemRule) -> None:
        version = self.target.version
        if version is None or self.target.mode != "newer":
            return
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


def _digest(value: Any) -> str:
    """Digest a value of plain Python; a literal number differs from the text that prints alike."""
    text = json.dumps(value, sort_keys=True, default=_plain, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def _plain(value: Any) -> Any:
    assert isinstance(value, Decimal), f"no digest for {type(value).__name__}"
    return {"number": str(value)}
