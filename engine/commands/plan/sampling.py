"""Rows from all over a source.

Invariant: a sample never holds only the first rows, and how many rows it holds is bounded.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from engine.batch import Batch
from engine.contracts.source import Source

STRETCHES = 40
"""Ranges of which the beginnings are read, where a source can't draw rows at random itself."""


@runtime_checkable
class Sampling(Protocol):
    """A source that can draw rows at random itself."""

    def sample(self, rows: int, of: int | None) -> AsyncGenerator[Batch, None]:
        """Read about `rows` rows from random places all over the source; it has `of`, if that is known."""


@runtime_checkable
class Counting(Protocol):
    """A source that can count its rows."""

    async def count(self, within_s: float) -> int | None:
        """Count the rows that a whole pass reads; None when that takes longer than `within_s`."""


@runtime_checkable
class Inspecting(Protocol):
    """A source that knows more about itself."""

    async def inspect(self) -> tuple[int | None, Sequence[str]]:
        """Return the source's size in bytes, None when unknown, and what will make reading it slow."""


@runtime_checkable
class Lasting(Protocol):
    """A source to which it matters how long it is read."""

    async def lasting(self, load_s: float, load: str) -> Sequence[str]:
        """Say what a load that takes so long has to expect; `load` is that in words."""


async def sampled(source: Source, rows: int, of: int | None) -> AsyncIterator[Batch]:
    """Read about `rows` rows from all over the source, all of a small one; it has `of`, if that is known."""
    if isinstance(source, Sampling):
        async with aclosing(source.sample(rows, of)) as batches:
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


async def counted(source: Source, within_s: float) -> int | None:
    """Count a source's rows where it can do so in time; None otherwise."""
    return await source.count(within_s) if isinstance(source, Counting) else None


async def inspected(source: Source) -> tuple[int | None, Sequence[str]]:
    """Return what a source knows about itself; nothing where it knows nothing."""
    return await source.inspect() if isinstance(source, Inspecting) else (None, ())


async def lasting(source: Source, load_s: float, load: str) -> Sequence[str]:
    """Say what a load that takes so long has to expect of the source."""
    return await source.lasting(load_s, load) if isinstance(source, Lasting) else ()
