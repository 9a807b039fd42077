"""`backfill plan`: looks at both ends, measures a sample or everything, and puts the plan together.

Invariant: nothing is written, neither to the source nor to the target nor to the state.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.amounts import duration
from engine.commands import ends
from engine.commands.peers import catching_up
from engine.commands.plan import sampling
from engine.commands.plan.advice import advise
from engine.commands.plan.catch_up import ways
from engine.commands.plan.key_ways import key_ways
from engine.commands.plan.measuring import MeasuredBy, Measuring
from engine.commands.plan.plan import Coverage, Plan, RowsAre, SourceFacts
from engine.commands.plan.whole import Lookers, Seen, look_at_all
from engine.commands.run.door import Door, door_open
from engine.commands.run.following import foretold
from engine.commands.run.prepare import SEGMENT_ROWS, SEGMENTS_PER_CURSOR
from engine.commands.run.ways import foreseen
from engine.commands.told import source_heard
from engine.contracts.source import Source
from engine.contracts.target import TargetInfo
from engine.environment import cores
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.model import Job
from engine.registry import TARGETS
from engine.run.echoes import Once
from engine.run.voice import SaysNotices, Voice
from engine.run.worth import worth

if TYPE_CHECKING:
    from engine.commands.run.cluster.holding import RayCluster, RayOptions
    from engine.commands.run.listening import Listen

SAMPLE_ROWS = 30_000
"""About one row in a thousand is seen 30 times in it, and it is measured within a second or two."""
COUNT_S = 10.0
"""How long counting the rows exactly may take; the server's estimate is taken after that."""

UNKNOWN_ROWS = (
    "How many rows there are couldn't be found out, so units, time and cost are those of the rows that were"
    " looked at; --full counts them."
)


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the command line says. `workers`: see RunOptions; so many look at everything, too.

    `prices`: a list in place of our own. `listen`: for workers of other hosts, which look, too. `ray`: they
    are placed on a cluster, and `workers` counts these.
    """

    prices: Path | None = None
    sample: int = SAMPLE_ROWS
    full: bool = False
    workers: int | None = 1
    listen: "Listen | None" = None
    ray: "RayOptions | None" = None


async def plan(
    job: Job, options: PlanOptions, say: Callable[[str], None], cluster: "RayCluster | None" = None
) -> Plan:
    """Find out what a load of this job will do. `say` is told what is going on; `cluster` has workers."""
    info, exists = await _target(job)
    by = MeasuredBy(exists, options.sample, options.prices)
    by.measurer(job, info)  # a price list that can't be used is told before anything is opened
    async with AsyncExitStack() as stack:
        voice = Voice([SaysNotices(say)])
        door = await stack.enter_async_context(door_open(options.listen, cluster, voice, "the plan"))
        opened = await ends.open_ends(stack, job, target=info)
        stages, told = Measuring.of(opened, by), len(opened.source.notices)
        await stack.enter_async_context(source_heard(lambda: opened.source, Once(say), told))
        found = await _plan(stages, options, say, door)
        return replace(found, advice=advise(found))


async def _target(job: Job) -> tuple[TargetInfo, bool]:
    """Return the target, or the one that `target.create` describes; and whether it is there."""
    connector = TARGETS[job.target.type]
    there = await connector.describe(job)
    info = there or connector.planned(job)
    if info is None:
        raise JobError(
            f"target.table: there is no table {job.target.writes_to}, and no target.create that says what it"
            " would be; add that, or correct the name or region"
        )
    connector.check(info, job)
    return info, there is not None


async def _plan(
    stages: Measuring, options: PlanOptions, say: Callable[[str], None], door: Door | None
) -> Plan:
    job, source = stages.opened.job, stages.source
    say(f"{job.name}: looking at {job.source.reads}")
    size_bytes, slow = await source.abilities.inspect()
    counted = await source.abilities.count(COUNT_S)
    say(f"{job.name}: measuring a sample of {options.sample:,} rows")
    seen = await _sample(stages, options.sample, counted)
    rows, rows_are = await _rows(source, counted, seen.tally.rows)
    expected = await source.rows_expected()
    workers = options.workers or stages.opened.worth(expected).workers
    most = workers + (0 if door is None else door.expect)
    cut = await source.segments(_segments_wanted(job, most, rows))
    way = foreseen(stages.opened, workers=workers, segments=len(cut), rows=expected)
    reason = stages.opened.ordered_reason if way.name == "in order" else None
    whole = rows_are == "counted" and seen.tally.rows >= rows
    coverage: Coverage = "all" if whole else "proved" if way.name == "proved" else "sample"
    if options.full and not whole:
        crew = _lookers(options, source, expected)
        seen = await look_at_all(stages, cut, crew, say, door)
        rows, rows_are, whole, coverage = seen.tally.rows, "counted", True, "all"
    scale = rows / seen.tally.rows if seen.tally.rows else 0.0
    target = stages.measurer.plan(scale)
    told, refused = await foretold(stages.opened)
    warnings = [*source.notices, *slow, *await catching_up(stages.opened), *told]
    if rows_are == "unknown":
        warnings.append(UNKNOWN_ROWS)
    if reason is not None:
        warnings.append(f"{reason[0].upper()}{reason[1:]}.")
    if target.load_s is not None:
        warnings += await source.abilities.lasting(target.load_s, duration(target.load_s))
    return Plan(
        job=job.name,
        source=SourceFacts(job.source.reads, rows, rows_are, size_bytes, 1 if reason else len(cut), reason),
        into=stages.opened.target.name,
        exists=stages.by.exists,
        target=target,
        tally=seen.tally,
        scale=scale,
        whole=whole,
        collisions=seen.collisions,
        coverage=coverage,
        keys=key_ways(stages.opened.proof, way, rows, round(seen.tally.writes * scale)),
        catch_up=await ways(stages.opened, target.load_s),
        warnings=[*warnings, *target.warnings],
        refused=refused,
    )


async def _rows(source: Source, counted: int | None, seen: int) -> tuple[int, RowsAre]:
    """Return how many rows there are, as far as anybody knows."""
    if counted is not None:
        return counted, "counted"
    expected = await source.rows_expected()
    return (seen, "unknown") if expected is None else (expected, "estimated")


async def _sample(stages: Measuring, rows: int, of: int | None) -> Seen:
    tally, keys = stages.tally(), stages.key_counter()
    async for batch in sampling.sampled(stages.source, rows, of):
        measured = await asyncio.to_thread(stages.measured, batch, in_full=True)
        tally.add(batch, measured)
        stages.measurer.add(batch.rows.num_rows, measured)
        keys.add(batch, measured)
    return Seen(tally, keys.collisions())


def _lookers(options: PlanOptions, source: Source, rows: int | None) -> Lookers:
    """Return how many processes look at everything: nothing is written, so no target bounds it."""
    here, workers = options.ray is None, options.workers
    if workers is None or (workers == 0 and options.listen is None):
        cursors_max = source.ticket.cursors_max
        limit = None if cursors_max is None else max(1, cursors_max // ends.CURSORS)
        lent = cores() if here else None
        workers = worth(rows, cores=lent, target_max=None, cursors_max=limit).workers - (not here)
    return Lookers(workers) if here else Lookers(1, workers, asks=options.workers is not None)


def _segments_wanted(job: Job, workers: int, rows: int) -> int:
    """Cut as a run would, if it reads side by side."""
    if job.source.segments != "auto":
        return job.source.segments
    return max(1, min(workers * ends.CURSORS * SEGMENTS_PER_CURSOR, rows // SEGMENT_ROWS))
