"""From the job's source section and the catalogs to the Shape that is read and the schema that it gives.

Invariant: every name in the job has been found in the catalogs, and unique is only what an index proves.
"""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

from dataclasses import replace
from typing import Any

from connectors.postgres import catalog
from connectors.postgres.catalog import CatalogColumn, Relation, Types, chosen, find_column
from connectors.postgres.distinct import distinct
from connectors.postgres.embed import embedded_list
from connectors.postgres.errors import checking
from connectors.postgres.quoting import enclosed, identifier
from connectors.postgres.section import PostgresSection
from connectors.postgres.sql import KeyColumn, ReadColumn, Shape, dimensions_sql, nulls_sql
from connectors.postgres.types import (
    NATIVE,
    Printed,
    Reading,
    column_sql,
    has_free_dimensions,
    kind_of,
    node_of,
    spelled,
)
from connectors.postgres.watermark import blind_spots, changed_sql, overlap_sql, watermark_column
from engine.errors import JobError
from engine.frozen import dataclass
from engine.kinds import Column, RowSchema, Scalar

_SORTED_AS_OTHERS = ("varchar", "cidr")
"""Types without a btree operator class, which sort by that of text or inet."""
_TABLES, _SAMPLED = ("r", "p", "m", "v", "f"), ("r", "p", "m")


@dataclass(frozen=True, slots=True)
class SelectList:
    """What is read, and what is to be told about it. `name`: the relation or query for the fingerprint."""

    shape: Shape
    schema: RowSchema
    name: str
    notices: tuple[str, ...]
    overlap: str | None
    """The query for how many rows the watermark's overlap holds; None where no index answers it."""
    indexed: tuple[tuple[str, ...], ...] = ()
    """The columns of every index, where what is read has pages of its own."""


async def layout(connection: Any, section: PostgresSection, since: str | None) -> SelectList:
    """Check the section against the server and lay out what is read. Call inside the snapshot.

    Raises: JobError.
    """
    relation, origin, alias = await _origin(connection, section)
    await _check_reading(connection, section, origin)
    types = await catalog.types(connection, {column.type_oid for column in relation.columns})
    visible = chosen(relation, section.columns, "source.columns")
    key, key_unique, notices = _key(relation, types, section, alias)
    shape = Shape(
        columns=(),
        origin=origin,
        samples=relation.kind in _SAMPLED,
        pages=relation.pages,
        filters=(enclosed(section.where),) if section.where else (),
        key=key,
        key_unique=key_unique,
    )
    changed: tuple[str, ...] = ()
    overlap = None
    if section.watermark is not None:
        watermark, said = watermark_column(relation, types, section.watermark, "source.watermark")
        notices = (*notices, *said, *blind_spots(section, relation))
        if relation.is_indexed([watermark.name]):
            overlap = overlap_sql(shape, alias, watermark, types, section.watermark, since)
        if since is not None:
            changed = (changed_sql(alias, watermark, types, section.watermark, since),)
    own = None if section.watermark is None else section.watermark.column
    hidden = [
        column
        for column in relation.columns
        if column.name in {*(part.name for part in key), own} and column not in visible
    ]
    columns = [
        await _column(connection, shape, types, column, alias) for column in (*visible, *hidden)
    ]  # fmt: skip
    embedded = []
    for name, child in section.embed.items():
        if relation.column(name) is not None:
            raise JobError(f"source.embed.{name}: a column has that name already; choose another")
        embedded.append(await embedded_list(connection, name, child, relation, alias, since))
    notices = (*notices, *(notice for each in embedded for notice in each.notices))
    changed += tuple(each.changed for each in embedded if each.changed is not None)
    split = len(visible)
    shape = replace(shape, columns=(*columns[:split], *(each.column for each in embedded), *columns[split:]))
    if changed:
        shape = replace(shape, changed=f"({' OR '.join(changed)})")
    unique = await distinct(connection, relation, types, origin, alias)
    never_null = {frozenset(index.columns) for index in relation.unique_indexes}
    schema = RowSchema(
        tuple(
            _described(column, relation, types, hidden=column in columns[split:]) for column in shape.columns
        ),
        tuple(part.name for part in key),
        tuple(names for names in unique if names in never_null),
        unique=tuple(names for names in unique if names not in never_null),
    )
    indexed = relation.leading_columns if relation.kind in _SAMPLED else ()
    return SelectList(shape, schema, _name(relation, section), notices, overlap, indexed)


def _described(column: ReadColumn, relation: Relation, types: Types, *, hidden: bool) -> Column:
    """Say of a column that is read what the engine is to know of it."""
    kind, found = kind_of(column.node), relation.column(column.name)
    if kind is not Scalar.STRING or found is None:
        return Column(column.name, kind, hidden)
    return Column(column.name, kind, hidden, *spelled(types.rows, found.type_oid, found.typmod))


async def check_keys(connection: Any, shape: Shape) -> None:
    """Refuse nulls in key columns: comparisons would leave their rows out. Call inside the snapshot."""
    for key in shape.key:
        if key.nullable and await connection.fetchval(nulls_sql(shape, key)):
            raise JobError(
                f"source.key: column {key.name} holds NULLs, and such rows can't be read in order; choose"
                f' other key columns or add "{key.name} IS NOT NULL" to source.where'
            )


async def _check_reading(connection: Any, section: PostgresSection, origin: str) -> None:
    """Let the server find what is wrong with rights or with `where`, so that the right key is named.

    Without the driver's parameters, as COPY reads it: a $1 is an error here too.
    """
    async with checking("source.table" if section.table else "source.query"):
        await connection.execute(f"EXPLAIN SELECT FROM {origin}")
    if section.where:
        async with checking("source.where"):
            await connection.execute(f"EXPLAIN SELECT FROM {origin} WHERE {enclosed(section.where)}")


async def _origin(connection: Any, section: PostgresSection) -> tuple[Relation, str, str]:
    if section.table is not None:
        async with checking("source.table"):
            relation = await catalog.relation(connection, section.table)
        if relation is None:
            raise JobError(
                f"source.table: there is no table {section.table} that this role can find; write it as"
                ' schema.table, with "quotes" where the name has capitals'
            )
        if relation.kind not in _TABLES:
            raise JobError(f"source.table: {section.table} is not a table or view")
        if not relation.columns:
            raise JobError(f"source.table: {section.table} has no columns, so there is nothing to read")
        name = f"{identifier(relation.schema)}.{identifier(relation.name)}"
        return relation, name, identifier(relation.name)
    assert section.query is not None, "a source has a table or a query"
    query = enclosed(section.query.strip().rstrip(";"))
    async with checking("source.query"):
        statement = await connection.prepare(f"SELECT * FROM {query} AS source LIMIT 0")
    columns = tuple(
        CatalogColumn(attribute.name, attribute.type.oid, -1, not_null=False, dimensions=0)
        for attribute in statement.get_attributes()
    )
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise JobError(f"source.query: two columns are called {name}; name one of them with AS")
    return Relation(0, "", "", "query", False, 0, columns, (), ()), f"{query} AS source", "source"


def _name(relation: Relation, section: PostgresSection) -> str:
    if section.table is not None:
        return f"{relation.schema}.{relation.name}#{relation.oid}"
    return f"query {section.query}"


async def _column(
    connection: Any, shape: Shape, types: Types, column: CatalogColumn, alias: str
) -> ReadColumn:
    ref = f"{alias}.{identifier(column.name)}"
    node = node_of(types.rows, column.type_oid, column.typmod)
    if has_free_dimensions(node) and column.dimensions <= 1:
        # PostgreSQL holds no column to its number of dimensions, so only a look at all rows proves a list.
        async with checking("source"):
            several = await connection.fetchval(dimensions_sql(shape, ref))
        node = node_of(types.rows, column.type_oid, column.typmod, flat=not several)
    base = types.base(column.type_oid)
    return ReadColumn(column.name, column_sql(node, ref), node, base.name in NATIVE or base.typtype == "e")


def _key(
    relation: Relation, types: Types, section: PostgresSection, alias: str
) -> tuple[tuple[KeyColumn, ...], bool, tuple[str, ...]]:
    if section.key is not None:
        columns = [find_column(relation, name, "source.key") for name in section.key]
        for column in columns:
            if not _sortable(types, column):
                raise JobError(
                    f"source.key: column {column.name} is of type {types.names[column.type_oid]}, which"
                    " can't serve as a position; choose other columns"
                )
    elif relation.primary is not None and all(
        _sortable(types, column) for column in relation.columns if column.name in relation.primary
    ):
        columns = [find_column(relation, name, "source.key") for name in relation.primary]
    else:
        what = "query" if relation.kind == "query" else relation.name
        return (), False, (
            f"{what} has no key to resume from, so it is read in one segment and an interruption starts it"
            " over; set source.key to columns that sort its rows.",
        )  # fmt: skip
    names = {column.name for column in columns}
    unique = any(names.issuperset(index.columns) for index in relation.unique_indexes)
    proved = {name for index in relation.unique_indexes for name in index.columns}
    parts = tuple(
        KeyColumn(
            column.name,
            f"{alias}.{identifier(column.name)}",
            types.names[types.base(column.type_oid).oid],
            types.casts[types.base(column.type_oid).oid],
            nullable=not (column.not_null and relation.kind in ("r", "p") and not relation.inherited)
            and column.name not in proved,
            operators=types.operators(column.type_oid),
        )
        for column in columns
    )
    return parts, unique, ()


def _sortable(types: Types, column: CatalogColumn) -> bool:
    base = types.base(column.type_oid)
    node = node_of(types.rows, column.type_oid, column.typmod)
    if not isinstance(node, Printed) or node.reading is Reading.JSON:
        return False
    return base.oid in types.ordered or base.typtype in ("e", "r") or base.name in _SORTED_AS_OTHERS
