"""One job under verification: its source, its rules, its target to read and, for repairs, to write.

Invariant: what is compared is what `run` would send: the same transform, the same encoder.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

from connectors.dynamodb.table_info import TableInfo
from engine.batch import Batch, EncodedBatch, Segment
from engine.commands.ends import Ends, open_ends
from engine.commands.verify.book import Place
from engine.commands.verify.digests import KeySchema
from engine.commands.verify.expected import Digested, Expected, digested, digested_and_ranked, taken_apart
from engine.contracts.source import Source
from engine.contracts.target import Target, TargetInfo
from engine.errors import JobError
from engine.job.model import Job
from engine.meter import Meter
from engine.registry import TARGETS
from engine.run.pipeline import Stages
from engine.tenure import Tenure


@dataclass(frozen=True, slots=True)
class Looked:
    """A batch of rows with what it makes."""

    batch: Batch
    encoded: EncodedBatch
    expected: Expected


class Desk:
    """Everything of one job. Closed by the stack that it was opened with."""

    def __init__(
        self,
        number: int,
        job: Job,
        ends: Ends,
        line: Stages,
        stack: AsyncExitStack,
        notice: Callable[[str], None],
    ) -> None:
        self.number = number
        self.job = job
        self.table = _table(ends.target)
        self.source = ends.source
        self.line = line
        self.schema = KeySchema(self.table.key, tuple(key.type for key in self.table.keys))
        self.ordered = ends.ordered
        self._stack = stack
        self._notice = notice
        self._targets: dict[str, Target] = {line_mode(job): line.target}

    @property
    def keeps(self) -> bool:
        """Whether what is in the target already is kept as it is."""
        return self.job.target.mode == "insert"

    @property
    def version(self) -> str | None:
        """The attribute that `newer` compares; None in other modes."""
        return self.job.target.compared

    @property
    def ranked(self) -> bool:
        """Whether of several rows with one key the highest version counts."""
        return self.ordered and self.version is not None

    async def fresh_source(self) -> Source:
        """Open the source once more, which sees what is committed now; the old one is closed.

        Raises: JobError when its columns have changed, or it is another one.
        """
        await self.source.close()
        source = (await open_ends(self._stack, self.job, target=self.table)).source
        if source.ticket.schema != self.line.source.ticket.schema:
            raise JobError(f"{self.job.source.reads} has changed its columns meanwhile: start verify again")
        if source.identity != self.source.identity:
            raise JobError(
                f"{self.job.source.reads} is another one than when verify began: look at what was renamed,"
                " created again or moved, then start verify again"
            )
        self.source = source
        return source

    async def look(self, batch: Batch) -> Looked:
        """Return what rows make, worked out in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.line.threads, self.look_now, batch)

    def look_now(self, batch: Batch) -> Looked:
        """Return what rows make; fit for a thread."""
        encoded = self.encoded(batch)
        return Looked(batch, encoded, taken_apart(encoded))

    def digest_now(self, batch: Batch) -> Digested:
        """Return what rows make as hashes only; fit for a thread."""
        if self.ranked:
            return digested_and_ranked(self.encoded(batch), self.schema)
        return digested(self.encoded(batch), self.schema, keeps=self.keeps)

    def encoded(self, batch: Batch) -> EncodedBatch:
        """Return what would be sent for rows."""
        return self.line.target.encode(batch, self.line.transform(batch))

    async def rows_of(self, place: Place) -> AsyncGenerator[Batch, None]:
        """Read the rows of a place."""
        if place.keys is not None:
            lookup = self.source.abilities.lookup
            assert lookup is not None, "only a source that is looked up in gives places by key"
            batches = lookup.rows_by_key(place.keys)
        else:
            batches = self.source.read(Segment(0, place.after, place.until, None), None)
        async with aclosing(batches):
            async for batch in batches:
                yield batch

    async def target(self, mode: str) -> Target:
        """Return the job's target in a mode: `put` writes and deletes what it is given."""
        if mode not in self._targets:
            target = await TARGETS[self.job.target.type].open(
                in_mode(self.job, mode),
                self.table,
                self.source.ticket.schema,
                self.line.transform.rules,
                Meter(),
                self._notice,
                self.line.tenure,
            )
            self._stack.push_async_callback(target.close)
            self._targets[mode] = target
        return self._targets[mode]


def line_mode(job: Job) -> str:
    """Return the mode in which items are made to be compared: newer's bodies tell the version too."""
    return "newer" if job.target.mode == "newer" else "put"


def in_mode(job: Job, mode: str) -> Job:
    """Return the job as if its target had another mode."""
    return job.model_copy(update={"target": job.target.in_mode(mode)})


async def open_desk(
    stack: AsyncExitStack, number: int, job: Job, notice: Callable[[str], None], tenure: Tenure
) -> Desk:
    """Open both ends of a job and check it against them; nothing is written.

    `tenure` is that of the job's lease, where repairs hold one.

    Raises: JobError, PermanentError, TransientError.
    """
    ends = await open_ends(stack, in_mode(job, line_mode(job)))
    for text in ends.source.notices:
        notice(text)
    line = await stack.enter_async_context(ends.stages(notice, ordered=False, tenure=tenure))
    return Desk(number, job, ends, line, stack, notice)


def _table(info: TargetInfo) -> TableInfo:
    assert isinstance(info, TableInfo)
    return info
