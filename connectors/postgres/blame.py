"""Finds the column whose text isn't valid UTF-8, so that the user knows where to mend it."""

from dataclasses import replace
from typing import Any

import asyncpg

from connectors.postgres.sql import Shape, copy_sql
from engine.batch import Cursor, Segment
from engine.errors import BackfillError

NOT_IN_ENCODING = "22021"
"""Source: https://www.postgresql.org/docs/current/errcodes-appendix.html, character_not_in_repertoire."""


def is_bad_text(error: BackfillError) -> bool:
    """Whether the server met text that isn't valid in its encoding."""
    cause = error.__cause__
    return isinstance(cause, asyncpg.PostgresError) and cause.sqlstate == NOT_IN_ENCODING


async def bad_text_column(
    connection: Any, shape: Shape, segment: Segment, after: Cursor | None
) -> str | None:
    """Read the columns one by one and return the first that fails; the connection is used up by it."""

    async def ignore(_: bytes) -> None:
        pass

    for column in shape.columns:
        sql = copy_sql(replace(shape, columns=(column,)), segment, after)
        try:
            await connection.copy_from_query(f"{sql}\n", output=ignore, format="csv")
        except asyncpg.PostgresError as error:
            if error.sqlstate == NOT_IN_ENCODING:
                return column.name
            return None
    return None
