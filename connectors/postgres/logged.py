"""The tables that a job goes by in the log, and the SQL that turns what the log says into rows of the source.

Old rows go through the server: their texts stand in place of the table, and the select list of the source
reads them, so that a value takes the one way there is, whatever its type.

Invariant: what the log says is compared with nothing here; a table is known by its OID.
"""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from connectors.postgres import catalog
from connectors.postgres.catalog import Relation, Types
from connectors.postgres.embed import Element, element_of
from connectors.postgres.errors import checking
from connectors.postgres.quoting import identifier, literal
from connectors.postgres.section import Embed, PostgresSection
from connectors.postgres.settings import by_catalogs
from connectors.postgres.sql import KeyColumn, Shape, one_of
from engine.batch import Cursor
from engine.contracts.feed import LogNeeds
from engine.errors import JobError
from engine.frozen import dataclass

Texts = tuple[str | None, ...]

_PRINTED_ONE_WAY = ("int2", "int4", "int8", "uuid", "bool", "date", "text", "varchar")
"""Types whose equal values print alike, as long as a text's collation tells all texts apart."""
_TELLING = """
SELECT coalesce(bool_and(c.collisdeterministic), true)
FROM pg_attribute AS a JOIN pg_collation AS c ON c.oid = a.attcollation
WHERE (a.attrelid = $1::int8::oid AND a.attname = ANY ($2::text[]))
   OR (a.attrelid = $3::int8::oid AND a.attname = ANY ($4::text[]))
"""


@dataclass(frozen=True, slots=True)
class LoggedTable:
    """A table that changes are wanted of.

    `needed`: the columns of a row as it was, in the order in which they are kept; `key`: those of them that
    are looked up, the source's own key or, of children, what leads to the parent. `parents`: the parent's
    columns that these lead to; empty for the source's own table. `element` of children that give keys.
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
    element: Element | None = None

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
    def lists(self) -> frozenset[str]:
        """The lists of children of whose elements keys are made."""
        return frozenset(table.element.name for table in self.tables if table.element is not None)

    @property
    def own(self) -> LoggedTable:
        """The table that the source reads."""
        return self.tables[0]


async def logged(connection: Any, section: PostgresSection, shape: Shape, needs: LogNeeds) -> Logged:
    """Look the tables of a job up. Call inside a transaction. Raises: JobError."""
    assert section.table is not None, "a query has no log"
    own = await _relation(connection, section.table, "source.table")
    types = await catalog.types(connection, {column.type_oid for column in own.columns})
    if not shape.key or not shape.key_unique:
        raise JobError(
            f"source.catch_up: {section.table} has no unique key to look changed rows up by; set"
            " source.key to columns that are unique and not null, or create a primary key"
        )
    key = tuple(part.name for part in shape.key)
    tables = [
        LoggedTable(
            own.oid, own.schema, own.name, own.kind, own.inherited,
            tuple(dict.fromkeys((*key, *sorted(needs.columns - section.embed.keys())))), key, "source.table",
        )
    ]  # fmt: skip
    for name, embed in section.embed.items():
        child = await _relation(connection, embed.table, f"source.embed.{name}.table")
        theirs = tuple(embed.on)
        parents = tuple(_lead(own, types, ours) for ours in embed.on.values())
        element, fields = None, frozenset[str]()
        if name in needs.columns:
            fields = _fields_of_keys(name, embed, key, needs)
            element = await element_of(connection, name, embed, child, own)
            await _see_to_on(connection, name, embed, child, own)
        tables.append(
            LoggedTable(
                child.oid, child.schema, child.name, child.kind, child.inherited,
                tuple(dict.fromkeys((*theirs, *sorted(fields)))), theirs, f"source.embed.{name}.table",
                parents, element,
            )
        )  # fmt: skip
    casts = tuple((column.name, types.casts[types.base(column.type_oid).oid]) for column in own.columns)
    return Logged(tuple(tables), casts, frozenset(section.embed), needs.by)


def _fields_of_keys(name: str, embed: Embed, key: tuple[str, ...], needs: LogNeeds) -> frozenset[str]:
    """Return the children's columns that keys are made of.

    Raises: JobError where an old child's row doesn't tell the key that its element had.
    """
    made = needs.elements[name]
    why = None
    if made.fields is None:
        why = (
            "need more of a child than its columns (its place in the list, a list in it, or, in mode newer, a"
            " version)"
        )
    elif set(embed.on.values()) != set(key):
        why = f"are of children that don't belong to their row by source.key ({', '.join(key)})"
    elif others := sorted(made.columns - set(key)):
        why = f"need {', '.join(others)} of a child's row, which may have changed meanwhile"
    if why is None:
        return made.fields or frozenset()
    raise JobError(
        f"source.catch_up: item keys of for_each: {name} {why}, and the log brings a child that is gone"
        f" without its row and its siblings; make them of the children's own columns and of {', '.join(key)},"
        " load the children by a job of their own, or go by source.watermark"
    )


async def _see_to_on(connection: Any, name: str, embed: Embed, child: Relation, own: Relation) -> None:
    """See that what joins a child with its row prints alike in both. Raises: JobError."""
    pairs = [
        catalog.find_column(relation, column, f"source.embed.{name}.on")
        for theirs, ours in embed.on.items()
        for relation, column in ((child, theirs), (own, ours))
    ]
    types = await catalog.types(connection, {column.type_oid for column in pairs})
    alike = all(types.base(column.type_oid).name in _PRINTED_ONE_WAY for column in pairs)
    async with by_catalogs(connection):
        names = list(embed.on), list(embed.on.values())
        telling = await connection.fetchval(_TELLING, child.oid, names[0], own.oid, names[1])
    if not (alike and telling):
        raise JobError(
            f"source.catch_up: item keys are made of for_each: {name}, and values that are equal by"
            f" source.embed.{name}.on may print in several ways, so that the keys of a child that is gone"
            " can't be told; load the children by a job of their own, or go by source.watermark"
        )


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
        "'[]'::pg_catalog.json" if column.name in found.embedded - found.lists else column.sql
        for column in shape.columns
    )
    return f"SELECT {selected} FROM {old_rows_from(found, rows)}"


def old_elements_sql(shape: Shape, found: Logged, child: LoggedTable, rows: Sequence[Texts]) -> str:
    """Return the SELECT that reads children as they were, each as the only one of its row.

    Of the row there is nothing but the key, by which they belong to it.
    """
    element, own = child.element, found.own
    assert element is not None, "keys are made of these children"
    selected = ", ".join(
        f"pg_catalog.json_build_array({element.sql})" if column.name == element.name
        else "'[]'::pg_catalog.json" if column.name in found.embedded
        else column.sql
        for column in shape.columns
    )  # fmt: skip
    of_child, places = dict(element.casts), {name: f"v{n}" for n, name in enumerate(child.needed)}
    values = ", ".join(
        f"({', '.join(_value(text, of_child[name]) for text, name in zip(texts, child.needed, strict=True))})"
        for texts in rows
    )
    leads = {parent.name: places[name] for name, parent in zip(child.key, child.parents, strict=True)}
    row = ", ".join(
        f"{leads[name]}::{cast} AS {identifier(name)}" if name in leads
        else f"NULL::{cast} AS {identifier(name)}"
        for name, cast in found.casts
    )  # fmt: skip
    fields = ", ".join(
        f"{places.get(name, f'NULL::{cast}')} AS {identifier(name)}" for name, cast in element.casts
    )
    return (
        f'SELECT {selected} FROM (VALUES {values}) AS "children that were" ({", ".join(places.values())}),'
        f" LATERAL (SELECT {row}) AS {identifier(own.name)}, LATERAL (SELECT {fields}) AS {element.alias}"
    )


def rows_of_elements(found: Logged, child: LoggedTable, rows: Sequence[Texts]) -> Sequence[Texts]:
    """Return what is known of the rows that children belonged to: their keys."""
    at = {
        parent.name: child.needed.index(name) for name, parent in zip(child.key, child.parents, strict=True)
    }
    return [tuple(texts[at[name]] if name in at else None for name in found.own.needed) for texts in rows]


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
