"""The helpers of a full verification: how many are worth it, what each is told, what they ask and have used.

Invariant: helpers read the sources as this process sees them; what those of other hosts met in the target is
marked in the index before they are answered.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import numpy as np

from engine.commands.hash_probe import probe
from engine.commands.helper_processes import helping
from engine.commands.helpers import Helpers
from engine.commands.run.crew import Crew, crew
from engine.commands.run.door import NOT_PLACED, Door
from engine.commands.verify.external_index import NO_ROOM, ExternalIndex
from engine.commands.verify.key_patterns import KeyPatterns
from engine.commands.verify.narrator import Narrator
from engine.commands.verify.opened_job import OpenedJob
from engine.commands.verify.orders import (
    FROM_AFAR,
    FROM_HELPER,
    TO_AFAR,
    TO_HELPER,
    BootAfar,
    HelperBoot,
    HelperJob,
    PageHashes,
    PagePlaced,
    VerifyHelpers,
)
from engine.commands.verify.progress_store import ProgressStore
from engine.commands.verify.source_pass import DONE as SOURCE_DONE
from engine.commands.verify.source_pass import READERS
from engine.commands.verify.target_pass import held_against
from engine.contracts.readback import Digests
from engine.environment import cores
from engine.frozen import dataclass
from engine.job import handed
from engine.registry import TARGETS
from engine.run.worth import worth

HELPER = "engine.commands.verify.helper_process"

AS_ROWS_OF_A_LOAD = 0.5
"""What a row counts for where worth chooses: one that joins costs more here than in a load, up to a third of
the CPU of a million rows (docs/benchmarks/log.md)."""


@dataclass(slots=True)
class OthersEffort:
    """What helpers have used. Units: seconds of CPU, bytes at the peak of one, read units."""

    cpu_s: float = 0.0
    peak_rss_bytes: int = 0
    consumed: float = 0.0


async def readers(jobs: Sequence[OpenedJob], workers: int | None, *, here: bool = True) -> Crew:
    """Return how many processes read, and each by how many cursors: no more than any of the sources lends.

    `workers`: the most processes; None: as many as it is worth; 0: none. `here`: whether they are this
    machine's, which has no more cores.
    """
    if workers == 0:
        return Crew(0, 0)
    cursors_max = _cursors_max(jobs)
    if workers is None:
        expected = [await job.source.rows_expected() for job in jobs]
        rows = None
        if None not in expected:
            rows = round(AS_ROWS_OF_A_LOAD * sum(count or 0 for count in expected))
        limit = None if cursors_max is None else max(1, cursors_max // READERS)
        workers = worth(rows, cores=cores() if here else None, target_max=None, cursors_max=limit).workers
    return crew(workers, READERS, cursors_max)


async def sized(
    jobs: Sequence[OpenedJob], workers: int | None, door: Door | None, say: Callable[[str], None]
) -> Crew:
    """Return who reads here; those whom a cluster is to have are placed there. `workers`: as in `readers`."""
    if door is None or door.cluster is None:
        return await readers(jobs, workers)
    placed = workers
    if placed is None:
        placed = (await readers(jobs, None, here=False)).workers - 1
    if placed:
        door.place([job.job for job in jobs], placed, asks=workers is not None)
    else:
        say(NOT_PLACED)
    return await readers(jobs, 1)


def _cursors_max(jobs: Sequence[OpenedJob]) -> int | None:
    limits = [limit for job in jobs if (limit := job.source.ticket.cursors_max) is not None]
    return min(limits, default=None)


@asynccontextmanager
async def helped(
    jobs: Sequence[OpenedJob],
    patterns: KeyPatterns,
    progress: ProgressStore,
    size: Crew,
    effort: OthersEffort,
    narrator: Narrator,
    door: Door | None,
) -> AsyncGenerator[VerifyHelpers, None]:
    """Have processes of this host help, as `size` says, and workers of other hosts that come to the door."""
    connector = TARGETS[jobs[0].job.target.type]
    texts = tuple(tuple(tuple(rule) for rule in rules) for rules in patterns.texts)

    async def boot() -> HelperBoot:
        return HelperBoot(
            str(progress.directory),
            tuple(
                HelperJob(handed.write(job.job), job.source.ticket.as_json(), job.info.as_text())
                for job in jobs
            ),
            await connector.hand_over(),
            texts,
        )

    helpers: VerifyHelpers = Helpers(size.cursors, narrator.say, "" if door is None else door.at)
    others, languages = max(0, size.workers - 1), (TO_HELPER, FROM_HELPER)
    async with AsyncExitStack() as stack:
        stack.callback(_count_effort, effort, helpers)
        await stack.enter_async_context(helping(others, HELPER, boot, languages, narrator.notice, helpers))
        if door is not None:
            calling = _called(jobs, BootAfar(probe(), texts), progress, size, door, helpers, narrator)
            await stack.enter_async_context(calling)
        yield helpers


def _called(
    jobs: Sequence[OpenedJob],
    boot: BootAfar,
    progress: ProgressStore,
    size: Crew,
    door: Door,
    helpers: VerifyHelpers,
    narrator: Narrator,
) -> AbstractAsyncContextManager[None]:
    """Have workers of other hosts help, too."""
    from engine.commands.helpers_afar import CallAfar, called  # with what encrypts
    from engine.commands.run.listening import job_told

    call = CallAfar(
        "verify",
        [job_told(job.job, job.job.fingerprint_parts(), job.source.ticket, job.info) for job in jobs],
        boot,
        says=TO_AFAR,
        hears=FROM_AFAR,
        cursors=READERS,
        cursors_max=_cursors_max(jobs),
        here=size.workers * size.cursors,
        advice=NO_ROOM,
        durable=True,
        asks_back={PageHashes: IndexAsked(progress, keeps=all(job.keeps for job in jobs)).placed},
    )
    return called(call, door, helpers, narrator.notice)


class IndexAsked:
    """Answers what workers of other hosts ask of the index, and marks there what they have met."""

    def __init__(self, progress: ProgressStore, *, keeps: bool) -> None:
        self._progress = progress
        self._keeps = keeps
        self._index: ExternalIndex | None = None

    async def placed(self, page: PageHashes) -> PagePlaced:
        """Answer how a page's items stand."""
        if self._index is None:
            self._index = ExternalIndex(self._progress.directory, int(self._progress.get(SOURCE_DONE) or 0))
        index = self._index
        hashes = Digests(np.frombuffer(page.keys, np.uint64), np.frombuffer(page.contents, np.uint64))
        found, seen = await asyncio.to_thread(held_against, hashes, index, keeps=self._keeps)
        index.mark(seen)
        arrays = (found.differing, found.expected, found.row_ranges, found.unknown)
        return PagePlaced(page.number, found.matched, found.kept, *(array.tobytes() for array in arrays))


def _count_effort(effort: OthersEffort, helpers: VerifyHelpers) -> None:
    for helper in helpers.all:
        effort.cpu_s += helper.usage.cpu_s
        effort.peak_rss_bytes = max(effort.peak_rss_bytes, helper.usage.peak_rss_bytes)
