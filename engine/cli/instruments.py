"""The commands to measure and to rehearse with: demo, bench, simulator."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli import options as given
from engine.cli.jobs import load_jobs
from engine.cli.options import options
from engine.cli.signals import held
from engine.environment import tune
from engine.errors import JobError

if TYPE_CHECKING:
    from bench.command import Kind


@click.command()
@click.option(
    "--source",
    type=click.Choice(["postgres", "mongodb"]),
    default="postgres",
    help="Where the shop moves from.",
)
@options(given.runner, given.as_json, given.telling)
def demo(source: str, runner: str, as_json: bool) -> int:
    """Load, check and report a whole migration on this machine, with servers of its own."""
    tune()
    try:
        with held():
            from bench import demo as rehearsal
    except ImportError as error:
        raise JobError(
            f"the demo needs {error.name}, which isn't installed; try: pip install 'backfill[demo]'"
        ) from error
    if runner == "ray":
        from engine.commands.run.cluster.holding import check_installed

        check_installed()
    return rehearsal.run(as_json=as_json, source=source, runner=runner)


@click.command()
@options(given.job, given.overrides, given.only)
@click.option("--rows", type=click.IntRange(1), default=200_000, show_default=True, help="Rows to measure.")
@click.option(
    "--target",
    "kind",
    type=click.Choice(["null", "simulator", "real"]),
    default="null",
    show_default=True,
    help="Where items go: nowhere, into a local model of DynamoDB, or into the job's own table.",
)
@click.option("--yes", is_flag=True, help="With --target real: do write there, at its cost.")
@options(given.as_json, given.telling)
def bench(
    job_file: Path,
    overrides: tuple[str, ...],
    only: str | None,
    rows: int,
    kind: "Kind",
    yes: bool,
    as_json: bool,
) -> None:
    """Measure this job's own path stage by stage, and say what holds it up.

    Nothing is written to the job's table unless --target real asks for it, and no checkpoint is touched.
    """
    jobs = load_jobs(job_file, overrides, only)
    with held():
        from bench.command import run

    run(jobs, kind, rows, yes=yes, as_json=as_json)


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@given.telling
def simulator(arguments: tuple[str, ...]) -> object:
    """Serve DynamoDB's protocol here, with its capacity and with faults, to rehearse on."""
    with held():
        from bench.simulator.command import simulator as command

    # The instruments have options of their own and are not loaded for the help of others.
    return command.main(arguments, prog_name="backfill simulator", standalone_mode=False)
