"""Whether two rows share values: asked of the server, in the run's snapshot and for a bounded time.

Invariant: "no" is said only of what the server has looked at whole. Values that are equal to the server may
print differently, which costs a needless look at all keys and nothing else; nulls make no keys.
"""

# ruff: noqa: S608 - SQL is built here; every name in it goes through quoting.py

from collections.abc import Sequence
from typing import Any

import asyncpg

from connectors.postgres.errors import speaking
from connectors.postgres.quoting import operator
from connectors.postgres.sql import Shape, where_sql
from connectors.postgres.types import Printed, Reading
from engine.errors import PermanentError, TransientError

_NO_EQUALITY = "42883"
"""undefined_function. Source: PostgreSQL manual, appendix A."""


async def shared(
    connection: Any, shape: Shape, sets: Sequence[frozenset[str]], within_s: float
) -> bool | None:
    """Say whether two rows have equal values in all columns of one of these sets; None: it can't be told.

    The connection is used up then.
    """
    refs = {
        column.name: column.sql
        for column in shape.columns
        if isinstance(column.node, Printed) and column.node.reading is not Reading.JSON
    }
    if not all(names and names <= refs.keys() for names in sets):
        return None
    limit_ms = max(1, round(within_s * 1000 / max(1, len(sets))))
    await connection.execute(f"SET LOCAL statement_timeout = {limit_ms}")
    try:
        for names in sets:
            async with speaking("source"):
                if await connection.fetchval(shared_sql(shape, [refs[name] for name in sorted(names)])):
                    return True
    except TransientError as error:
        if isinstance(error.__cause__, asyncpg.QueryCanceledError):
            return None
        raise
    except PermanentError as error:
        if getattr(error.__cause__, "sqlstate", None) == _NO_EQUALITY:
            return None
        raise
    return False


def shared_sql(shape: Shape, refs: Sequence[str]) -> str:
    """Return a query that tells whether two rows have equal values in these columns."""
    there = tuple(f"{ref} IS NOT NULL" for ref in refs)
    return (
        f"SELECT EXISTS (SELECT FROM {shape.origin}{where_sql(shape, there)} GROUP BY {', '.join(refs)}"
        f" HAVING pg_catalog.count(*) {operator('>')} 1)"
    )
