"""What every batch of a plan goes through, and what is added up of it.

Invariant: what is added up belongs to one reading, however many go on side by side; measuring is pure.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeAlias

from engine.batch import Batch, Segment
from engine.commands import ends
from engine.commands.hash_store import HashStore
from engine.commands.plan.collisions import KeyCounter, key_hashes
from engine.commands.plan.plain import PlainMeasurer
from engine.commands.plan.tally import Tally
from engine.contracts.planning import Measured, Measurer
from engine.contracts.readback import Hashes
from engine.contracts.source import Source
from engine.contracts.target import TargetInfo
from engine.contracts.transform import Transform
from engine.frozen import dataclass
from engine.job.model import Job
from engine.registry import TARGETS

Add: TypeAlias = Callable[[Batch, Sequence[Measured]], None]


@dataclass(frozen=True, slots=True)
class MeasuredBy:
    """By what items are measured; see TargetConnector.measurer. `exists`: the target is there already."""

    exists: bool
    sample: int
    prices: Path | None

    def measurer(self, job: Job, info: TargetInfo) -> Measurer:
        """Return what says what items come to. Raises: JobError."""
        own = TARGETS[job.target.type].measurer(
            job, info, exists=self.exists, sample=self.sample, prices=self.prices
        )
        return own or PlainMeasurer(info, exists=self.exists)


@dataclass(frozen=True, slots=True)
class Measuring:
    """A job's ends, and what measures its rows."""

    opened: ends.Ends
    by: MeasuredBy
    transform: Transform
    measurer: Measurer

    @classmethod
    def of(cls, opened: ends.Ends, by: MeasuredBy) -> "Measuring":
        """Put it together. Raises: JobError, of rules that no item could pass too."""
        made = cls(opened, by, opened.transform(), by.measurer(opened.job, opened.target))
        made.measured(opened.no_rows(), in_full=True)
        return made

    def another(self) -> Measurer:
        """Return a measurer that has measured nothing."""
        return self.by.measurer(self.opened.job, self.opened.target)

    @property
    def source(self) -> Source:
        """The job's source."""
        return self.opened.source

    def measured(self, batch: Batch, *, in_full: bool) -> list[Measured]:
        """Measure a batch; fit for a thread."""
        return [self.measurer.measure(items, in_full=in_full) for items in self.transform(batch)]

    def tally(self) -> Tally:
        """Return an empty tally."""
        return Tally([rule.name for rule in self.transform.rules], self.source.ticket.schema.key)

    def key_counter(self, suspects: Hashes | None = None) -> KeyCounter:
        """Return an empty counter of keys."""
        return KeyCounter(self.source.ticket.schema.key, suspects)

    async def read(self, segment: Segment, add: Add, *, in_full: bool) -> None:
        """Read and measure a segment."""
        async with aclosing(self.source.read(segment, None)) as batches:
            async for batch in batches:
                add(batch, await asyncio.to_thread(self.measured, batch, in_full=in_full))


def into(tally: Tally, measurer: Measurer, store: HashStore) -> Add:
    """Return what adds batches up, and keeps the hashes of their keys."""

    def add(batch: Batch, measured: Sequence[Measured]) -> None:
        tally.add(batch, measured)
        measurer.add(batch.rows.num_rows, measured)
        for found in measured:
            store.add(key_hashes(found))
        if store.full:
            store.flush()

    return add
