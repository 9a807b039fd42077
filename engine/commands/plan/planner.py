"""`backfill plan`: looks at both ends, measures a sample or everything, and puts the plan together.

Invariant: nothing is written, neither to the source nor to the target nor to the state.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from connectors.dynamodb.measure import Measured, Measurer
from connectors.dynamodb.table_info import TableInfo
from engine.amounts import duration
from engine.batch import Batch, Segment
from engine.commands import ends
from engine.commands.hash_store import passing_store
from engine.commands.plan import estimate, sampling
from engine.commands.plan.advice import Findings, advise, expected_s, warn
from engine.commands.plan.collisions import NO_ROOM, Collisions, Keys, suspected
from engine.commands.plan.heat import Heat
from engine.commands.plan.plan import Plan, Scope, SourceFacts
from engine.commands.plan.prices import Prices
from engine.commands.plan.tally import Tally
from engine.commands.run.prepare import SEGMENT_ROWS, SEGMENTS_PER_CURSOR
from engine.contracts.source import Source
from engine.contracts.transform import Transform
from engine.errors import JobError
from engine.job.hook import load_hook
from engine.job.model import Job
from engine.registry import TARGETS
from engine.rules.transform import compile_rules
from engine.rules.uniqueness import ordered_reason

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
    """What the command line says. `workers` is what a run would have."""

    prices: Prices
    sample: int = SAMPLE_ROWS
    full: bool = False
    workers: int = 1


@dataclass(frozen=True, slots=True)
class _Stage:
    """What every batch goes through. `source_key` names the columns that tell rows apart in examples."""

    source: Source
    transform: Transform
    measure: Measurer
    source_key: tuple[str, ...]

    def measured(self, batch: Batch, *, in_full: bool) -> list[Measured]:
        return [self.measure(items, in_full=in_full) for items in self.transform(batch)]


async def plan(job: Job, options: PlanOptions, say: Callable[[str], None]) -> Plan:
    """Find out what a load of this job will do. `say` is told what is going on.

    Raises: JobError, PermanentError, TransientError.
    """
    table, exists = await _table(job)
    async with AsyncExitStack() as stack:
        opened = await ends.open_ends(stack, job, target=table)
        return await _plan(job, options, say, table, exists, opened.source)


async def _table(job: Job) -> tuple[TableInfo, bool]:
    """Return the target table, or the one that `target.create` describes."""
    connector = TARGETS[job.target.type]
    table = await connector.describe(job)
    exists = table is not None
    table = table or connector.planned(job)
    if table is None:
        raise JobError(
            f"target.table: there is no table {job.target.writes_to}, and no target.create that says what it"
            " would be; add that, or correct the name or region"
        )
    connector.check(table, job)
    assert isinstance(table, TableInfo)
    return table, exists


async def _plan(
    job: Job,
    options: PlanOptions,
    say: Callable[[str], None],
    table: TableInfo,
    exists: bool,
    source: Source,
) -> Plan:
    schema = source.ticket.schema
    reason = ordered_reason(job, schema)
    hook = load_hook(job.transform, job.directory) if job.transform else None
    transform = compile_rules(job, schema, hook)
    stage = _Stage(source, transform, Measurer(table, job), schema.key)
    empty = Batch(0, 0, pa.RecordBatch.from_pylist([], schema.arrow()), None)
    stage.measured(empty, in_full=True)  # finds rules that no item could pass, before anything is read
    say(f"{job.name}: looking at {job.source.reads}")
    size_bytes, slow = await source.abilities.inspect()
    counted = await source.abilities.count(COUNT_S)
    say(f"{job.name}: measuring a sample of {options.sample:,} rows")
    sample = await _sample(stage, table, options.sample, counted)
    rows, rows_are = counted, "counted"
    if rows is None:
        rows, rows_are = await source.rows_expected(), "estimated"
    if rows is None:
        rows, rows_are = sample.tally.rows, "unknown"
    segments = await source.segments(_segments_wanted(job, options, reason, rows))
    whole = rows_are == "counted" and sample.tally.rows >= rows
    tally, collisions = sample.tally, sample.keys.collisions()
    scope: Scope = "all" if whole else "proved" if reason is None else "sample"
    if options.full and not whole:
        if reason is not None:  # only writing needs the order; looking is as good side by side
            side_by_side = await source.segments(_segments_wanted(job, options, None, rows))
        else:
            side_by_side = segments
        tally, collisions = await _look_at_all(stage, table, side_by_side, say)
        rows, rows_are, whole, scope = tally.rows, "counted", True, "all"
    volume = estimate.volume(tally, rows)
    hot = sample.heat.hottest(dict(volume.units))
    now = estimate.pace_now(volume, table, hot)
    warm_rate, warmed = _warm(table)
    warm = estimate.pace_at(volume, table, warm_rate, hot)
    capped = (
        None if job.target.rate_max is None else estimate.pace_capped(now, volume, table, job.target.rate_max)
    )
    cost = estimate.cost(volume, table, options.prices)
    scale = rows / tally.rows if tally.rows else 0.0
    findings = Findings(
        table, exists, tally, scale, whole, options.full, volume, cost, now, warm, capped, hot, collisions,
        reason, warmed,
    )  # fmt: skip
    if rows_are == "unknown":
        slow = (*slow, UNKNOWN_ROWS)
    load_s = expected_s(now, capped)
    lasting = await source.abilities.lasting(load_s, duration(load_s))
    warnings = [*source.notices, *slow, *([] if reason is None else [_sentence(reason)]), *lasting]
    return Plan(
        job=job.name,
        source=SourceFacts(job.source.reads, rows, rows_are, size_bytes, len(segments), reason),  # type: ignore[arg-type]
        table=table,
        table_exists=exists,
        mode=job.target.mode,
        tally=tally,
        whole=whole,
        volume=volume,
        prices=options.prices,
        cost=cost,
        pace_now=now,
        pace_warm=warm,
        pace_capped=capped,
        hot=hot,
        collisions=collisions,
        scope=scope,
        warnings=[*warnings, *warn(findings)],
        advice=advise(findings),
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    tally: Tally
    heat: Heat
    keys: Keys


async def _sample(stage: _Stage, table: TableInfo, rows: int, of: int | None) -> _Sample:
    sample = _Sample(
        _tally(stage, table), Heat(rows), Keys(stage.source_key, has_sort=table.sort_key is not None)
    )
    async for batch in sampling.sampled(stage.source, rows, of):
        measured = await asyncio.to_thread(stage.measured, batch, in_full=True)
        sample.tally.add(batch, measured, stage.source_key)
        sample.heat.add(batch.rows.num_rows, measured)
        sample.keys.add(batch, measured)
    return sample


async def _look_at_all(
    stage: _Stage, table: TableInfo, segments: Sequence[Segment], say: Callable[[str], None]
) -> tuple[Tally, Collisions]:
    """Measure every row, and find every key that repeats: by hashes first, then those suspected by text."""
    tally = _tally(stage, table)
    with passing_store(np.dtype(np.uint64), NO_ROOM) as store:

        def add(batch: Batch, measured: Sequence[Measured]) -> None:
            tally.add(batch, measured, stage.source_key)
            for found in measured:
                store.add(found.hashes)
            if store.full:
                store.flush()

        await _pass(stage, segments, add, say, in_full=True)
        suspects = await asyncio.to_thread(suspected, store)
    keys = Keys(stage.source_key, has_sort=table.sort_key is not None, suspects=suspects.hashes)
    if len(suspects.hashes):
        say(f"{len(suspects.hashes):,} keys are suspected of repeating: reading again to compare their texts")
        await _pass(stage, segments, keys.add, say, in_full=False)
    found = keys.collisions()
    return tally, Collisions(
        found.keys + suspects.keys_beyond, found.lost + suspects.lost_beyond, found.examples
    )


async def _pass(
    stage: _Stage,
    segments: Sequence[Segment],
    add: Callable[[Batch, Sequence[Measured]], None],
    say: Callable[[str], None],
    *,
    in_full: bool,
) -> None:
    """Read and measure every segment, several side by side."""
    left: Iterator[Segment] = iter(segments)
    done = 0

    async def cursor() -> None:
        nonlocal done
        for segment in left:
            async with aclosing(stage.source.read(segment, None)) as batches:
                async for batch in batches:
                    add(batch, await asyncio.to_thread(stage.measured, batch, in_full=in_full))
            done += 1
            say(f"{done} of {len(segments)} segments read")

    try:
        async with asyncio.TaskGroup() as cursors:
            for _ in range(min(ends.CURSORS, stage.source.ticket.cursors_max or ends.CURSORS)):
                cursors.create_task(cursor())
    except ExceptionGroup as group:  # the first is the fault, the others were cancelled for it
        raise group.exceptions[0] from group


def _tally(stage: _Stage, table: TableInfo) -> Tally:
    return Tally([rule.name for rule in stage.transform.rules], [index.name for index in table.indexes])


def _segments_wanted(job: Job, options: PlanOptions, reason: str | None, rows: int) -> int:
    """Cut as a run would."""
    if reason is not None:
        return 1
    if job.source.segments != "auto":
        return job.source.segments
    return max(1, min(options.workers * ends.CURSORS * SEGMENTS_PER_CURSOR, rows // SEGMENT_ROWS))


def _warm(table: TableInfo) -> tuple[float, bool]:
    """Return the rate of a warmed table, and whether it is or will be so anyway."""
    if table.warm_write is not None and table.warm_write > estimate.ON_DEMAND_WCU_PER_S:
        return float(table.warm_write), True
    return float(estimate.TABLE_QUOTA_WCU_PER_S), False


def _sentence(reason: str) -> str:
    return f"{reason[0].upper()}{reason[1:]}."
