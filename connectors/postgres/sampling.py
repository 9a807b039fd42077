"""Rows from all over a source, and how many there are: what `backfill plan` asks of PostgreSQL.

Invariant: reads only, inside the run's snapshot; how many rows are drawn is bounded whatever statistics say.
"""

# ruff: noqa: S608 - SQL is built in sql.py; every name and value in it goes through quoting.py

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import asyncpg

from connectors.postgres.copy import ParsedRows, copy
from connectors.postgres.errors import speaking
from connectors.postgres.quoting import operator
from connectors.postgres.sql import Shape, tablesample, where_sql
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
    parts = copy(connection, sql, drawn, batch_rows, codec)
    try:
        async for part in parts:
            yield part
            taken += part.rows.num_rows
            if taken >= rows * OVERDRAWN_MAX:
                return
    finally:
        await parts.aclose()


async def count(connection: Any, shape: Shape, within_s: float) -> int | None:
    """Count the source's rows; None when that takes longer than `within_s`.

    The connection is used up then.
    """
    await connection.execute(f"SET LOCAL statement_timeout = {max(1, round(within_s * 1000))}")
    try:
        async with speaking("source"):
            counted = await connection.fetchval(
                f"SELECT pg_catalog.count(*) FROM {shape.origin}{where_sql(shape)}"
            )
    except TransientError as error:
        if isinstance(error.__cause__, asyncpg.QueryCanceledError):
            return None
        raise
    return int(counted)


async def _percent(connection: Any, shape: Shape, rows: int) -> float | None:
    """Return the share of pages that holds about `rows` wanted rows, in percent; None: all."""
    pages = max(1, shape.pages)
    probed = 100.0 * PROBED_PAGES / pages
    while probed < WHOLE_PERCENT:
        sql = f"SELECT pg_catalog.count(*) FROM {shape.origin}{tablesample(probed, SEED)}{where_sql(shape)}"
        found = int(await connection.fetchval(sql))
        if found >= PROBED_ROWS_MIN:
            wanted = probed * rows / found
            return wanted if wanted < WHOLE_PERCENT else None
        probed *= 10
    return None
