"""Which columns' values no two rows share, as far as PostgreSQL's catalogs and planner prove it.

Invariant: what is in doubt proves nothing, and an index only what it says of values that print alike.
"""

# ruff: noqa: S608 - SQL is built here; every name in it goes through quoting.py

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import orjson

from connectors.postgres import catalog
from connectors.postgres.catalog import CatalogColumn, Relation, Types
from connectors.postgres.errors import checking
from connectors.postgres.quoting import identifier

_AS_PRINTED = """
SELECT pg_catalog.array_agg(pg_catalog.format('%I.%I', $1::pg_catalog.text, name) ORDER BY n)
FROM pg_catalog.unnest($2::pg_catalog.text[]) WITH ORDINALITY AS c (name, n)
"""
_SCANS = frozenset({"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Tid Scan"})
"""Plan nodes that give each row of one table once at most."""
_PASSES = frozenset({"Gather", "Gather Merge", "Limit", "LockRows", "Result", "Sort", "Incremental Sort"})
"""Plan nodes that give each row of the node below once at most.
Source: PostgreSQL, src/backend/commands/explain.c, ExplainNode."""
_EXACT_TYPES = ("e", "r", "m")
"""Enums, ranges and multiranges print everything that they compare. Others' own base types may leave some
of it out, but for texts."""
_TEXT_CATEGORY = "S"
_PRINT_ALIKE = frozenset({"regproc", "regoper"})
"""Types of pg_catalog that print less than they compare: functions and operators without their arguments.
Source: PostgreSQL manual, "Object Identifier Types"."""


async def distinct(
    connection: Any, relation: Relation, types: Types, origin: str, alias: str
) -> tuple[frozenset[str], ...]:
    """Return sets of columns whose values, where none is null, no two rows share. Call inside the snapshot.

    A view's or a query's are those of the table below, where the planner reads nothing but that.
    """
    if relation.kind in ("v", "query"):
        found = await _below(connection, relation, origin, alias)
    else:
        found = [frozenset(columns) for columns in relation.unique_columns]
    printed = {column.name for column in relation.columns if _prints_all(types, column)}
    return tuple(dict.fromkeys(columns for columns in found if columns <= printed))


def _prints_all(types: Types, column: CatalogColumn) -> bool:
    base = types.base(column.type_oid)
    if base.name:
        return base.name not in _PRINT_ALIKE
    return base.typtype in _EXACT_TYPES or base.category == _TEXT_CATEGORY


async def _below(connection: Any, relation: Relation, origin: str, alias: str) -> list[frozenset[str]]:
    """Return what is unique in the one table that a view or query reads, by the names that it has here."""
    chosen = ", ".join(f"{alias}.{identifier(column.name)}" for column in relation.columns)
    async with checking("source.table" if relation.kind == "v" else "source.query"):
        plan = await connection.fetchval(f"EXPLAIN (VERBOSE, FORMAT JSON) SELECT {chosen} FROM {origin}")
    top = orjson.loads(plan)[0]["Plan"]
    scan = scanned(top)
    if scan is None:
        return []
    name = f"{identifier(scan['Schema'])}.{identifier(scan['Relation Name'])}"
    table = await catalog.relation(connection, name)
    if table is None:
        return []
    printed = await connection.fetchval(_AS_PRINTED, scan["Alias"], [column.name for column in table.columns])
    names = _names(relation, table, dict(zip(printed, table.columns, strict=True)), top["Output"])
    return [frozenset(here) for columns in table.unique_columns for here in _renamed(columns, names)]


def scanned(plan: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the scan of a plan that gives each row of one table once at most; None where it does more."""
    kind = plan["Node Type"]
    if kind in _SCANS:
        return plan if "Schema" in plan else None
    outer = [child for child in plan.get("Plans", ()) if child["Parent Relationship"] == "Outer"]
    return scanned(outer[0]) if kind in _PASSES and len(outer) == 1 else None


def _names(
    relation: Relation, table: Relation, printed: Mapping[str, CatalogColumn], output: Sequence[str]
) -> Mapping[str, list[str]]:
    """Return by which columns here a table's own columns are shown bare.

    A cast that nobody wrote isn't printed, so the types have to be the same too.
    """
    names: dict[str, list[str]] = {column.name: [] for column in table.columns}
    for column, text in zip(relation.columns, output, strict=True):
        shown = printed.get(text)
        if shown is not None and shown.type_oid == column.type_oid:
            names[shown.name].append(column.name)
    return names


def _renamed(columns: tuple[str, ...], names: Mapping[str, list[str]]) -> Iterator[tuple[str, ...]]:
    return product(*(names[name] for name in columns))
