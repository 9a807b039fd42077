"""Rows by their keys, for verify and redrive: some at random, and those that one asks for.

Invariant: a text that the server doesn't take for a key keeps no other row from being read, and is called
refused only if the server said so of the keys alone.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import asyncpg

from connectors.postgres.copy import ParsedRows
from connectors.postgres.errors import speaking
from connectors.postgres.sql import Shape, lookup_sql, sample_sql, values_sql
from engine.batch import Batch, Cursor
from engine.contracts.source import KeysRefused
from engine.errors import PermanentError

LOOKUP_KEYS = 500
"""Keys of one lookup: the statement stays short, and the server can go by the index."""
SAMPLED_WHOLE_ROWS = 200_000
"""Up to so many rows a sample is chosen among all of them, beyond that among some pages."""
SAMPLED_SPARE = 50.0
"""How many times the wanted rows are on the pages that are chosen among: neighbours are alike."""

Read = Callable[[str], AsyncGenerator[ParsedRows, None]]
Refused = Callable[[Sequence[Cursor]], Awaitable[frozenset[Cursor]]]


async def sampled(connection: Any, shape: Shape, rows: int | None, count: int, seed: int) -> Sequence[Cursor]:
    """Return the keys of `count` random rows of about `rows`."""
    percent = None
    if shape.samples and rows is not None and rows > SAMPLED_WHOLE_ROWS:
        share = 100.0 * SAMPLED_SPARE * count / rows
        percent = share if share < 50.0 else None
    async with speaking("source"):
        found = await connection.fetch(sample_sql(shape, count, seed, percent))
    return [Cursor(tuple(row)) for row in found]


async def by_key(
    shape: Shape, keys: Sequence[Cursor], read: Read, refused_of: Refused
) -> AsyncGenerator[Batch, None]:
    """Read the rows that have these keys. `refused_of` asks, on a connection of its own, what `refused` asks.

    Raises: KeysRefused, PermanentError, TransientError.
    """
    strange = frozenset(
        key for key in keys if any("\0" in text for text in key.key)
    )  # no text of theirs has one
    asked = [key for key in keys if key not in strange]
    groups = [asked[start : start + LOOKUP_KEYS] for start in range(0, len(asked), LOOKUP_KEYS)]
    for number, group in enumerate(groups):
        try:
            async with aclosing(read(lookup_sql(shape, group))) as parts:
                async for part in parts:
                    yield Batch(0, number, part.rows, part.end)
        except PermanentError:
            # What isn't a value of its type is refused before a row is looked at, so none has been given yet.
            found = await refused_of(group)
            if not found:
                raise
            strange |= found
            if rest := [key for key in group if key not in found]:
                async with aclosing(read(lookup_sql(shape, rest))) as parts:
                    async for part in parts:
                        yield Batch(0, number, part.rows, part.end)
    if strange:
        told = ", ".join(min(strange, key=lambda key: key.key).key)
        names = ", ".join(f"{key.name} {key.type}" for key in shape.key)
        raise KeysRefused(
            f"{len(strange)} of {len(keys)} keys can't be values of {names}, such as {told}", strange
        )


async def refused(connection: Any, shape: Shape, keys: Sequence[Cursor]) -> frozenset[Cursor]:
    """Return the keys with a text that isn't a value of its column's type. Call inside a transaction."""
    try:
        await connection.execute(f"SAVEPOINT asked; {values_sql(shape, keys)}; RELEASE SAVEPOINT asked")
    except asyncpg.DataError:
        await connection.execute("ROLLBACK TO SAVEPOINT asked; RELEASE SAVEPOINT asked")
    else:
        return frozenset()
    if len(keys) == 1:
        return frozenset(keys)
    middle = len(keys) // 2
    low = await refused(connection, shape, keys[:middle])
    return low | await refused(connection, shape, keys[middle:])
