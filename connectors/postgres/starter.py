"""What `init` writes for a PostgreSQL table."""

from collections.abc import Iterator, Mapping

from connectors.postgres.introspect import ChildSeen, ColumnSeen, TableSeen, look_at
from engine.contracts.starter import FieldSeen, Starter
from engine.errors import JobError
from engine.job.yaml_text import comment, listed, quoted, unused
from engine.kinds import Decimal, Scalar

GUESSED_KEY_MAX = 3
"""Columns that stand in for a key where nothing is proved to be one."""


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
