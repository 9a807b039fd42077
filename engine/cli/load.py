"""The commands of a load: run, status."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli import options as given
from engine.cli.jobs import load_jobs, print_json
from engine.cli.options import options
from engine.cli.signals import held
from engine.environment import cores

if TYPE_CHECKING:
    from engine.report import Report

EXIT_ORDER = (1, 130, 3, 0)
"""Of several jobs' exit codes the first of these that occurs is the process's."""


@click.command()
@options(given.job, given.state, given.overrides, given.only)
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; default: the cores.")
@click.option("--metrics-port", metavar="[HOST:]PORT", help="Serve Prometheus metrics there.")
@click.option("--fresh", is_flag=True, help="Start a new full run, whatever the checkpoint says.")
@options(given.as_json, given.verbose)
def run(
    job_file: Path,
    state_dir: Path,
    overrides: tuple[str, ...],
    only: str | None,
    workers: int | None,
    metrics_port: str | None,
    fresh: bool,
    as_json: bool,
) -> int:
    """Load a job's source into its target, or go on with what was begun.

    A job with a watermark whose full run has finished catches up with what has changed since.
    """
    jobs = load_jobs(job_file, overrides, only)
    with held():
        import uvloop

        from engine.commands.run import runner
        from engine.show import metrics, progress, summary

    display = progress.observer()
    observers: list[Any] = [display]
    server = None
    if metrics_port is not None:
        figures = metrics.Metrics()
        server, address = metrics.serve(figures, metrics_port)
        click.echo(f"backfill: metrics on {address}", err=True)
        observers.append(figures)
    try:
        reports = uvloop.run(
            runner.run(
                jobs,
                runner.RunOptions(state_dir=state_dir, workers=workers or cores(), fresh=fresh),
                observers,
            )
        )
    finally:
        display.close()
        if server is not None:
            server.shutdown()
            server.server_close()
    if as_json:
        print_json([report.as_json() for report in reports], several=len(jobs) > 1)
    else:
        click.echo("\n\n".join(summary.render(report, state_dir / report.job) for report in reports))
    for report in reports:
        if report.error is not None:
            click.echo(f"backfill: error: {report.error}", err=True)
    return exit_code(reports)


def exit_code(reports: "Sequence[Report]") -> int:
    """Return the exit code of several jobs' runs: the one that asks most of the user."""
    return min((report.exit_code for report in reports), key=EXIT_ORDER.index, default=0)


@click.command()
@options(given.job, given.state, given.overrides, given.only, given.as_json, given.verbose)
def status(
    job_file: Path, state_dir: Path, overrides: tuple[str, ...], only: str | None, as_json: bool
) -> None:
    """Show the last or current run, from its checkpoint."""
    jobs = load_jobs(job_file, overrides, only)
    with held():
        from engine.commands import status as standing

    async def look_at_all() -> list[standing.JobStatus]:
        return [await standing.look(job, state_dir) for job in jobs]

    looks = asyncio.run(look_at_all())
    if as_json:
        print_json([look.as_json() for look in looks], several=len(jobs) > 1)
    else:
        click.echo("\n\n".join(look.text() for look in looks))
