"""The commands before a load: init, plan, table create, schema."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from engine.cli import options as given
from engine.cli.jobs import elsewhere, listen_at, load_jobs, ray_at
from engine.cli.options import options
from engine.cli.signals import held
from engine.environment import tune
from engine.errors import JobError
from engine.masking import visible
from engine.show import console

SOURCE_URL = "SOURCE_URL"
"""The variable that starter jobs read."""


@click.command()
@click.argument("url", metavar="[URL]", required=False)
@click.option("--table", metavar="T", help="The table of a PostgreSQL database.")
@click.option("--collection", metavar="C", help="The collection of a MongoDB database.")
@click.option("--database", metavar="D", help="The MongoDB database; default: the URL's.")
@given.telling
def init(url: str | None, table: str | None, collection: str | None, database: str | None) -> None:
    """Look at a source and print a commented job file to start from; reads only.

    The URL is better in the environment's SOURCE_URL, or typed when it is asked for: every user of this
    machine sees a command line, with the password in it.
    """
    tune()
    url = url or os.environ.get(SOURCE_URL) or _typed_url()
    with held():
        from engine.commands.init import job_file

    named = {"table": table, "collection": collection, "database": database}
    click.echo(visible(job_file.run(url, named)), nl=False)


def _typed_url() -> str:
    """Ask for a URL without showing it. Raises: JobError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise JobError(f"there is no URL to look at: set {SOURCE_URL}, as the job file will read it")
    url: str = click.prompt("URL (not shown)", hide_input=True, err=True)
    return url


@click.command()
@options(given.job, given.overrides, given.only)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    expose_value=False,
    help="As for `run`; a plan reads no state.",
)
@click.option("--sample", type=click.IntRange(100, 10_000_000), help="Rows to measure; default: 30,000.")
@click.option("--full", is_flag=True, help="Look at every row: exact counts, every key collision.")
@click.option("--prices", type=click.Path(path_type=Path), help="A price list in place of the packaged one.")
@options(given.workers, given.listen, given.placing, given.as_json, given.telling)
def plan(
    job_file: Path,
    overrides: tuple[str, ...],
    only: str | None,
    sample: int | None,
    full: bool,
    prices: Path | None,
    workers: int | None,
    as_json: bool,
    runner: str,
    ray_address: str | None,
    **afar: Any,
) -> int:
    """Say what a load will do, cost and lose; reads only.

    Exit code 4: it would lose or overwrite something.
    """
    jobs = load_jobs(job_file, overrides, only)
    others = elsewhere(runner, afar["listen"])
    if others is not None and not full:
        raise JobError(f"{others} is about --full: a sample is measured in one process; add that")
    if others == "--listen" and len(jobs) > 1:
        raise JobError("--listen is about one job: name it with --only; one command each")
    with held():
        from engine.commands.plan import terminal

        ray = ray_at(runner, ray_address, workers, afar["expect"])
        listen = listen_at(workers or None, **afar)
    return terminal.run(
        jobs,
        sample=sample,
        full=full,
        prices=prices,
        workers=workers,
        listen=listen,
        ray=ray,
        as_json=as_json,
    )


@click.group()
def table() -> None:
    """Prepare target tables."""


@table.command("create")
@options(given.job, given.overrides, given.only, given.telling)
def table_create(job_file: Path, overrides: tuple[str, ...], only: str | None) -> None:
    """Create the target tables as the job describes them, and wait until they are active."""
    jobs = load_jobs(job_file, overrides, only)
    with held():
        from engine.commands.whose import job_named
        from engine.registry import TARGETS

    async def create() -> None:
        done = []
        for job in jobs:
            if job.target not in done:
                done.append(job.target)
                connector = TARGETS[job.target.type]
                with job_named(job, among=len(jobs)):
                    if not connector.abilities.creates:
                        raise JobError(
                            f"target.type: a {job.target.type} target needs no table to be created"
                        )
                    await connector.create(job, console.say)

    asyncio.run(create())


@click.command()
@given.telling
def schema() -> None:
    """Print the JSON Schema of the job file, for editors."""
    with held():
        import connectors  # noqa: F401 - fills the tables of what a job may name
        from engine.job.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
