"""The work of a helper of a full verification: reads segments of sources, scans segments of the target.

Invariant: it keeps nothing but files that its order names and marks in the index; what counts is what the
command makes of its answers.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

from engine.commands.helpers import help_with
from engine.commands.verify.external_index import ExternalIndex, record_type
from engine.commands.verify.key_patterns import patterns_from
from engine.commands.verify.opened_job import OpenedJob, open_job
from engine.commands.verify.orders import (
    FROM_HELPER,
    TO_HELPER,
    HelperBoot,
    ReadOrder,
    ScanOrder,
    SegmentRead,
    SegmentScanned,
)
from engine.commands.verify.source_pass import read_segment
from engine.commands.verify.target_pass import Scanning, compare_page
from engine.contracts.readback import TargetReader
from engine.contracts.source import SourceTicket
from engine.job import handed
from engine.registry import TARGETS
from engine.show import logs
from engine.tenure import Tenure

Do: TypeAlias = Callable[[ReadOrder | ScanOrder], Awaitable[SegmentRead | SegmentScanned]]


class _Helping:
    """Does orders with what was opened."""

    def __init__(self, boot: HelperBoot, jobs: list[OpenedJob], reader: TargetReader) -> None:
        self._boot = boot
        self._jobs = jobs
        self._reader = reader
        self._record = record_type(ranked=any(job.ranked for job in jobs))
        self._scanning: Scanning | None = None
        self._told = 0.0
        """Read units that were told of."""

    async def do(self, order: ReadOrder | ScanOrder) -> SegmentRead | SegmentScanned:
        """Do one."""
        if isinstance(order, ReadOrder):
            return await read_segment(self._jobs[order.job], order, self._record, _told_nothing)
        if self._scanning is None:
            self._scanning = self._scan_of(order.length)
        found = await self._scanning.scan(order, _told_nothing)
        consumed, self._told = self._reader.consumed - self._told, self._reader.consumed
        return found.costing(consumed)

    def _scan_of(self, length: int) -> Scanning:
        codec = self._jobs[0].codec
        index = ExternalIndex(Path(self._boot.directory), length)
        patterns = patterns_from(codec, self._boot.patterns)
        keeps = all(job.keeps for job in self._jobs)
        compare = partial(compare_page, index=index, codec=codec, patterns=patterns, keeps=keeps)
        return Scanning(index, self._reader, compare, self._jobs[0].stages.threads)


def _told_nothing(_: int) -> None:
    """Take the place of who tells the user how far it has come: the command does, with each answer."""


@asynccontextmanager
async def _opened(boot: HelperBoot, notice: Callable[[str], None]) -> AsyncGenerator[Do, None]:
    async with AsyncExitStack() as stack:
        jobs = []
        for number, each in enumerate(boot.jobs):
            job = handed.read(each.job)
            connector = TARGETS[job.target.type]
            connector.take_over(boot.credentials)
            jobs.append(
                await open_job(
                    stack,
                    number,
                    job,
                    notice,
                    Tenure(),
                    ticket=SourceTicket.from_json(each.ticket),
                    target=connector.info_from(each.target),
                )
            )
        logs.of_job(", ".join(job.job.name for job in jobs))
        reader = await TARGETS[jobs[0].job.target.type].open_reader(jobs[0].job, jobs[0].info, boot.max_rcu)
        stack.push_async_callback(reader.close)
        yield _Helping(boot, jobs, reader).do


async def serve(descriptor: int) -> None:
    """Help until the command has gone."""
    await help_with(descriptor, _opened, says=FROM_HELPER, hears=TO_HELPER)
