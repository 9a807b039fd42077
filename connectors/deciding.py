"""Rows that share values with changed ones, as far as they decide what stands in an item, in bounded memory.

Invariant: what is left out decides nothing, whatever rows come behind it.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pyarrow as pa

from engine.batch import Batch
from engine.contracts.feed import Deciding

DECIDING_BYTES = 4_000_000
"""From so much on rows are looked through before more are read: a million may share one value."""


async def decided(
    old: Sequence[pa.RecordBatch], parts: AsyncGenerator[pa.RecordBatch, None], deciding: Deciding | None
) -> list[pa.RecordBatch]:
    """Return the rows as they are now, or those that decide. Ordering: `parts` come in that of the key."""
    assert deciding is not None, "who asks for rows with their peers says which decide"
    count, found, limit = sum(map(len, old)), list[pa.RecordBatch](), DECIDING_BYTES
    async with aclosing(parts):
        async for part in parts:
            found.append(part)
            if sum(rows.nbytes for rows in found) > limit:
                found = [await deciding(Batch(0, 0, pa.concat_batches([*old, *found]), None, old=count))]
                limit = max(DECIDING_BYTES, 2 * found[0].nbytes)
    return found
