"""The raw batches of a cursor, one ahead.

Invariant: a cursor that isn't read to its end is closed.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any


async def raw_batches(cursor: Any) -> AsyncGenerator[bytes, None]:
    """Yield the raw batches of a cursor; the next one is on its way while one is at work."""
    coming = asyncio.create_task(_following(cursor))
    try:
        while (data := await coming) is not None:
            coming = asyncio.create_task(_following(cursor))
            yield data
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        with suppress(Exception):
            await cursor.close()


async def _following(cursor: Any) -> bytes | None:
    """Return the next raw batch, None at the end."""
    try:
        return bytes(await cursor.__anext__())
    except StopAsyncIteration:
        return None
