"""The work of a helper of a full verification: reads segments of sources, scans segments of the target.

Invariant: it keeps nothing but files that its order names and marks in the index; what counts is what the
command makes of its answers.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from engine.commands.helping import help_with
from engine.commands.verify.external_index import ExternalIndex, record_type
from engine.commands.verify.key_patterns import patterns_from
from engine.commands.verify.opened_job import OpenedJob, open_job
from engine.commands.verify.orders import (
    FROM_HELPER,
    TO_HELPER,
    HelperBoot,
    ReadOrder,
    ScanOrder,
    ShareOrder,
    ShareTaken,
    VerifyAnswer,
    VerifyOrder,
)
from engine.commands.verify.source_pass import read_segment
from engine.commands.verify.target_pass import HeldHere, Scanning
from engine.contracts.readback import TargetReader
from engine.contracts.source import SourceTicket
from engine.job import handed
from engine.job.model import Job
from engine.registry import TARGETS
from engine.show import logs
from engine.tenure import Tenure


class Helping:
    """Does orders with what was opened; `scanning` makes what scans, for an index of so many items.

    `durable`: what is read outlives the machine's end.
    """

    def __init__(
        self,
        jobs: Sequence[OpenedJob],
        reader: TargetReader,
        scanning: Callable[[int], Scanning],
        *,
        durable: bool = True,
    ) -> None:
        self._jobs = jobs
        self._reader = reader
        self._record = record_type(ranked=any(job.ranked for job in jobs))
        self._made = scanning
        self._durable = durable
        self._scanning: Scanning | None = None
        self._told = 0.0
        """Read units that were told of."""

    async def do(self, order: VerifyOrder) -> VerifyAnswer:
        """Do one."""
        match order:
            case ReadOrder():
                job, durable = self._jobs[order.job], self._durable
                return await read_segment(job, order, self._record, _told_nothing, durable=durable)
            case ShareOrder(number, max_rcu):
                self._reader.limit(max_rcu)
                return ShareTaken(number)
            case ScanOrder():
                if self._scanning is None:
                    self._scanning = self._made(order.length)
                found = await self._scanning.scan(order, _told_nothing)
                consumed, self._told = self._reader.consumed - self._told, self._reader.consumed
                return found.costing(consumed)


def _told_nothing(_: int) -> None:
    """Take the place of who tells the user how far it has come: the command does, with each answer."""


async def open_to_help(
    stack: AsyncExitStack,
    number: int,
    job: Job,
    notice: Callable[[str], None],
    ticket: str,
    target: str,
) -> OpenedJob:
    """Open both ends of a job as the command has: `ticket` and `target` are theirs, as texts."""
    return await open_job(
        stack,
        number,
        job,
        notice,
        Tenure(),
        ticket=SourceTicket.from_json(ticket),
        target=TARGETS[job.target.type].info_from(target),
    )


@asynccontextmanager
async def _opened(
    boot: HelperBoot, notice: Callable[[str], None]
) -> AsyncGenerator[Callable[[VerifyOrder], Awaitable[VerifyAnswer]], None]:
    async with AsyncExitStack() as stack:
        jobs = []
        for number, each in enumerate(boot.jobs):
            job = handed.read(each.job)
            TARGETS[job.target.type].take_over(boot.credentials)
            jobs.append(await open_to_help(stack, number, job, notice, each.ticket, each.target))
        logs.of_job(", ".join(job.job.name for job in jobs))
        reader = await TARGETS[jobs[0].job.target.type].open_reader(jobs[0].job, jobs[0].info, None, notice)
        stack.push_async_callback(reader.close)
        codec, threads = jobs[0].codec, jobs[0].stages.threads
        patterns, keeps = patterns_from(codec, boot.patterns), all(job.keeps for job in jobs)

        def scanning(length: int) -> Scanning:
            index = ExternalIndex(Path(boot.directory), length)
            return Scanning(reader, HeldHere(index, codec, patterns, keeps, threads).compared)

        yield Helping(jobs, reader, scanning).do


async def serve(descriptor: int) -> None:
    """Help until the command has gone."""
    await help_with(descriptor, _opened, says=FROM_HELPER, hears=TO_HELPER)
