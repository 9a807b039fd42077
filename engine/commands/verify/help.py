"""The helpers of a full verification: how many are worth it, what each is told, what they have used.

Invariant: helpers read the sources as this process sees them, and together with it no faster than the caps
let them.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from engine.commands.helpers import helping
from engine.commands.run.crew import Crew, crew
from engine.commands.verify.key_patterns import KeyPatterns
from engine.commands.verify.opened_job import OpenedJob
from engine.commands.verify.orders import (
    FROM_HELPER,
    TO_HELPER,
    HelperBoot,
    HelperJob,
    VerifyHelper,
)
from engine.commands.verify.source_pass import READERS
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


async def readers(jobs: Sequence[OpenedJob], workers: int | None) -> Crew:
    """Return how many processes read, and each by how many cursors: no more than any of the sources lends.

    `workers`: the most processes; None: as many as it is worth.
    """
    limits = [limit for job in jobs if (limit := job.source.ticket.cursors_max) is not None]
    cursors_max = min(limits, default=None)
    if workers is None:
        expected = [await job.source.rows_expected() for job in jobs]
        rows = None
        if None not in expected:
            rows = round(AS_ROWS_OF_A_LOAD * sum(count or 0 for count in expected))
        limit = None if cursors_max is None else max(1, cursors_max // READERS)
        workers = worth(rows, cores=cores(), target_max=None, cursors_max=limit).workers
    return crew(max(1, workers), READERS, cursors_max)


@asynccontextmanager
async def helped(
    jobs: Sequence[OpenedJob],
    patterns: KeyPatterns,
    directory: Path,
    others: int,
    max_rcu: float | None,
    effort: OthersEffort,
    told: Callable[[str], None],
) -> AsyncGenerator[Sequence[VerifyHelper], None]:
    """Have so many helpers, of whose share of `max_rcu` this process keeps one, too."""
    connector = TARGETS[jobs[0].job.target.type]

    async def boot() -> HelperBoot:
        texts = tuple(tuple(tuple(rule) for rule in rules) for rules in patterns.texts)
        return HelperBoot(
            str(directory),
            tuple(
                HelperJob(handed.write(job.job), job.source.ticket.as_json(), job.info.as_text())
                for job in jobs
            ),
            await connector.hand_over(),
            texts,
            None if max_rcu is None else max_rcu / (1 + others),
        )

    async with helping(others, HELPER, boot, (TO_HELPER, FROM_HELPER), told) as helpers:
        try:
            yield helpers
        finally:
            for helper in helpers:
                effort.cpu_s += helper.usage.cpu_s
                effort.peak_rss_bytes = max(effort.peak_rss_bytes, helper.usage.peak_rss_bytes)
