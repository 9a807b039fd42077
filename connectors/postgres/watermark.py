"""What a catch-up run reads: rows whose watermark, or a child's, has reached the last run's start.

Invariant: a value that a clock within the overlap has made is read again, never left out; a row or child
without a watermark always is.
"""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

from collections.abc import Sequence

from connectors.postgres.catalog import CatalogColumn, Relation, Types, find_column
from connectors.postgres.quoting import identifier, literal, operator
from connectors.postgres.section import PostgresSection
from connectors.postgres.sql import Shape, where_sql
from engine.errors import JobError
from engine.job.watermark import REREAD_ROWS_MAX, Watermark

WATERMARK_LAG_S = {
    "timestamptz": 0,
    "timestamp": 12 * 3_600,  # a local time: the zone furthest behind UTC
    "date": 36 * 3_600,  # and the start of that day
}
"""By type of the watermark column: how much earlier, besides the overlap, its values may have been made."""


def watermark_column(
    relation: Relation, types: Types, watermark: Watermark, key: str
) -> tuple[CatalogColumn, Sequence[str]]:
    """Return the column of a watermark, and what makes catch-up runs by it slow. Raises: JobError."""
    name = watermark.column
    column = find_column(relation, name, key)
    if types.base(column.type_oid).name not in WATERMARK_LAG_S:
        raise JobError(
            f"{key}: column {name} is of type {types.names[column.type_oid]}, but only"
            " timestamptz, timestamp and date can be compared with when open transactions began"
        )
    if relation.kind in ("r", "p", "m") and not relation.is_indexed([name]):
        whose, scanned = "", "the table"
        if key != "source.watermark":
            whose = scanned = relation.name
        said = f"No index{whose and f' of {whose}'} begins with the watermark {name}"
        return column, (f"{said}, so every catch-up run scans {scanned}.",)
    return column, ()


def changed_sql(alias: str, column: CatalogColumn, types: Types, watermark: Watermark, since: str) -> str:
    """Return the condition for what may have changed since; without a watermark it may always have."""
    ref = f"{alias}.{identifier(column.name)}"
    base = types.base(column.type_oid)
    lag_s = watermark.overlap_s + WATERMARK_LAG_S[base.name]
    bound = f"({literal(since)}::pg_catalog.timestamptz {operator('-')} interval '{lag_s} seconds')"
    if base.name != "timestamptz":
        bound += f"::pg_catalog.{base.name}"
    return f"({ref} {operator('>=')} {bound} OR {ref} IS NULL)"


def overlap_sql(
    shape: Shape, alias: str, column: CatalogColumn, types: Types, watermark: Watermark, since: str | None
) -> str:
    """Return a query for how many rows the overlap before `since`, or before now, holds, up to a limit."""
    ref, base = f"{alias}.{identifier(column.name)}", types.base(column.type_oid)
    end = "pg_catalog.now()" if since is None else f"{literal(since)}::pg_catalog.timestamptz"
    lag_s = watermark.overlap_s + WATERMARK_LAG_S[base.name]
    start = f"({end} {operator('-')} interval '{lag_s} seconds')::pg_catalog.{base.name}"
    within = (
        f"{ref} {operator('>=')} {start}",
        f"{ref} {operator('<')} ({end})::pg_catalog.{base.name}",
    )
    rows = f"SELECT FROM {shape.origin}{where_sql(shape, within)} LIMIT {REREAD_ROWS_MAX + 1}"
    return f"SELECT pg_catalog.count(*) FROM ({rows}) AS again"


def blind_spots(section: PostgresSection, relation: Relation) -> Sequence[str]:
    """Say what catch-up runs by a watermark don't see, a sentence for each kind of it."""
    if section.watermark is None:
        return ()
    said = []
    own = section.watermark.column
    blind = [name for name, child in section.embed.items() if child.watermark is None]
    seen = [name for name, child in section.embed.items() if child.watermark is not None]
    if blind:
        said.append(
            f"Catch-up runs don't see that children of embed {', '.join(blind)} were changed, added or"
            f" deleted: only {own} of the parent brings a row. Give the embed a `watermark` of its own, or"
            " let the application touch the parent."
        )
    if seen:
        said.append(
            f"Catch-up runs see changed and new children of embed {', '.join(seen)}, but not those that were"
            " deleted or given to another parent."
        )
    if relation.kind in ("v", "query"):
        what = "a query" if relation.kind == "query" else "a view"
        said.append(
            f"The source is {what}: catch-up runs see a change in what it joins only where that changes"
            f" {own}."
        )
    return said
