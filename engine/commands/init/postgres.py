"""A starter job file for a PostgreSQL table. Pure.

Invariant: the text is a job file that loads and runs as it is; suggestions that could fail are comments.
"""

from collections.abc import Iterator

from connectors.dynamodb.encoding.keys import type_letters
from connectors.postgres.introspect import ChildSeen, ColumnSeen, TableSeen
from engine.commands.init.yaml_text import (
    comment,
    job_name,
    listed,
    literal,
    mapped,
    placeholder,
    quoted,
    table_name,
    template,
    unused,
)
from engine.kinds import Decimal, Scalar

GUESSED_KEY_MAX = 3
"""Columns that stand in for a key where nothing is proved to be one."""


def job_file(seen: TableSeen) -> str:
    """Write the job file."""
    names = [column.name for column in seen.columns]
    partition, sort = (unused(name, names) for name in ("PK", "SK"))
    lines = [
        *_head(seen),
        "",
        *_source(seen),
        "",
        *_target(seen, partition, sort),
        "",
        *_items(seen, partition, sort),
    ]
    return "\n".join(lines) + "\n"


def _head(seen: TableSeen) -> Iterator[str]:
    rows = "" if seen.rows is None else f", about {seen.rows:,} rows"
    yield f"# A starter job for {comment(seen.table)}{rows}. Check what it would do, then do it:"
    yield "#"
    yield "#   export SOURCE_URL=postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    yield "#   backfill plan JOB.yaml"
    yield "#   backfill table create JOB.yaml"
    yield "#   backfill run JOB.yaml"
    yield "#"
    yield "# Its columns, and the DynamoDB type that each becomes:"
    width = max((len(comment(column.name)) for column in seen.columns), default=0)
    for column in seen.columns:
        told = f"{comment(column.type)}{_marks(seen, column)}"
        yield f"#   {comment(column.name):{width}}  {_letters(column):5}  {told}"
    yield ""
    yield f"name: {quoted(job_name(seen.name))}"


def _letters(column: ColumnSeen) -> str:
    letters = type_letters(column.kind)
    return "any" if letters is None else letters


def _marks(seen: TableSeen, column: ColumnSeen) -> str:
    marks = [
        mark
        for mark, holds in (
            ("not null", column.not_null),
            ("primary key" if seen.primary else "unique key", column.name in seen.key),
        )
        if holds
    ]
    return f", {', '.join(marks)}" if marks else ""


def _source(seen: TableSeen) -> Iterator[str]:
    yield "source:"
    yield "  type: postgres"
    yield "  url: ${SOURCE_URL}"
    yield f"  table: {quoted(seen.table)}"
    if seen.key and not seen.primary:
        yield f"  key: {listed(seen.key)}        # a unique index proves it; there is no primary key"
    if not seen.key:
        yield "  # There is no primary key and no unique index over not-null columns: the table is read in"
        yield "  # one segment, and an interruption starts it over. A key changes that."
    if seen.watermark is not None:
        index = "" if seen.watermark_indexed else "; give it an index first"
        yield "  # Catch-up runs read what has changed since the last run. Every change must move this"
        yield f"  # column, and the role needs pg_read_all_stats{index}."
        yield f"  # watermark: {quoted(seen.watermark)}"
    yield '  # where: "…"                        # SQL: only these rows are read'
    if seen.children:
        yield "  # Tables that refer to this one; each can become a list inside its parent's item:"
        yield "  # embed:"
        taken = {column.name for column in seen.columns}
        for child in seen.children:
            name = unused(child.name, taken)
            taken.add(name)
            yield f"  #   {quoted(name)}: {_embed(child)}"
            if not child.indexed:
                columns = comment(", ".join(theirs for theirs, _ in child.on))
                yield f"  #     # create an index on {comment(child.table)} ({columns}) first"


def _embed(child: ChildSeen) -> str:
    on = ", ".join(f"{quoted(theirs)}: {quoted(ours)}" for theirs, ours in child.on)
    order = f", order_by: {listed(child.order_by)}" if child.order_by else ""
    return f"{{table: {quoted(child.table)}, on: {{{on}}}{order}}}"


def _target(seen: TableSeen, partition: str, sort: str) -> Iterator[str]:
    yield "target:"
    yield "  type: dynamodb"
    yield f"  table: {quoted(table_name(seen.name))}"
    yield "  # region: us-east-1                # default: the AWS configuration's"
    yield "  # endpoint_url: http://127.0.0.1:8000   # a local server instead of AWS"
    yield "  # max_wcu: 4000                    # leave room for the application"
    yield "  create:                            # what `backfill table create` makes"
    yield f"    partition_key: {partition}"
    yield f"    sort_key: {sort}"
    yield "    billing: on_demand"
    yield "    # pitr: true"
    yield "    # warm_throughput: {write: 40000}  # for a large load; `backfill plan` says whether it pays"
    if _lookup(seen) is not None:
        yield "    # gsi:"
        yield "    #   - {name: GSI1, partition_key: GSI1PK}"


def _items(seen: TableSeen, partition: str, sort: str) -> Iterator[str]:
    yield "items:"
    yield f"  - name: {quoted(seen.name)}"
    if not seen.key:
        yield "    # CHANGE THIS: nothing proves that these columns tell rows apart (`backfill plan --full`)."
    yield f"    key: {mapped(_key(seen, partition, sort))}"
    yield "    include: all                     # every column under its own name, with its own type"
    yield "    # exclude: [internal_note]"
    yield "    # when: \"status <> 'draft'\"        # Polars SQL: other rows give no item"
    names = {column.name for column in seen.columns}
    yield "    attributes:"
    yield f"      {unused('EntityType', names)}: {quoted(literal(seen.name))}"
    lookup = _lookup(seen)
    if lookup is not None:
        text = template(f"{literal(lookup.upper())}#{placeholder(lookup)}")
        yield f"      # GSI1PK: {text}      # finds an item by its {comment(lookup)}"


def _key(seen: TableSeen, partition: str, sort: str) -> dict[str, str]:
    """Return the key's templates: the first column in the partition key, all others in the sort key."""
    prefix = literal(seen.name.upper())
    first, *others = seen.key or _guessed(seen)
    rest = "#".join(f"{literal(name.upper())}#{placeholder(name)}" for name in others)
    return {partition: f"{prefix}#{placeholder(first)}", sort: rest or prefix}


def _guessed(seen: TableSeen) -> list[str]:
    scalars = [column for column in seen.columns if isinstance(column.kind, Scalar | Decimal)]
    filled = [column.name for column in scalars if column.not_null]
    return (filled or [column.name for column in scalars] or [column.name for column in seen.columns])[
        :GUESSED_KEY_MAX
    ]


def _lookup(seen: TableSeen) -> str | None:
    """Return a column by which single rows are looked up besides the key, if an index shows one."""
    return next((columns[0] for columns in seen.uniques if len(columns) == 1 and columns != seen.key), None)
