"""A look at some documents before all are read: a name that none of them has may be misspelt.

Invariant: it only tells; a field that is rare or new is no fault.
"""

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from connectors.mongodb.bson_values import skipped
from connectors.mongodb.chunks import starts_of
from connectors.mongodb.layout import ID, FieldColumns
from connectors.mongodb.session import MAX_TIME_MS
from connectors.mongodb.walked import read_columns
from engine.kinds import Members, Scalar
from engine.rules.fields import Fields

DOCUMENTS = 1_000
NAMED_MAX = 5


async def unseen_fields(
    collection: Any, projection: Mapping[str, Any] | None, fields: Fields, layout: FieldColumns
) -> str | None:
    """Say which of the fields that rules name no document has, of those that come first."""
    parts = [
        data
        async for data in collection.find_raw_batches(
            {}, projection, limit=DOCUMENTS, max_time_ms=MAX_TIME_MS
        )
    ]
    data = b"".join(bytes(part) for part in parts)
    starts = np.array(starts_of(data), np.int64)
    if not len(starts):
        return None
    rows = read_columns(layout, data, starts)
    missing = [
        name
        for column in layout.schema.columns
        if column.name != ID and not isinstance(column.kind, Members | Scalar)
        for name in _missing(column.name, rows, fields)
    ]
    if not missing:
        return None
    known = _top_level(data, starts)
    named = ", ".join(_with_hint(name, known) for name in missing[:NAMED_MAX])
    more = f" and {len(missing) - NAMED_MAX} more" if len(missing) > NAMED_MAX else ""
    return (
        f"None of the first {len(starts):,} documents has {named}{more}; where a document hasn't got a field,"
        " its attribute is left out."
    )


def _missing(column: str, rows: pa.RecordBatch, fields: Fields) -> list[str]:
    values = rows.column(column)
    if column not in fields.lists:
        return [column] if values.null_count == len(values) else []
    found = fields.lists[column]
    name = ".".join(found.path)
    lists = pl.Series(values).struct.field("list")
    filled = lists.filter(lists.list.len() > 0)
    if filled.is_empty():
        return [name] if lists.null_count() == len(lists) else []
    elements = filled.explode().struct.unnest()  # by place: names may be patterns to Polars
    return [
        f"{name}.{field}"
        for field, values in zip(found.fields, elements, strict=True)
        if values.null_count() == len(elements)
    ]


def _with_hint(name: str, known: frozenset[str]) -> str:
    close = difflib.get_close_matches(name.partition(".")[0], known, n=1)
    return f"{name} (there is {close[0]})" if close and close[0] != name.partition(".")[0] else name


def _top_level(data: bytes, starts: Any) -> frozenset[str]:
    """Return the names of the fields of some documents."""
    names: set[bytes] = set()
    for start in starts.tolist():
        at = start + 4
        while kind := data[at]:
            end = data.index(0, at)
            names.add(data[at + 1 : end])
            at = skipped(kind, data, end + 1)
    return frozenset(name.decode(errors="replace") for name in names)
