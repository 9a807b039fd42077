"""Children as a list inside their parent row: one correlated subquery per `embed`."""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

from typing import Any

from connectors.postgres import catalog
from connectors.postgres.catalog import CatalogColumn, Relation, find_column
from connectors.postgres.quoting import enclosed, identifier
from connectors.postgres.session import checking
from connectors.postgres.sql import ReadColumn
from connectors.postgres.types import Fields, Items, json_sql, node_of, object_sql
from engine.errors import JobError
from engine.job.model import Embed


async def embed_column(
    connection: Any, name: str, embed: Embed, parent: Relation, parent_alias: str
) -> tuple[ReadColumn, str | None]:
    """Return the column that holds the children, and a notice when reading them will be slow.

    Ordering: children by `order_by`, else by their primary key. No children give an empty list.
    Raises: JobError.
    """
    key = f"source.embed.{name}"
    async with checking(f"{key}.table"):
        child = await catalog.relation(connection, embed.table)
    if child is None:
        raise JobError(f"{key}.table: there is no table {embed.table} that this role can find")
    alias = identifier(child.name)
    if alias == parent_alias:
        alias = identifier(f"{child.name} embedded")
    columns = _columns(child, embed, key)
    joined = [
        (find_column(child, theirs, f"{key}.on"), find_column(parent, ours, f"{key}.on"))
        for theirs, ours in embed.on.items()
    ]
    wanted = [*columns, *(column for pair in joined for column in pair)]
    types = await catalog.types(connection, {column.type_oid for column in wanted})
    node = Fields(
        tuple((column.name, node_of(types.rows, column.type_oid, column.typmod)) for column in columns)
    )
    fields = ", ".join(
        f"{json_sql(field, f'{alias}.{identifier(field_name)}')} AS {identifier(field_name)}"
        for field_name, field in node.fields
    )
    conditions = [
        f"{alias}.{identifier(theirs.name)} {types.equality(theirs.type_oid, ours.type_oid)}"
        f" {parent_alias}.{identifier(ours.name)}"
        for theirs, ours in joined
    ]
    if embed.where:
        conditions.append(enclosed(embed.where))
    primary = next((index.columns for index in child.unique_indexes if index.primary), ())
    ordering = [
        f"{alias}.{identifier(find_column(child, column, f'{key}.order_by').name)}"
        for column in embed.order_by or primary
    ]
    order = f" ORDER BY {', '.join(ordering)}" if ordering else ""
    sql = (
        f"coalesce((SELECT pg_catalog.json_agg({object_sql(node, fields)}{order})"
        f" FROM {identifier(child.schema)}.{identifier(child.name)} AS {alias}"
        f" WHERE {' AND '.join(conditions)}), '[]'::pg_catalog.json)"
    )
    slow = None
    if child.kind in ("r", "p", "m") and not child.is_indexed(embed.on):
        slow = (
            f"No index of {embed.table} begins with {', '.join(embed.on)}, so it may be scanned once for"
            " every parent row; create one before the load."
        )
    return ReadColumn(name, sql, Items(node, splits=False)), slow


def _columns(child: Relation, embed: Embed, key: str) -> list[CatalogColumn]:
    if embed.columns is None:
        return list(child.columns)
    return [find_column(child, name, f"{key}.columns") for name in embed.columns]
