"""Item rules over hand-made rows: what the transform's tests share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.dynamodb.documents.json_walk import documents_from_json
from engine.batch import Batch
from engine.contracts.transform import DELETE, FLAW, ROW, RuleItems
from engine.job.model import Job
from engine.kinds import Column, Document, Kind, RowSchema, arrow_type
from engine.rules.transform import compile_rules

Columns = Mapping[str, tuple[Kind, Sequence[Any]]]
"""Column name → its kind and its values: canonical texts, lists, dicts; documents as JSON texts."""


def job(
    *rules: Mapping[str, Any],
    transform: str | Mapping[str, Any] | None = None,
    unique: Any = False,
    target: Mapping[str, Any] | None = None,
) -> Job:
    """Return a job with these rules. `unique`: the user's word, as `source.unique` has it."""
    return Job.model_validate(
        {
            "name": "test",
            "source": {
                "type": "postgres",
                "url": "postgres://127.0.0.1/test",
                "table": "t",
                "unique": unique,
            },
            "target": {"type": "dynamodb", "table": "items", "region": "us-east-1", **(target or {})},
            "transform": transform,
            "items": [{"name": f"Rule{number}", **rule} for number, rule in enumerate(rules)],
        }
    )


def schema(
    kinds: Mapping[str, Kind | Column],
    identities: Sequence[frozenset[str]] = (),
    hidden: Sequence[str] = (),
    unique: Sequence[frozenset[str]] = (),
) -> RowSchema:
    """Return the schema of a source with these columns, each given by its kind or whole."""
    columns = tuple(
        kind if isinstance(kind, Column) else Column(name, kind, hidden=name in hidden)
        for name, kind in kinds.items()
    )
    return RowSchema(columns, (), tuple(identities), unique=tuple(unique))


def batch(columns: Columns) -> Batch:
    """Return a batch of these rows."""
    arrays = [
        documents_from_json(pa.array(values, pa.string()))
        if isinstance(kind, Document)
        else pa.array(values, arrow_type(kind))
        for kind, values in columns.values()
    ]
    return Batch(0, 0, pa.RecordBatch.from_arrays(arrays, names=list(columns)), None)


def transformed(
    columns: Columns,
    *rules: Mapping[str, Any],
    hook: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None,
    keeps: Sequence[str] = (),
) -> Sequence[RuleItems]:
    """Return the items of every rule."""
    kinds = {name: kind for name, (kind, _) in columns.items()}
    named = {"hook": "jobs:hook", "keeps": keeps} if keeps else "jobs:hook"
    the_job = job(*rules, transform=None if hook is None else named)
    return compile_rules(the_job, schema(kinds), hook, DOCUMENTS)(batch(columns))


def kinds_of(items: RuleItems) -> dict[str, Kind]:
    """Return the kind of each attribute."""
    return {attribute.name: attribute.kind for attribute in items.attributes}


def values_of(items: RuleItems) -> list[dict[str, Any]]:
    """Return each item's attributes that aren't null; documents as their wire text."""
    return [
        {
            attribute.name: value["wire"] if isinstance(attribute.kind, Document) else value
            for index, attribute in enumerate(items.attributes)
            if (value := row[str(index)]) is not None
        }
        for row in items.frame.to_dicts()
    ]


def column_of(items: RuleItems, name: str) -> list[Any]:
    """Return one attribute's value in every item."""
    kinds = list(kinds_of(items))
    values = items.frame.get_column(str(kinds.index(name))).to_list()
    if isinstance(kinds_of(items)[name], Document):
        return [None if value is None else value["wire"] for value in values]
    return values


def flaws_of(items: RuleItems) -> list[str | None]:
    """Return each item's flaw."""
    return items.frame.get_column(FLAW).to_list()


def rows_of(items: RuleItems) -> list[int]:
    """Return the source row of each item."""
    return items.frame.get_column(ROW).to_list()


def deletes_of(items: RuleItems) -> list[bool]:
    """Return which items are deletes."""
    return items.frame.get_column(DELETE).to_list()


def attribute(columns: Columns, value: Any) -> tuple[Kind, list[Any], list[str | None]]:
    """Return the kind, the values and the flaws of one attribute `a` over rows that have a column `id`."""
    (items,) = transformed(columns, {"key": {"PK": "{id}"}, "attributes": {"a": value}})
    return kinds_of(items)["a"], column_of(items, "a"), flaws_of(items)
