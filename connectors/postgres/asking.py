"""Whether two rows share values: asked of the server, in the run's snapshot and for a bounded time.

Invariant: "no" is said only of what the server has looked at whole, and of values that are equal wherever
they print alike. Equal ones may print differently, which costs a needless look at all keys and nothing else;
nulls make no keys.
"""

# ruff: noqa: S608 - SQL is built here; every name in it goes through quoting.py

from collections.abc import Sequence
from typing import Any

import asyncpg

from connectors.postgres.errors import speaking
from connectors.postgres.quoting import operator
from connectors.postgres.sql import ReadColumn, Shape, where_sql
from connectors.postgres.types import Printed, Reading
from engine.errors import TransientError


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
    limit_ms = max(1, round(within_s * 1000 / max(1, len(sets))))
    await connection.execute(f"SET LOCAL statement_timeout = {limit_ms}")
    try:
        for names in sets:
            async with speaking("source"):
                if await connection.fetchval(shared_sql(shape, [known[name] for name in sorted(names)])):
                    return True
    except TransientError as error:
        if isinstance(error.__cause__, asyncpg.QueryCanceledError):
            return None
        raise
    return False


def shared_sql(shape: Shape, columns: Sequence[ReadColumn]) -> str:
    """Return a query that tells whether two rows have equal values in these columns."""
    there = tuple(f"{column.sql} IS NOT NULL" for column in columns)
    by = ", ".join(column.comparable for column in columns)
    return (
        f"SELECT EXISTS (SELECT FROM {shape.origin}{where_sql(shape, there)} GROUP BY {by}"
        f" HAVING pg_catalog.count(*) {operator('>')} 1)"
    )
