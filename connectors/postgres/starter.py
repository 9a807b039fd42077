"""What `init` writes for a PostgreSQL table, and what it sees of it: columns, keys, children, a watermark.

Invariant: reads only catalogs, besides what laying out a table reads; nothing of the URL is in the result.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from connectors.postgres import catalog, lookalikes
from connectors.postgres.errors import checking
from connectors.postgres.layout import layout
from connectors.postgres.quoting import identifier
from connectors.postgres.section import PostgresSection
from connectors.postgres.session import abandon, begin, connect
from connectors.postgres.settings import by_catalogs
from connectors.postgres.waits import waits_told
from engine.contracts.starter import FieldSeen, Starter
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.yaml_text import comment, listed, quoted, unused
from engine.kinds import Decimal, Kind, Scalar

GUESSED_KEY_MAX = 3
"""Columns that stand in for a key where nothing is proved to be one."""
WATERMARK_NAME = re.compile(
    r"(last_?)?(updated?|modified|changed|modification|mtime)(_?(at|on|ts|time|date|timestamp))?",
    re.IGNORECASE,
)
WATERMARK_TYPES = ("timestamp", "date")
"""How the types begin that a watermark may have, as PostgreSQL writes them."""
PLAIN = re.compile(r"[a-z_][a-z0-9_]*")

_TYPE = "SELECT format_type($1::int8::oid, $2)"
_CHILDREN = """
SELECT k.conrelid::int8 AS child, n.nspname::text AS schema, c.relname::text AS name,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (number, n)
             JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.number
             ORDER BY u.n) AS theirs,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (number, n)
             JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.number
             ORDER BY u.n) AS ours
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
     JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.confrelid = $1::int8::oid AND k.conparentid = 0 AND k.conrelid <> k.confrelid
ORDER BY n.nspname, c.relname, k.conname
"""
_ROWS = "SELECT greatest(reltuples, -1)::int8 FROM pg_class WHERE oid = $1::int8::oid"


@dataclass(frozen=True, slots=True)
class ColumnSeen:
    """A column with its type as PostgreSQL writes it, and what it becomes."""

    name: str
    type: str
    not_null: bool
    kind: Kind


@dataclass(frozen=True, slots=True)
class ChildSeen:
    """A table with a foreign key to this one.

    Shape: `on` child column → parent column; `order_by` the rest of its primary key; `indexed`: one parent's
    children can be found without a scan.
    """

    table: str
    name: str
    on: tuple[tuple[str, str], ...]
    order_by: tuple[str, ...]
    indexed: bool


@dataclass(frozen=True, slots=True)
class TableSeen:
    """A table. Shape: `table` as a job names it; `key` the columns that tell rows apart, empty when none do.

    `primary` says whether they are its primary key. Units: `rows` estimated, None when never counted.
    """

    table: str
    name: str
    columns: tuple[ColumnSeen, ...]
    key: tuple[str, ...]
    primary: bool
    uniques: tuple[tuple[str, ...], ...]
    children: tuple[ChildSeen, ...]
    watermark: str | None
    watermark_indexed: bool
    rows: int | None


async def look_at(url: str, table: str) -> TableSeen:
    """Look at a table."""
    section = PostgresSection.model_validate({"type": "postgres", "url": url, "table": table})
    connection = await connect(url)
    try:
        await lookalikes.check(connection)
        await begin(connection, None)
        async with waits_told(connection, url):
            return await _looked_at(connection, section, table)
    finally:
        await abandon(connection)


async def _looked_at(connection: Any, section: PostgresSection, table: str) -> TableSeen:
    async with checking("--table"):
        relation = await catalog.relation(connection, table)
    if relation is None:
        raise JobError(
            f"--table: there is no table {table} that this role can find; write it as schema.table, with"
            ' "quotes" where the name has capitals'
        )
    found = await layout(connection, section, None)
    async with checking("--table"):
        return await _seen(connection, relation, {c.name: c.kind for c in found.schema.columns})


async def _seen(connection: Any, relation: catalog.Relation, kinds: dict[str, Kind]) -> TableSeen:
    async with by_catalogs(connection):
        types = [await connection.fetchval(_TYPE, each.type_oid, each.typmod) for each in relation.columns]
        rows = await connection.fetchval(_ROWS, relation.oid)
        children = await connection.fetch(_CHILDREN, relation.oid)
    columns = tuple(
        ColumnSeen(column.name, type_, column.not_null, kinds[column.name])
        for column, type_ in zip(relation.columns, types, strict=True)
    )
    uniques = tuple(index.columns for index in relation.unique_indexes if not index.primary)
    key = relation.primary or min(uniques, key=len, default=())
    watermark = _watermark(relation, columns)
    return TableSeen(
        table=written(relation.schema, relation.name),
        name=relation.name,
        columns=columns,
        key=key,
        primary=relation.primary is not None,
        uniques=uniques,
        children=await _children(connection, children),
        watermark=watermark,
        watermark_indexed=watermark is not None and relation.is_indexed([watermark]),
        rows=rows if rows >= 0 else None,
    )


async def _children(connection: Any, rows: Iterable[Any]) -> tuple[ChildSeen, ...]:
    found = []
    for row in rows:
        child = await catalog.relation(connection, written(row["schema"], row["name"]))
        if child is None:
            continue
        on = tuple(zip(row["theirs"], row["ours"], strict=True))
        found.append(
            ChildSeen(
                written(child.schema, child.name),
                child.name,
                on,
                tuple(column for column in child.primary or () if column not in row["theirs"]),
                child.is_indexed(row["theirs"]),
            )
        )
    return tuple(found)


def _watermark(relation: catalog.Relation, columns: Iterable[ColumnSeen]) -> str | None:
    """Return the column that tells when a row last changed, by its name; an indexed one before others."""
    named = [
        column.name
        for column in columns
        if column.type.startswith(WATERMARK_TYPES) and WATERMARK_NAME.fullmatch(column.name)
    ]
    return next((name for name in named if relation.is_indexed([name])), named[0] if named else None)


def written(schema: str, name: str) -> str:
    """Write a table's name as SQL and the job file take it."""
    return ".".join(part if PLAIN.fullmatch(part) else identifier(part) for part in (schema, name))


async def look(url: str, options: Mapping[str, str | None]) -> Starter:
    """Look at a table; see contracts.starter.SourceStarter."""
    table = options["table"]
    if table is None or options["collection"] is not None or options["database"] is not None:
        raise JobError("--table: say which table of this PostgreSQL database to look at, and nothing else")
    return starter_of(await look_at(url, table))


def starter_of(seen: TableSeen) -> Starter:
    """Say what a job for a table looks like. Pure."""
    rows = "" if seen.rows is None else f", about {seen.rows:,} rows"
    return Starter(
        name=seen.name,
        about=[f"A starter job for {comment(seen.table)}{rows}. Check what it would do, then do it:"],
        url="postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full",
        fields=[
            FieldSeen(column.name, column.kind, f"{comment(column.type)}{_marks(seen, column)}")
            for column in seen.columns
        ],
        fields_are="Its columns, and the {type} that each becomes:",
        section=list(_section(seen)),
        key=seen.key or _guessed(seen),
        proved=bool(seen.key),
        rule=[
            "include: all                     # every column under its own name, with its own type",
            "# exclude: [internal_note]",
            "# when: \"status <> 'draft'\"        # Polars SQL: other rows give no item",
        ],
        single=next((names[0] for names in seen.uniques if len(names) == 1 and names != seen.key), None),
    )


def _marks(seen: TableSeen, column: ColumnSeen) -> str:
    marks = ["not null"] if column.not_null else []
    if column.name in seen.key:
        marks.append("primary key" if seen.primary else "unique key")
    return "".join(f", {mark}" for mark in marks)


def _section(seen: TableSeen) -> Iterator[str]:
    yield f"table: {quoted(seen.table)}"
    if seen.key and not seen.primary:
        yield f"key: {listed(seen.key)}        # a unique index proves it; there is no primary key"
    if not seen.key:
        yield "# There is no primary key and no unique index over not-null columns: the table is read in"
        yield "# one segment, and an interruption starts it over. A key changes that."
    if seen.watermark is not None:
        index = "" if seen.watermark_indexed else "; give it an index first"
        yield "# Catch-up runs read what has changed since the last run. Every change must move this"
        yield f"# column, and the role needs pg_read_all_stats{index}."
        yield f"# watermark: {quoted(seen.watermark)}"
    yield '# where: "…"                        # SQL: only these rows are read'
    if seen.children:
        yield "# Tables that refer to this one; each can become a list inside its parent's item:"
        yield "# embed:"
        taken = {column.name for column in seen.columns}
        for child in seen.children:
            name = unused(child.name, taken)
            taken.add(name)
            yield f"#   {quoted(name)}: {_embed(child)}"
            if not child.indexed:
                columns = comment(", ".join(theirs for theirs, _ in child.on))
                yield f"#     # create an index on {comment(child.table)} ({columns}) first"


def _embed(child: ChildSeen) -> str:
    on = ", ".join(f"{quoted(theirs)}: {quoted(ours)}" for theirs, ours in child.on)
    order = f", order_by: {listed(child.order_by)}" if child.order_by else ""
    return f"{{table: {quoted(child.table)}, on: {{{on}}}{order}}}"


def _guessed(seen: TableSeen) -> list[str]:
    scalars = [column for column in seen.columns if isinstance(column.kind, Scalar | Decimal)]
    filled = [column.name for column in scalars if column.not_null]
    found = filled or [column.name for column in scalars] or [column.name for column in seen.columns]
    return found[:GUESSED_KEY_MAX]
