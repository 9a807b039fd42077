"""Finds the row and the column of a value that the server can't send, so that the user knows what to mend.

Invariant: a row or a column is named only if reading it alone fails.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import asyncpg

from connectors.postgres.errors import said
from connectors.postgres.sql import ReadColumn, Shape, copy_sql, keys_sql
from engine.batch import Cursor, Segment
from engine.errors import BackfillError, PermanentError
from engine.frozen import dataclass

NOT_IN_ENCODING = "22021"
_OF_VALUES = ("22", "54", "XX")
"""Classes of errors that a value may cause: its data, a limit of the program, a damaged or huge value.

Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""
WINDOW_ROWS = 1_000
WINDOWS_MAX = 64
"""How far behind the last row that was handed over the culprit is looked for; chunks hold fewer rows."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """What can't be sent; None where it couldn't be told."""

    column: str | None
    row: Cursor | None


def is_of_a_value(error: BackfillError) -> bool:
    """Whether one value may be what the server failed at."""
    cause = error.__cause__
    return isinstance(cause, asyncpg.PostgresError) and str(cause.sqlstate).startswith(_OF_VALUES)


def blamed(error: PermanentError, culprit: Culprit, shape: Shape) -> PermanentError:
    """Say an error with the row and the column that caused it."""
    row = "some row"
    if culprit.row is not None:
        pairs = zip(shape.key, culprit.row.key, strict=True)
        row = f"the row with {', '.join(f'{key.name} {text}' for key, text in pairs)}"
    column = f"column {culprit.column}" if culprit.column else "some column"
    if getattr(error.__cause__, "sqlstate", None) == NOT_IN_ENCODING:
        return PermanentError(
            f"source.columns: {column} holds text that isn't valid UTF-8 in {row}; mend it in the database or"
            " leave the column out"
        )
    what = f"{column} of {row}" if culprit.column or culprit.row is None else f"{row} as a whole"
    cause = error.__cause__
    words = said(cause) if isinstance(cause, asyncpg.PostgresError) else str(error).removeprefix("source: ")
    return PermanentError(
        f"source.columns: the server can't send {what} ({words}); mend it in the database, or leave"
        f" {'the column' if culprit.column else 'columns'} out, or the row with source.where"
    )


async def culprit(connection: Any, shape: Shape, segment: Segment, after: Cursor | None) -> Culprit:
    """Read again from behind `after`, less and less, until one value is left. Call inside a transaction."""
    lower = after or segment.after
    if not shape.key:
        return Culprit(await _column(connection, shape, segment), None)
    with suppress(asyncpg.PostgresError):  # a key may be what can't be sent
        for _ in range(WINDOWS_MAX):
            rows = await connection.fetch(keys_sql(shape, segment, lower, WINDOW_ROWS))
            keys = [Cursor(tuple(row)) for row in rows]
            if not keys:
                break
            if await _fails(connection, shape, shape.columns, replace(segment, after=lower, until=keys[-1])):
                return await _row(connection, shape, segment, [lower, *keys])
            lower = keys[-1]
    return Culprit(None, None)


async def _row(connection: Any, shape: Shape, segment: Segment, bounds: Sequence[Cursor | None]) -> Culprit:
    """Return the culprit, which is between the first and the last bound, by halves."""
    low, high = 0, len(bounds) - 1
    while high - low > 1:
        middle = (low + high) // 2
        half = replace(segment, after=bounds[low], until=bounds[middle])
        low, high = (low, middle) if await _fails(connection, shape, shape.columns, half) else (middle, high)
    alone = replace(segment, after=bounds[low], until=bounds[high])
    return Culprit(await _column(connection, shape, alone), bounds[high])


async def _column(connection: Any, shape: Shape, segment: Segment) -> str | None:
    for column in shape.columns:
        if await _fails(connection, shape, (column,), segment):
            return column.name
    return None


async def _fails(connection: Any, shape: Shape, columns: Sequence[ReadColumn], segment: Segment) -> bool:
    """Say whether the server can't send these columns of these rows."""

    async def ignore(_: bytes) -> None:
        pass

    sql = copy_sql(replace(shape, columns=tuple(columns)), segment, None)
    await connection.execute("SAVEPOINT blamed")
    try:
        await connection.copy_from_query(f"{sql}\n", output=ignore, format="csv")
    except asyncpg.PostgresError:
        await connection.execute("ROLLBACK TO SAVEPOINT blamed; RELEASE SAVEPOINT blamed")
        return True
    await connection.execute("RELEASE SAVEPOINT blamed")
    return False
