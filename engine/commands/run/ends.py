"""Which connector serves which `type` of the job: explicit tables from a name to what builds it.

Invariant: connectors and their drivers are loaded only when a job names them.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.batch import Batch
from engine.contracts.source import Source, SourceTicket
from engine.contracts.state import CheckpointStore, RunState
from engine.contracts.target import Look
from engine.errors import JobError
from engine.job.hook import load_hook
from engine.job.model import Job, MongoDBSource, PostgresSource
from engine.meter import Meter
from engine.run.key_gate import KeyGate
from engine.run.letters import LetterWindow
from engine.run.pipeline import BatchWindow, Stages
from engine.tenure import Tenure

CURSORS = 2
"""Segments that one process reads side by side: while one waits for its server, the other has rows."""

WINDOW_BYTES = 6 * 2**20
"""Rows that are between being read and being acked, per process: about three batches of 2 MB. Eight and
sixteen MB were no faster and took 7 and 57 MB more."""

ENCODE_THREADS = 1
"""Threads that transform and encode, per process: they take 2 µs an item, so that a second one only costs
memory (30 MB)."""


async def open_source(job: Job, *, since: str | None, ticket: SourceTicket | None = None) -> Source:
    """Open the job's source, with a ticket as a worker does, without one as the runner does."""
    return await _SOURCES[job.source.type](job, since, ticket)


async def _postgres(job: Job, since: str | None, ticket: SourceTicket | None) -> Source:
    from connectors.postgres import open_source

    assert isinstance(job.source, PostgresSource), "the table of sources goes by type"
    return await open_source(job.source, since=since, ticket=ticket)


async def _mongodb(job: Job, since: str | None, ticket: SourceTicket | None) -> Source:
    from connectors.mongodb import open_source
    from engine.rules.fields import wanted_fields

    assert isinstance(job.source, MongoDBSource), "the table of sources goes by type"
    return await open_source(job.source, wanted_fields(job), since=since, ticket=ticket)


_SOURCES: Mapping[str, Callable[[Job, str | None, SourceTicket | None], Awaitable[Source]]] = {
    "postgres": _postgres,
    "mongodb": _mongodb,
}


async def describe_table(job: Job) -> Any:
    """Return what the target says of the job's table, checked against the rules' keys.

    Raises: JobError when there is no such table or its keys don't fit.
    """
    from connectors.dynamodb.table import check_keys, describe

    table = await describe(job.target)
    if table is None:
        raise JobError(
            f"target.table: there is no table {job.target.table};"
            " create it with `backfill table create` or correct the name or region"
        )
    check_keys(table, job)
    return table


@asynccontextmanager
async def open_line(
    job: Job,
    source: Source,
    table: Any,
    *,
    ordered: bool,
    notice: Callable[[str], None],
    letters_bytes: float = math.inf,
    tenure: Tenure | None = None,
) -> AsyncIterator[Stages]:
    """Put the stages of this process together, and take them apart again.

    `tenure` is the lease's, where one is held: nothing is sent behind its end.
    `letters_bytes` bounds the dead letters that nobody has kept yet, where somebody tells what was.
    Raises: JobError when the rules don't fit the source's columns or the table's keys.
    """
    from connectors.dynamodb.target import open_target
    from engine.rules.transform import compile_rules

    meter, tenure = Meter(), tenure or Tenure()
    transform = compile_rules(
        job, source.ticket.schema, load_hook(job.transform, job.directory) if job.transform else None
    )
    target = await open_target(
        job, table, source.ticket.schema, transform.rules, meter, notice, tenure=tenure
    )
    empty = Batch(0, 0, pa.RecordBatch.from_pylist([], source.ticket.schema.arrow()), None)
    try:
        target.encode(empty, transform(empty))  # finds rules that no item could pass, before anything is read
        with ThreadPoolExecutor(ENCODE_THREADS, thread_name_prefix="encode") as threads:
            yield Stages(
                source=source,
                transform=transform,
                target=target,
                window=BatchWindow(WINDOW_BYTES),
                gate=KeyGate() if ordered else None,
                threads=threads,
                meter=meter,
                letters=LetterWindow(letters_bytes),
                tenure=tenure,
            )
    finally:
        await target.close()


async def credentials() -> Any:
    """Return what this process has found of the target's credentials, for its workers; picklable, secret."""
    from connectors.dynamodb.http.credentials import to_hand_over

    return await to_hand_over()


def take_over(found: Any) -> None:
    """Use the credentials that the runner has found."""
    from connectors.dynamodb.http.credentials import take_over as take

    take(found)


def watch_table(job: Job, table: Any) -> AbstractAsyncContextManager[Look]:
    """Return what looks, whenever asked, whether the job's table is still the one that was described."""
    from connectors.dynamodb.lookout import watched

    return watched(job.target, table)


def table_identity(table: Any) -> dict[str, str]:
    """Return what makes a table the same one tomorrow."""
    with_id = {"id": table.table_id} if table.table_id else {}
    return {"arn": table.arn, "created_at": table.created_at, **with_id}


async def read_state(job: Job, state_dir: Path) -> RunState | None:
    """Return a job's latest run without taking its lease; None when it never ran. Raises: JobError."""
    if job.state.type == "sqlite":
        from engine.state.checkpoint import read_state

        return read_state(state_dir, job.name)
    from connectors.dynamodb.state.store import read_state as read_table_state

    return await read_table_state(job.state, job.name)


async def open_store(job: Job, state_dir: Path) -> CheckpointStore:
    """Take the job's lease and open its checkpoint. Raises: JobError when another run holds it."""
    if job.state.type == "sqlite":
        from engine.state.checkpoint import open_store

        return open_store(state_dir, job.name)
    from connectors.dynamodb.state.store import open_store as open_table_store

    return await open_table_store(job.state, state_dir, job.name)
