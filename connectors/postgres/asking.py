"""What is asked of PostgreSQL beside the rows of a run: how large it is, a sample, whether rows share values.

Invariant: reads only; what looks at rows does so in the run's snapshot, bounded in time or in rows whatever
statistics say. That no rows share values is said only of what the server has looked at whole, and of values
that are equal wherever they print alike. Equal ones may print differently, which costs a needless look at all
keys and nothing else; nulls make no keys.
"""

# ruff: noqa: S608 - SQL is built here; every name in it goes through quoting.py

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import asyncpg

from connectors.postgres import catalog
from connectors.postgres.copy import ParsedRows, copy
from connectors.postgres.errors import speaking
from connectors.postgres.quoting import operator
from connectors.postgres.section import PostgresSection
from connectors.postgres.settings import by_catalogs
from connectors.postgres.sql import ReadColumn, Shape, tablesample, where_sql
from connectors.postgres.types import Printed, Reading
from engine.contracts.documents import DocumentCodec
from engine.errors import TransientError

PROBED_PAGES = 200
"""Pages that are counted first, to learn how many rows of a page are wanted at all."""
PROBED_ROWS_MIN = 50
OVERDRAWN_MAX = 3
"""How many times the wanted rows are taken at most, where the server's estimate was far off."""
SEED = 20_261
WHOLE_PERCENT = 50.0
"""Where a sample would take this share of the pages, all of them are read instead."""

_SIZE = """
SELECT CASE WHEN c.relkind = 'p' THEN (SELECT coalesce(sum(pg_table_size(relid)), 0)
                                       FROM pg_partition_tree(c.oid) WHERE isleaf)
            WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) END::int8
FROM pg_class AS c WHERE c.oid = $1::int8::oid
"""

LOG_COUNTED_SINCE = 14
"""The major version that counts what it writes. Source: PostgreSQL 14, release notes, pg_stat_wal."""
LOG_COUNTED_MIN_S = 60.0
"""What was counted for a shorter time tells nothing of a day."""
_LOG_RATE = """
SELECT extract(epoch FROM clock_timestamp() - w.stats_reset)::float8 AS seconds, w.wal_bytes::float8 AS bytes,
       to_char(w.stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
FROM pg_stat_wal AS w
"""


async def facts(connection: Any, section: PostgresSection) -> tuple[int | None, list[str]]:
    """Return a table's size in bytes with its long values, None when unknown, and what makes reading it slow.

    The section has been checked before.
    """
    warnings: list[str] = []
    if await connection.fetchval("SELECT pg_catalog.pg_is_in_recovery()"):
        warnings.append(
            "The source is a standby: it cancels reads that are in the way of its replay; raise"
            " max_standby_streaming_delay or set hot_standby_feedback = on for the time of the load."
        )
    relation = None if section.table is None else await catalog.relation(connection, section.table)
    if relation is None:
        return None, warnings
    key = section.key or relation.primary or ()
    if key and relation.kind in ("r", "p", "m") and tuple(key) not in {
        columns[: len(key)] for columns in relation.leading_columns
    }:  # fmt: skip
        warnings.append(
            f"No index begins with source.key ({', '.join(key)}), so each segment scans and sorts the table;"
            " create one, or choose columns that have one."
        )
    async with by_catalogs(connection):
        return await connection.fetchval(_SIZE, relation.oid), warnings


async def log_rate(connection: Any) -> tuple[float, str] | None:
    """Return how many bytes of log a second the server wrote on average, and since when; None: untold.

    Call inside a transaction.
    """
    if connection.get_server_version().major < LOG_COUNTED_SINCE:
        return None
    async with speaking("source"), by_catalogs(connection):
        row = await connection.fetchrow(_LOG_RATE)
    if row is None or row["since"] is None or row["seconds"] < LOG_COUNTED_MIN_S:
        return None
    return row["bytes"] / row["seconds"], row["since"]


async def draw(
    connection: Any, shape: Shape, rows: int, expected: int | None, batch_rows: int, codec: DocumentCodec
) -> AsyncGenerator[ParsedRows, None]:
    """Read about `rows` rows from random places. Call inside the snapshot.

    Ordering: as they are stored, where the relation has pages.
    """
    async with speaking("source"):
        percent = await _percent(connection, shape, rows) if shape.samples else None
    origin, filters = shape.origin, shape.filters
    if percent is not None:
        origin += tablesample(percent, SEED)
    elif not shape.samples and expected and expected > rows:
        filters = (*filters, f"pg_catalog.random() {operator('<')} {rows / expected:.9f}")
    drawn = replace(shape, origin=origin, filters=filters, key=())
    sql = f"SELECT {', '.join(column.sql for column in drawn.columns)} FROM {origin}{where_sql(drawn)}"
    taken = 0
    async with aclosing(copy(connection, sql, drawn, batch_rows, codec)) as parts:
        async for part in parts:
            yield part
            taken += part.rows.num_rows
            if taken >= rows * OVERDRAWN_MAX:
                return


async def _percent(connection: Any, shape: Shape, rows: int) -> float | None:
    """Return the share of pages that holds about `rows` wanted rows, in percent; None: all."""
    probed = 100.0 * PROBED_PAGES / max(1, shape.pages)
    while probed < WHOLE_PERCENT:
        sql = f"SELECT pg_catalog.count(*) FROM {shape.origin}{tablesample(probed, SEED)}{where_sql(shape)}"
        found = int(await connection.fetchval(sql))
        if found >= PROBED_ROWS_MIN:
            wanted = probed * rows / found
            return wanted if wanted < WHOLE_PERCENT else None
        probed *= 10
    return None


async def count(connection: Any, shape: Shape, within_s: float) -> int | None:
    """Count the source's rows; None when that takes longer. The connection is used up then."""
    sql = f"SELECT pg_catalog.count(*) FROM {shape.origin}{where_sql(shape)}"
    counted: int | None = await _answer(connection, sql, within_s)
    return counted


async def shared(
    connection: Any, shape: Shape, sets: Sequence[frozenset[str]], within_s: float
) -> bool | None:
    """Say whether two rows have equal values in all columns of one of these sets; None: it can't be told.

    The connection is used up then.
    """
    known = {
        column.name: column
        for column in shape.columns
        if isinstance(column.node, Printed) and column.node.reading is not Reading.JSON
    }
    if not all(names and names <= known.keys() for names in sets):
        return None
    for names in sets:
        sql = shared_sql(shape, [known[name] for name in sorted(names)])
        if (found := await _answer(connection, sql, within_s / len(sets))) is not False:
            return None if found is None else True
    return False


def shared_sql(shape: Shape, columns: Sequence[ReadColumn]) -> str:
    """Return a query that tells whether two rows have equal values in these columns."""
    there = tuple(f"{column.sql} IS NOT NULL" for column in columns)
    by = ", ".join(column.comparable for column in columns)
    return (
        f"SELECT EXISTS (SELECT FROM {shape.origin}{where_sql(shape, there)} GROUP BY {by}"
        f" HAVING pg_catalog.count(*) {operator('>')} 1)"
    )


async def _answer(connection: Any, sql: str, within_s: float) -> Any:
    """Return the one value that a query gives; None when that takes longer than `within_s`."""
    await connection.execute(f"SET LOCAL statement_timeout = {max(1, round(within_s * 1000))}")
    try:
        async with speaking("source"):
            return await connection.fetchval(sql)
    except TransientError as error:
        if isinstance(error.__cause__, asyncpg.QueryCanceledError):
            return None
        raise
