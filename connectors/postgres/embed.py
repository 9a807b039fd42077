"""Children as a list inside their parent row: one correlated subquery per `embed`."""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

from typing import Any

from connectors.postgres import catalog
from connectors.postgres.catalog import Relation, chosen, find_column
from connectors.postgres.errors import checking
from connectors.postgres.quoting import enclosed, identifier
from connectors.postgres.section import Embed
from connectors.postgres.sql import ReadColumn
from connectors.postgres.types import ArrayOf, Composite, json_sql, node_of, object_sql
from connectors.postgres.watermark import changed_sql, watermark_column
from engine.errors import JobError
from engine.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Embedded:
    """The column that holds the children, what makes reading them slow, what tells that one has changed."""

    column: ReadColumn
    notices: tuple[str, ...]
    changed: str | None


async def embedded_list(
    connection: Any, name: str, embed: Embed, parent: Relation, parent_alias: str, since: str | None
) -> Embedded:
    """Look children up in the catalogs. `since`: the watermark that a catch-up run reads from.

    Ordering: children by `order_by`, else by their primary key. No children give an empty list.
    Raises: JobError.
    """
    key = f"source.embed.{name}"
    async with checking(f"{key}.table"):
        child = await catalog.relation(connection, embed.table)
    if child is None:
        raise JobError(f"{key}.table: there is no table {embed.table} that this role can find")
    alias = _alias(child, parent_alias)
    columns = chosen(child, embed.columns, f"{key}.columns")
    joined = [
        (find_column(child, theirs, f"{key}.on"), find_column(parent, ours, f"{key}.on"))
        for theirs, ours in embed.on.items()
    ]
    watermark = embed.watermark and find_column(child, embed.watermark.column, f"{key}.watermark")
    wanted = [*columns, *([watermark] if watermark else []), *(column for pair in joined for column in pair)]
    types = await catalog.types(connection, {column.type_oid for column in wanted})
    node = Composite(
        tuple((column.name, node_of(types.rows, column.type_oid, column.typmod)) for column in columns)
    )
    origin = f"{identifier(child.schema)}.{identifier(child.name)} AS {alias}"
    joins = [
        f"{alias}.{identifier(theirs.name)} {types.equality(theirs.type_oid, ours.type_oid)}"
        f" {parent_alias}.{identifier(ours.name)}"
        for theirs, ours in joined
    ]
    where = " AND ".join([*joins, *([enclosed(embed.where)] if embed.where else [])])
    order = _order(child, embed, alias, key)
    sql = (
        f"coalesce((SELECT pg_catalog.json_agg({_object(node, alias)}{order}) FROM {origin}"
        f" WHERE {where}), '[]'::pg_catalog.json)"
    )
    notices: tuple[str, ...] = ()
    if child.kind in ("r", "p", "m") and not child.is_indexed(embed.on):
        notices = (
            f"No index of {embed.table} begins with {', '.join(embed.on)}, so it may be scanned once for"
            " every parent row; create one before the load.",
        )
    changed = None
    if embed.watermark is not None:
        column, said = watermark_column(child, types, embed.watermark, f"{key}.watermark")
        notices = (*notices, *said)
        if since is not None:
            # Without `where`: a child that no longer meets it has changed its parent's list, too.
            lately = changed_sql(alias, column, types, embed.watermark, since)
            changed = f"EXISTS (SELECT FROM {origin} WHERE {' AND '.join((*joins, lately))})"
    return Embedded(ReadColumn(name, sql, ArrayOf(node, splits=False)), notices, changed)


@dataclass(frozen=True, slots=True)
class Element:
    """One child of a list as JSON. `sql` over `alias`; `casts`: its table's columns with their types."""

    name: str
    sql: str
    alias: str
    casts: tuple[tuple[str, str], ...]


async def element_of(connection: Any, name: str, embed: Embed, child: Relation, parent: Relation) -> Element:
    """Return what makes an element of a child's row, as `embedded_list` does. Raises: JobError."""
    alias = _alias(child, identifier(parent.name))
    columns = chosen(child, embed.columns, f"source.embed.{name}.columns")
    types = await catalog.types(connection, {column.type_oid for column in child.columns})
    node = Composite(
        tuple((column.name, node_of(types.rows, column.type_oid, column.typmod)) for column in columns)
    )
    casts = tuple((column.name, types.casts[types.base(column.type_oid).oid]) for column in child.columns)
    return Element(name, _object(node, alias), alias, casts)


def _alias(child: Relation, parent_alias: str) -> str:
    alias = identifier(child.name)
    return identifier(f"{child.name} embedded") if alias == parent_alias else alias


def _object(node: Composite, alias: str) -> str:
    """Return the SQL of one child as JSON."""
    fields = (
        f"{json_sql(field, f'{alias}.{identifier(name)}')} AS {identifier(name)}"
        for name, field in node.fields
    )
    return object_sql(node, ", ".join(fields))


def _order(child: Relation, embed: Embed, alias: str, key: str) -> str:
    names = embed.order_by or child.primary or ()
    columns = [find_column(child, name, f"{key}.order_by").name for name in names]
    ordering = ", ".join(f"{alias}.{identifier(name)}" for name in columns)
    return f" ORDER BY {ordering}" if ordering else ""
