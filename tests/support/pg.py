"""Helpers to fill a PostgreSQL and to read it through the source."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.postgres.section import PostgresSection
from connectors.postgres.source import PostgresSource, open_source
from engine.batch import Batch, Cursor, Segment


async def execute(url: str, *statements: str) -> None:
    """Run statements, each in its own transaction."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def opened(url: str, since: str | None = None, **section: Any) -> AsyncIterator[PostgresSource]:
    """Open a source and close it at the end."""
    source = await open_source(
        PostgresSection(type="postgres", url=url, **section), since=since, codec=DOCUMENTS
    )
    try:
        yield source
    finally:
        await source.close()


async def batches(source: PostgresSource, segment: Segment, after: Cursor | None = None) -> list[Batch]:
    """Read a segment to its end and see that every batch is as the schema says."""
    found = []
    async for batch in source.read(segment, after):
        assert batch.rows.schema == source.ticket.schema.arrow()
        batch.rows.validate(full=True)
        assert batch.segment == segment.number
        assert batch.sequence == len(found)
        found.append(batch)
    return found


async def rows(source: PostgresSource, wanted: int = 1) -> list[dict[str, Any]]:
    """Read all segments, one after the other."""
    found = []
    for segment in await source.segments(wanted):
        for batch in await batches(source, segment):
            found.extend(batch.rows.to_pylist())
    return found


async def read_all(url: str, wanted: int = 1, **section: Any) -> list[dict[str, Any]]:
    """Open a source, read all of it, close it."""
    async with opened(url, **section) as source:
        return await rows(source, wanted)


async def ids(url: str, wanted: int = 1, **section: Any) -> list[str]:
    """Read all and return the column `id`."""
    return [row["id"] for row in await read_all(url, wanted, **section)]
