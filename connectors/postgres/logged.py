"""The tables that a job goes by in the log, and the SQL that turns what the log says into rows of the source.

Old rows go through the server: their texts stand in place of the table, and the select list of the source
reads them, so that a value takes the one way there is, whatever its type.

Invariant: what the log says is compared with nothing here; a table is known by its OID.
"""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from connectors.postgres import catalog
from connectors.postgres.catalog import Relation, Types
from connectors.postgres.errors import checking
from connectors.postgres.quoting import identifier, literal
from connectors.postgres.section import PostgresSection
from connectors.postgres.sql import KeyColumn, Shape, one_of
from engine.batch import Cursor
from engine.errors import JobError

Texts = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class LoggedTable:
    """A table that changes are wanted of.

    `needed`: the columns of a row as it was, in the order in which they are kept; `key`: those of them that
    are looked up, the source's own key or, of children, what leads to the parent. `parents`: the parent's
    columns that these lead to; empty for the source's own table.
    """

    oid: int
    schema: str
    name: str
    kind: str
    inherited: bool
    needed: tuple[str, ...]
    key: tuple[str, ...]
    of: str
    """The job's key that names it."""
    parents: tuple[KeyColumn, ...] = ()

    @property
    def called(self) -> str:
        """Its name for people."""
        return f"{self.schema}.{self.name}"

    @property
    def written(self) -> str:
        """Its name as SQL has it."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"


@dataclass(frozen=True, slots=True)
class Logged:
    """All tables of a job, its own first.

    Shape: `casts` its columns with their types, as SQL finds them; `by` as in Sharing, empty where rows have
    no peers.
    """

    tables: tuple[LoggedTable, ...]
    casts: tuple[tuple[str, str], ...]
    embedded: frozenset[str]
    by: tuple[tuple[str, ...], ...] = ()

    @property
    def own(self) -> LoggedTable:
        """The table that the source reads."""
        return self.tables[0]


async def logged(connection: Any, section: PostgresSection, shape: Shape, needed: frozenset[str]) -> Logged:
    """Look the tables of a job up. Call inside a transaction. Raises: JobError."""
    assert section.table is not None, "a query has no log"
    own = await _relation(connection, section.table, "source.table")
    types = await catalog.types(connection, {column.type_oid for column in own.columns})
    if lost := sorted(needed & section.embed.keys()):
        raise JobError(
            f"source.catch_up: item keys are made of embedded children ({', '.join(lost)}), and the log"
            " doesn't tell which of them a row had; load the children by a job of their own, or go by"
            " source.watermark"
        )
    if not shape.key or not shape.key_unique:
        raise JobError(
            f"source.catch_up: {section.table} has no unique key to look changed rows up by; set"
            " source.key to columns that are unique and not null, or create a primary key"
        )
    key = tuple(part.name for part in shape.key)
    tables = [
        LoggedTable(
            own.oid, own.schema, own.name, own.kind, own.inherited,
            tuple(dict.fromkeys((*key, *sorted(needed)))), key, "source.table",
        )
    ]  # fmt: skip
    for name, embed in section.embed.items():
        child = await _relation(connection, embed.table, f"source.embed.{name}.table")
        theirs = tuple(embed.on)
        parents = tuple(_lead(own, types, ours) for ours in embed.on.values())
        tables.append(
            LoggedTable(
                child.oid, child.schema, child.name, child.kind, child.inherited,
                theirs, theirs, f"source.embed.{name}.table", parents,
            )
        )  # fmt: skip
    casts = tuple((column.name, types.casts[types.base(column.type_oid).oid]) for column in own.columns)
    return Logged(tuple(tables), casts, frozenset(section.embed))


async def _relation(connection: Any, name: str, key: str) -> Relation:
    async with checking(key):
        found = await catalog.relation(connection, name)
    if found is None:
        raise JobError(
            f"{key}: {name} isn't what it was a moment ago: it was dropped, renamed or made anew; put it"
            " back, or load everything again with --fresh"
        )
    return found


def _lead(parent: Relation, types: Types, name: str) -> KeyColumn:
    """Return a parent's column as a key to look it up by."""
    column = catalog.find_column(parent, name, "source.embed")
    base = types.base(column.type_oid).oid
    return KeyColumn(
        name,
        f"{identifier(parent.name)}.{identifier(name)}",
        types.names[base],
        types.casts[base],
        nullable=True,
        operators=types.operators(column.type_oid),
    )


def old_rows_sql(shape: Shape, found: Logged, rows: Sequence[Texts]) -> str:
    """Return the SELECT that reads rows as they were; what isn't needed of them is null."""
    selected = ", ".join(
        "'[]'::pg_catalog.json" if column.name in found.embedded else column.sql for column in shape.columns
    )
    return f"SELECT {selected} FROM {old_rows_from(found, rows)}"


def old_rows_from(found: Logged, rows: Sequence[Texts]) -> str:
    """Return rows as they were in place of the table; what isn't needed of them is null."""
    own, casts = found.own, dict(found.casts)
    places = {name: f"v{n}" for n, name in enumerate(own.needed)}
    values = ", ".join(
        f"({', '.join(_value(text, casts[name]) for text, name in zip(texts, own.needed, strict=True))})"
        for texts in rows
    )
    columns = ", ".join(
        f"{places.get(name, f'NULL::{cast}')} AS {identifier(name)}" for name, cast in found.casts
    )
    was = f"(VALUES {values}) AS was ({', '.join(places.values())})"
    return f"(SELECT {columns} FROM {was}) AS {identifier(own.name)}"


def _value(text: str | None, cast: str) -> str:
    return f"NULL::{cast}" if text is None else f"{literal(text)}::{cast}"


def parents_sql(shape: Shape, child: LoggedTable, leads: Iterable[Texts]) -> str:
    """Return a query for the keys of the rows that these values of children lead to."""
    leading = replace(shape, key=child.parents)
    cursors = [Cursor(tuple(text for text in texts if text is not None)) for texts in leads]
    texts = ", ".join(f"pg_catalog.format('%s', {key.sql})" for key in shape.key)
    return f"SELECT {texts} FROM {shape.origin} WHERE {one_of(leading, cursors)}"
