"""The commands of a load: run, status."""

import asyncio
from pathlib import Path
from typing import Any

import click

from engine.cli import options as given
from engine.cli.jobs import load_jobs
from engine.cli.options import options
from engine.cli.signals import held
from engine.environment import cores
from engine.exits import exit_code
from engine.show import console


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
        console.say(f"metrics on {address}")
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
    console.print_reports(
        reports,
        lambda report: summary.render(report, state_dir / report.job),
        as_json=as_json,
        several=len(jobs) > 1,
    )
    for report in reports:
        if report.error is not None:
            console.say(f"error: {report.error}")
    return exit_code(reports)


@click.command()
@options(given.job, given.state, given.overrides, given.only, given.as_json, given.verbose)
def status(
    job_file: Path, state_dir: Path, overrides: tuple[str, ...], only: str | None, as_json: bool
) -> None:
    """Show the last or current run, from its checkpoint."""
    jobs = load_jobs(job_file, overrides, only)
    with held():
        from engine.commands.status import JobStatus, look

    async def look_at_all() -> list[JobStatus]:
        return [await look(job, state_dir) for job in jobs]

    console.print_reports(asyncio.run(look_at_all()), JobStatus.text, as_json=as_json, several=len(jobs) > 1)
