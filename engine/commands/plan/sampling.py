"""Rows from all over a source.

Invariant: a sample never holds only the first rows, and how many rows it holds is bounded.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing

from engine.batch import Batch
from engine.contracts.source import Source

STRETCHES = 40
"""Ranges of which the beginnings are read, where a source can't draw rows at random itself."""


async def sampled(source: Source, rows: int, of: int | None) -> AsyncIterator[Batch]:
    """Read about `rows` rows from all over the source, all of a small one; it has `of`, if that is known."""
    if (sample := source.abilities.sample) is not None:
        async with aclosing(sample(rows, of)) as batches:
            async for batch in batches:
                yield batch
        return
    expected = await source.rows_expected() if of is None else of
    small = expected is not None and expected <= rows
    segments = await source.segments(1 if small else STRETCHES)
    each = max(1, rows // len(segments))
    for segment in segments:
        left = each
        async with aclosing(source.read(segment, None)) as batches:
            async for batch in batches:
                part = batch.rows.slice(0, left)
                yield Batch(batch.segment, batch.sequence, part, None)
                left -= part.num_rows
                if left <= 0:
                    break
