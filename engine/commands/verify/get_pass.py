"""Instead of the two passes: items are read by key as the source gives them.

For samples, and for a source that is small beside its target.

Invariant: each item is counted as matched or noted to be checked again, in the transaction that moves the
position.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from random import Random

from engine.batch import Batch, Cursor, Segment
from engine.commands.verify.comparison import compare
from engine.commands.verify.opened_job import OpenedJob
from engine.commands.verify.progress_store import ProgressStore, RecheckEntry, RowRange
from engine.commands.verify.source_pass import segments
from engine.commands.whose import fault_of
from engine.contracts.readback import TargetReader
from engine.contracts.state import SegmentState
from engine.frozen import dataclass

STRETCHES = 200
"""Ranges of a source that are cut for a sample; the rows of one are neighbours."""


@dataclass(frozen=True, slots=True)
class GetPass:
    """Compares what the source gives with what the target has under the same keys."""

    progress: ProgressStore
    jobs: Sequence[OpenedJob]
    reader: TargetReader
    told: Callable[[int], None]

    async def everything(self) -> None:
        """Compare every row's items that weren't compared before."""
        for job in self.jobs:
            with fault_of(job.job):
                for state in await segments(self.progress, job):
                    if not state.done:
                        await self._segment(job, state.segment, state.end)

    async def _segment(self, job: OpenedJob, segment: Segment, at: Cursor | None) -> None:
        async with aclosing(job.source.read(segment, at)) as batches:
            async for batch in batches:
                after = segment.after if at is None else at
                at = batch.end
                await self._compare(job, batch, RowRange(job.number, after, at), segment)
        with self.progress.transaction():
            self.progress.put_segment(job.number, SegmentState(segment, at, done=True))

    async def rows(self, job: OpenedJob, keys: Sequence[Cursor]) -> None:
        """Compare the items of some rows."""
        async with aclosing(job.rows_of(RowRange(job.number, keys=tuple(keys)))) as batches:
            async for batch in batches:
                columns = [batch.rows.column(name).to_pylist() for name in job.source.ticket.schema.key]
                own = tuple(Cursor(tuple(key)) for key in zip(*columns, strict=True))
                await self._compare(job, batch, RowRange(job.number, keys=own))

    async def stretches(self, job: OpenedJob, count: int, random: Random) -> None:
        """Compare the items of some rows from random stretches of a source that can't look rows up."""
        cut = list(await job.source.segments(STRETCHES))
        chosen = random.sample(cut, min(len(cut), count))
        for number, segment in enumerate(chosen):
            share = count * (number + 1) // len(chosen) - count * number // len(chosen)
            async with aclosing(job.source.read(segment, None)) as batches:
                async for batch in batches:
                    rows = range(batch.rows.num_rows)
                    some = sorted(random.sample(rows, min(share, len(rows))))
                    part = Batch(batch.segment, batch.sequence, batch.rows.take(some), batch.end)
                    await self._compare(job, part, RowRange(job.number, segment.after, batch.end))
                    break

    async def _compare(
        self, job: OpenedJob, batch: Batch, rows: RowRange, segment: Segment | None = None
    ) -> None:
        """Compare a batch's items; of a segment, note also how far it has got."""
        made = await job.make(batch)
        compared = await compare(job, self.reader, made, range(len(made.keys)))
        tallies = Counter(rows=batch.rows.num_rows, dead_lettered=len(made.encoded.dead_letters))
        number = self.progress.row_ranges_count()
        rechecks = []
        for each in compared:
            if each.difference is None:
                tallies[each.verdict] += 1
            else:
                hashes = int(made.keys[each.at]), int(made.contents[each.at]), each.content
                rechecks.append(RecheckEntry(number, *hashes, each.key))
        with self.progress.transaction():
            self.progress.put_row_range(number, RowRange(job.number) if job.ordered else rows)
            self.progress.recheck(rechecks)
            self.progress.add(tallies)
            if segment is not None:
                self.progress.put_segment(job.number, SegmentState(segment, batch.end, done=False))
        self.told(batch.rows.num_rows)
