"""One job under verification: its source, its rules, its target to read and, for repairs, to write.

Invariant: what is compared is what `run` would send: the same transform, the same encoder.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, contextmanager
from typing import TypeVar

import numpy as np

from engine.batch import Batch, EncodedBatch, Segment
from engine.commands.ends import Ends, open_ends
from engine.commands.told import source_heard
from engine.commands.verify.progress_store import RowRange
from engine.commands.whose import fault_of
from engine.contracts.readback import CONTENT_MIN, Hashes, SentItems
from engine.contracts.source import SourceTicket
from engine.contracts.target import Look, Target, TargetInfo
from engine.errors import JobError, NoRoomError
from engine.frozen import dataclass
from engine.job.model import Job
from engine.meter import Meter
from engine.run.pipeline import Stages
from engine.tenure import Tenure

T = TypeVar("T")

ABSENT, UNKNOWN, UNDECIDED = range(CONTENT_MIN)
"""Contents that no item has: there is no item; there is no telling what it should be; a recheck tells."""


@dataclass(frozen=True, slots=True)
class Made:
    """A batch of rows with what it makes, and hashes of that: `contents` say what should be there."""

    batch: Batch
    encoded: EncodedBatch
    keys: Hashes
    contents: Hashes


class OpenedJob:
    """Everything of one job. Closed by the stack that it was opened with."""

    def __init__(
        self,
        number: int,
        job: Job,
        ends: Ends,
        stages: Stages,
        stack: AsyncExitStack,
        notice: Callable[[str], None],
    ) -> None:
        self.number = number
        self.job = job
        self.info = ends.target
        self.source = ends.source
        self.stages = stages
        self.codec = ends.connector.codec(ends.target)
        self.ordered = ends.ordered
        self._ends = ends
        self._stack = stack
        self._notice = notice
        self._targets: dict[str, Target] = {compared_mode(job): stages.target}
        self.tell: Callable[[], None] = lambda: None
        """Tells what the source has had to say since it did so last."""

    @property
    def keeps(self) -> bool:
        """Whether what is in the target already is kept as it is."""
        return self.job.target.mode == "insert"

    @property
    def version(self) -> str | None:
        """The attribute that `newer` compares; None in other modes."""
        return self.job.target.compared

    @property
    def one_range(self) -> bool:
        """Whether all rows have to be read again to look at some of them again."""
        return self.ordered or not self.source.ticket.schema.key

    @property
    def ranked(self) -> bool:
        """Whether of several rows with one key the highest version counts."""
        return self.ordered and self.version is not None

    def watch(self) -> AbstractAsyncContextManager[Look]:
        """Return what looks, whenever asked, whether the target is still the one that was described."""
        return self._ends.watch()

    async def fresh_source(self) -> None:
        """Open the source once more, which sees what is committed now; the old one is closed.

        Raises: JobError when its columns have changed, or it is another one, or was emptied.
        """
        with fault_of(self.job):
            await self._open_again()

    async def _open_again(self) -> None:
        before = self.source.abilities.continuity
        await self.source.close()
        source = (await open_ends(self._stack, self.job, target=self.info)).source
        if source.ticket.schema != self.source.ticket.schema:
            raise JobError(f"{self.job.source.reads} has changed its columns meanwhile: start verify again")
        if source.identity != self.source.identity:
            raise JobError(
                f"{self.job.source.reads} is another one than when verify began: look at what was renamed,"
                " created again or moved, then start verify again"
            )
        now = source.abilities.continuity
        if before is not None and now is not None:
            what = await now.misfit(before.standing, goes_on=True)
            if what is not None:
                raise JobError(
                    f"{self.job.source.reads} isn't what it was when verify began: {what}; start verify again"
                )
        self.source = source

    async def in_thread(self, work: Callable[..., T], *given: object) -> T:
        """Return what work gives, done in the job's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.stages.threads, work, *given)

    async def make(self, batch: Batch) -> Made:
        """Return what rows make, worked out in a thread."""
        return await self.in_thread(self.make_now, batch)

    def make_now(self, batch: Batch) -> Made:
        """Return what rows make; fit for a thread. With `keeps` a delete leaves what is there."""
        encoded = self.stages.target.encode(batch, self.stages.transform(batch))
        found = self.codec.sent_digests(encoded)
        absent = np.uint64(UNKNOWN if self.keeps else ABSENT)
        return Made(batch, encoded, found.keys, np.where(encoded.deletes, absent, found.contents))

    async def sent(self, made: Made, chosen: Sequence[int]) -> SentItems:
        """Take some of what rows make apart, in a thread."""
        return await self.in_thread(self.codec.sent, made.encoded, chosen)

    async def rows_of(self, rows: RowRange) -> AsyncGenerator[Batch, None]:
        """Read the rows of a range."""
        if rows.keys is not None:
            lookup = self.source.abilities.lookup
            assert lookup is not None, "only a source that is looked up in gives rows by key"
            batches = lookup.rows_by_key(rows.keys)
        else:
            batches = self.source.read(Segment(0, rows.after, rows.until, None), None)
        with fault_of(self.job):
            async with aclosing(batches):
                async for batch in batches:
                    yield batch

    async def target(self, mode: str) -> Target:
        """Return the job's target in a mode: `put` writes and deletes what it is given."""
        if mode not in self._targets:
            target = await self._ends.connector.open(
                in_mode(self.job, mode),
                self.info,
                self.source.ticket.schema,
                self.stages.transform.rules,
                Meter(),
                self._notice,
                self.stages.tenure,
            )
            self._stack.push_async_callback(target.close)
            self._targets[mode] = target
        return self._targets[mode]


def compared_mode(job: Job) -> str:
    """Return the mode in which items are made to be compared: newer's bodies tell the version too."""
    return "newer" if job.target.compared is not None else "put"


def in_mode(job: Job, mode: str) -> Job:
    """Return the job as if its target had another mode."""
    return job.model_copy(update={"target": job.target.in_mode(mode)})


async def open_job(
    stack: AsyncExitStack,
    number: int,
    job: Job,
    notice: Callable[[str], None],
    tenure: Tenure,
    *,
    ticket: SourceTicket | None = None,
    target: TargetInfo | None = None,
) -> OpenedJob:
    """Open both ends of a job and check it against them; nothing is written.

    `tenure` is that of the job's lease, where repairs hold one. `ticket` and `target` are those of a process
    that has opened both: the source is read as it sees it.
    """
    with fault_of(job):
        ends = await open_ends(stack, in_mode(job, compared_mode(job)), ticket=ticket, target=target)
        stages = await stack.enter_async_context(ends.stages(notice, ordered=False, tenure=tenure))
    opened = OpenedJob(number, job, ends, stages, stack, notice)
    opened.tell = await stack.enter_async_context(source_heard(lambda: opened.source, notice))
    return opened


async def open_jobs(
    stack: AsyncExitStack, jobs: Sequence[Job], notice: Callable[[str], None], tenures: Sequence[Tenure]
) -> list[OpenedJob]:
    """Open jobs that write to one target; see open_job. Each keeps a connection to its source."""
    opened = list[OpenedJob]()
    for number, (job, tenure) in enumerate(zip(jobs, tenures, strict=True)):
        with _room_for(number, len(jobs)):
            opened.append(await open_job(stack, number, job, notice, tenure))
    return opened


@contextmanager
def _room_for(number: int, jobs: int) -> Iterator[None]:
    """Say what helps where a source gives no connection because those of the jobs before have it."""
    try:
        yield
    except NoRoomError as error:
        if not number:
            raise
        raise NoRoomError(
            f"{str(error).partition(';')[0]}; all {jobs} jobs write to one table, and each keeps a connection"
            f" to its source while they are held against it: {number} have theirs, and there is room for no"
            f" more. Raise the server's limit to {jobs} and two for each of --workers, or verify the jobs one"
            " by one, with --only NAME (items of another job whose keys look alike then count as extra)"
        ) from error
