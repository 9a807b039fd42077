"""A job's own path, cut off after each stage: what reading, transforming, encoding and writing cost.

Invariant: the path is the pipeline's own code; only what follows the stage is left out. Each stage runs in a
process of its own, so that its CPU and its peak memory are nobody else's.
"""

import asyncio
import multiprocessing
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from bench.cutting import (
    PREPARED_BYTES_MAX,
    CountingTarget,
    Limited,
    NoEncoding,
    NoTransform,
    NoWriting,
    StageTally,
)
from engine.batch import Counts, EncodedBatch, Segment
from engine.commands import ends
from engine.commands.run.processes import peak_rss_bytes
from engine.contracts.target import TargetInfo
from engine.job.model import Job
from engine.meter import quantile
from engine.run.pipeline import Stages, run_segment

Stage: TypeAlias = Literal["read", "transform", "encode", "write", "whole"]
STAGES: tuple[Stage, ...] = get_args(Stage)

SEGMENTS = 4 * ends.CURSORS


@dataclass(frozen=True, slots=True)
class Figures:
    """What one stage took, with all before it. `write` is the exception: it begins with prepared items.

    Units: seconds; bytes of rows for read and transform, of the items' text for the others; write units of
    the table alone; `limit_wcu` what the target was found to take a second, None when nothing limits.
    """

    stage: Stage
    rows: int
    items: int
    requests: int
    throttled: int
    elapsed_s: float
    cpu_s: float
    payload_bytes: int
    wcu: int
    peak_rss_bytes: int
    dead_lettered: int = 0
    latency_p50_s: float | None = None
    latency_p99_s: float | None = None
    limit_wcu: float | None = None


def measure(stage: Stage, job: Job, table: TargetInfo, rows: int) -> Figures:
    """Run one stage in a process of its own over so many rows. Raises: what the stage raises."""
    context = multiprocessing.get_context("spawn")
    with _safe_path(), ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(_in_process, stage, job, table, rows).result()


@contextmanager
def _safe_path() -> Iterator[None]:
    """Have Python's own processes start from what is installed, as `environment.module_command` has ours."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def _in_process(stage: Stage, job: Job, table: TargetInfo, rows: int) -> Figures:
    import uvloop

    return uvloop.run(_measure(stage, job, table, rows))


async def _measure(stage: Stage, job: Job, table: TargetInfo, rows: int) -> Figures:
    async with _opened(job, table) as (line, segments, cursors):
        tally = StageTally()
        line = replace(line, source=Limited(line.source, rows), target=CountingTarget(line.target, tally))
        prepared: Sequence[EncodedBatch] = ()
        if stage == "write":
            prepared, tally = await _prepare(line, segments, cursors, tally)
        began, cpu_before = time.perf_counter(), time.process_time()
        if stage == "write":
            await _write(line, prepared, cursors)
        else:
            await _carry(_cut(line, stage, tally), segments, cursors, tally)
        cpu_s, elapsed_s = time.process_time() - cpu_before, time.perf_counter() - began
        meter = line.meter
        return Figures(
            stage=stage,
            rows=tally.counts.rows_read,
            items=tally.counts.items_emitted,
            requests=sum(meter.requests.values()),
            throttled=sum(meter.throttled.values()),
            elapsed_s=elapsed_s,
            cpu_s=cpu_s,
            payload_bytes=tally.row_bytes if stage in ("read", "transform") else tally.text_bytes,
            wcu=tally.wcu,
            peak_rss_bytes=peak_rss_bytes(),
            dead_lettered=tally.counts.items_dead_lettered,
            latency_p50_s=quantile(meter.latency, 0.5),
            latency_p99_s=quantile(meter.latency, 0.99),
            limit_wcu=None if meter.rate_limit == float("inf") else meter.rate_limit,
        )


@asynccontextmanager
async def _opened(job: Job, table: TargetInfo) -> AsyncGenerator[tuple[Stages, Sequence[Segment], int], None]:
    """Open both ends as a run does, in one process."""
    async with AsyncExitStack() as stack:
        opened = await ends.open_ends(stack, job, target=table)
        segments = await opened.source.segments(1 if opened.ordered else SEGMENTS)
        async with opened.stages(lambda _: None) as line:
            yield line, segments, 1 if opened.ordered else ends.CURSORS


async def _prepare(
    line: Stages, segments: Sequence[Segment], cursors: int, tally: StageTally
) -> tuple[Sequence[EncodedBatch], StageTally]:
    """Encode what is to be written, up to what may be held, and say how much that is."""
    target = NoWriting(line.target, PREPARED_BYTES_MAX)
    await _carry(replace(line, target=target), segments, cursors, tally)
    held = StageTally(
        counts=Counts(
            rows_read=sum(each.batch.rows.num_rows for each in target.held),
            items_emitted=sum(len(each) for each in target.held),
        ),
        text_bytes=target.held_bytes,
        wcu=sum(int(each.units.sum()) for each in target.held),
    )
    return target.held, held


async def _carry(line: Stages, segments: Sequence[Segment], cursors: int, tally: StageTally) -> None:
    """Bring the segments through the line, as many side by side as a worker does."""
    left = deque(segments)
    stopping = asyncio.Event()

    async def read() -> None:
        while left:
            await run_segment(line, left.popleft(), None, stopping, tally.mark)

    async with asyncio.TaskGroup() as readers:
        for _ in range(cursors):
            readers.create_task(read())


async def _write(line: Stages, batches: Sequence[EncodedBatch], cursors: int) -> None:
    """Write prepared batches, as many side by side as the window lets through."""
    left = deque(batches)

    async def write() -> None:
        while left:
            await line.target.write(left.popleft())

    async with asyncio.TaskGroup() as writers:
        # In order, two batches may hold the same key: one after the other then.
        for _ in range(1 if line.gate is not None else 2 * cursors):
            writers.create_task(write())


def _cut(line: Stages, stage: Stage, tally: StageTally) -> Stages:
    """Leave out what follows a stage."""
    match stage:
        case "read":
            return replace(line, transform=NoTransform(line.transform), target=NoEncoding(tally))
        case "transform":
            return replace(line, target=NoEncoding(tally))
        case "encode":
            return replace(line, target=NoWriting(line.target))
        case _:
            return line
