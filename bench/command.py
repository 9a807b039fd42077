"""`backfill bench JOB`: this job's own path, stage by stage, against a target of one's choice.

Invariant: a real table is written to only after its owner has said so; stdout carries results only.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import click

from bench import servers
from engine.errors import JobError
from engine.show.console import say, tell

if TYPE_CHECKING:
    from engine.job.model import Job

Kind: TypeAlias = Literal["null", "simulator", "real"]

BUSY_LOAD = 0.5
"""Load per core from which on others take part of what is measured."""

USD_PER_MILLION_WRU = 0.625
"""On demand, us-east-1. Source: Amazon DynamoDB pricing, on-demand capacity, standard table class."""


def run(jobs: "Sequence[Job]", kind: Kind, rows: int, *, yes: bool, as_json: bool) -> None:
    """Measure every job and print what came of it. Raises: what a stage raises."""
    from bench import report, stages
    from engine.commands.whose import job_named
    from engine.environment import cores

    found = []
    busy = os.getloadavg()[0]
    if busy > BUSY_LOAD * cores():
        say(
            f"this machine is busy with other work (load {busy:.1f} on {cores()} cores):"
            " the CPU per item stands, items per second and the bottleneck are of today"
        )
    for job in jobs:
        with job_named(job, among=len(jobs)), _prepared(job, kind) as (aimed, table):
            if kind == "real":
                _ask(aimed, table, rows, yes=yes)
            figures = {}
            for stage in stages.STAGES:
                say(f"{job.name}: {report.NAMES[stage]}")
                figures[stage] = stages.measure(stage, aimed, table, rows)
        if as_json:
            found.append({"job": job.name, **report.as_json(figures, kind, cores())})
        else:
            tell(f"{job.name}: {report.text(figures, kind, cores())}")
    if as_json:
        click.echo(json.dumps(found[0] if len(found) == 1 else {"jobs": found}, indent=2))


@contextmanager
def _prepared(job: "Job", kind: Kind) -> "Iterator[tuple[Job, Any]]":
    """Give the job aimed at its target, and the table's description."""
    import asyncio

    from engine.commands import ends

    if kind == "real":
        yield job, asyncio.run(ends.describe_target(job))
        return
    server = servers.simulator() if kind == "simulator" else servers.null_target()
    with server as endpoint:
        aimed = _aimed(job, endpoint)
        asyncio.run(_create(aimed, anew=kind == "null"))
        yield aimed, asyncio.run(ends.describe_target(aimed))


async def _create(job: "Job", *, anew: bool) -> None:
    """Create a job's table; `anew`: where any table seems to be there, with keys of its own, until one is."""
    from connectors.dynamodb import table as tables
    from connectors.dynamodb.connector import section_of
    from connectors.dynamodb.http.session import open_session
    from connectors.dynamodb.table_request import create_request

    section = section_of(job)
    assert section.create is not None, "the job was aimed at a table that is described"
    if anew:
        session = await open_session(section)
        async with session.calls() as call:
            await call("CreateTable", **create_request(section.table, section.create))
    await tables.create(section, lambda _: None)


def _aimed(job: "Job", endpoint: str) -> "Job":
    """Return the job with a target on this machine, and a table whose key is the one that its rules give."""
    from connectors.dynamodb.connector import section_of
    from connectors.dynamodb.section import Create

    section = section_of(job)
    create = section.create
    if create is None:
        partition_key, *sort_key = job.items[0].key
        create = Create(partition_key=partition_key, sort_key=sort_key[0] if sort_key else None)
    target = section.model_copy(
        update={
            "endpoint_url": endpoint,
            "profile": None,
            "region": section.region or "us-east-1",
            "table": section.table.rpartition("/")[2],
            "create": create,
        }
    )
    return job.model_copy(update={"target": target})


def _ask(job: "Job", table: Any, rows: int, *, yes: bool) -> None:
    """Say what will be written and what it costs; go on only with --yes. Raises: JobError."""
    from bench import stages

    encoded = stages.measure("encode", job, table, rows)
    indexes = sum(not index.local for index in table.indexes)
    units = 2 * encoded.wcu * (1 + indexes)
    cost = units / 1e6 * USD_PER_MILLION_WRU
    on_indexes = f" and its {indexes} indexes" if indexes else ""
    sentence = (
        f"this writes {encoded.items:,} items twice into {job.target.writes_to}, for up to {units:,} write"
        f" units of the table{on_indexes}, about ${cost:,.2f} on demand"
    )
    if not yes:
        raise JobError(f"--target real: {sentence}; repeat the command with --yes to do so")
    say(sentence)
