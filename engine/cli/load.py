"""The commands of a load: run, status, log drop."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli import options as given
from engine.cli.jobs import listen_at, load_jobs, ray_at
from engine.cli.options import Invocation, options
from engine.cli.signals import held
from engine.errors import BackfillError, JobError
from engine.exits import exit_code
from engine.show import console

if TYPE_CHECKING:
    from engine.events import Event, Observer
    from engine.job.model import Job
    from engine.report import Report


@click.command()
@options(given.job, given.state, given.overrides, given.only, given.workers)
@click.option("--metrics-port", metavar="[HOST:]PORT", help="Serve Prometheus metrics there.")
@click.option(
    "--metrics-linger",
    "linger_s",
    type=click.FloatRange(0, 3600),
    metavar="S",
    help="Stay until the end was scraped, at most so long; default: 20, where somebody scrapes.",
)
@click.option(
    "--metrics-textfile",
    "textfile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.prom",
    help="Keep the metrics there for node_exporter's textfile collector.",
)
@click.option("--fresh", is_flag=True, help="Start a new full run, whatever the checkpoint says.")
@click.option("--follow", is_flag=True, help="Go on with what changes, by the source's log, until stopped.")
@click.option(
    "--parallel-jobs",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Jobs of a file that run at one time.",
)
@options(given.listen, given.placing, given.as_json, given.telling)
@click.pass_obj
def run(
    invocation: Invocation,
    /,
    job_file: Path,
    state_dir: Path,
    overrides: tuple[str, ...],
    only: str | None,
    workers: int | None,
    metrics_port: str | None,
    linger_s: float | None,
    textfile: Path | None,
    fresh: bool,
    follow: bool,
    parallel_jobs: int,
    as_json: bool,
    runner: str,
    ray_address: str | None,
    **listen: Any,
) -> int:
    """Load a job's source into its target, or go on with what was begun.

    A job with a watermark or a log whose full run has finished catches up with what has changed since.
    """
    jobs = load_jobs(job_file, overrides, only)
    with held():
        import uvloop

        from engine.commands.run import several
        from engine.commands.run.prepare import RunOptions
        from engine.show import progress

        ray = ray_at(runner, ray_address, workers, listen["expect"])
        if ray is not None and (follow or parallel_jobs > 1):
            raise JobError(
                "--runner ray is about loads, one job at a time: leave out --follow and --parallel-jobs"
            )
        afar = listen_at(workers, **listen)
        options = RunOptions(state_dir, workers, fresh, follow, parallel_jobs, afar, ray)
        shown = any(each is not None for each in (metrics_port, linger_s, textfile))
        if shown:
            from engine.show.metrics_file import metrics_shown

    display, ended = progress.observer(), _Ended(jobs)
    with ExitStack() as stack:
        stack.callback(display.close)
        observers: list[Observer] = [display, ended]
        if shown:
            observers += metrics_shown(stack, metrics_port, linger_s, textfile)
        try:
            stopped = uvloop.run(several.run(jobs, options, observers))
        except BackfillError:
            # What was done before the job at fault is told first; as JSON it stands in the error's object.
            if ended.reports and as_json:
                invocation.done = {"jobs": [report.as_json() for report in ended.reports]}
            elif ended.reports:
                console.tell(_told(ended.reports, jobs, state_dir))
            raise
        display.close()
        _tell(ended.reports, jobs, state_dir, as_json=as_json)
    return exit_code(ended.reports, stopped=stopped)


def _tell(reports: "Sequence[Report]", jobs: "Sequence[Job]", state_dir: Path, *, as_json: bool) -> None:
    """Print how the jobs ended, and on stderr why one failed."""
    if as_json:
        console.print_json(reports, several=len(jobs) > 1)
    else:
        console.tell(_told(reports, jobs, state_dir))
    for report in reports:
        if report.error is not None:
            console.fail(f"{f'{report.job}: ' if len(jobs) > 1 else ''}{report.error}", job=report.job)


class _Ended:
    """An observer that keeps the reports; of a job that went on with another run the last one."""

    def __init__(self, jobs: "Sequence[Job]") -> None:
        self._names = [job.name for job in jobs]
        self._by_job: dict[str, Report] = {}

    @property
    def reports(self) -> "list[Report]":
        """What ended, in the file's order."""
        return [self._by_job[name] for name in self._names if name in self._by_job]

    def on(self, event: "Event") -> None:
        """Take note of one event."""
        from engine.events import RunEnded  # heavy

        if isinstance(event, RunEnded):
            self._by_job[event.report.job] = event.report


def _told(reports: "Sequence[Report]", jobs: "Sequence[Job]", state_dir: Path) -> str:
    """Say how the jobs ended, and over several how all did."""
    from engine.show import summary

    texts = [summary.render(report, state_dir / report.job) for report in reports]
    if len(jobs) > 1:
        texts.append(summary.overall(reports, [job.name for job in jobs]))
    return "\n\n".join(texts)


@click.command()
@options(given.job, given.state, given.overrides, given.only, given.as_json, given.telling)
def status(
    job_file: Path, state_dir: Path, overrides: tuple[str, ...], only: str | None, as_json: bool
) -> int | None:
    """Show the last or current run, from its checkpoint.

    Exit code 3: a run went to its end, and dead letters are open.
    """
    jobs = load_jobs(job_file, overrides, only)
    with held():
        from engine.commands.status import JobStatus, look
        from engine.commands.whose import job_named

    async def look_at_all() -> list[JobStatus]:
        stand = []
        for job in jobs:
            with job_named(job, among=len(jobs)):
                stand.append(await look(job, state_dir))
        return stand

    stand = asyncio.run(look_at_all())
    console.print_reports(stand, JobStatus.text, as_json=as_json, several=len(jobs) > 1)
    return exit_code(stand) or None  # that it was told is all that 0 would mean


@click.group()
def log() -> None:
    """Look after the log that a source keeps for a job."""


@log.command("drop")
@options(given.job, given.overrides, given.only, given.telling)
def log_drop(job_file: Path, overrides: tuple[str, ...], only: str | None) -> None:
    """Have the source keep its log for jobs no more: later catch-up runs need --fresh.

    A log that jobs of the file share is let go for all of them at once.
    """
    jobs = load_jobs(job_file, overrides, only)
    with held():
        from engine.commands.whose import job_named
        from engine.registry import SOURCES

    async def drop(job: "Job") -> None:
        kept = SOURCES[job.source.type].log
        if job.source.log is None or kept is None:
            raise JobError("source.catch_up: this job keeps no log; there is nothing to drop")
        if only is not None and job.log_mates:
            raise JobError(
                f"--only: {job.source.log} keeps the log for {_names(job.log_mates)}, too; leave --only out"
                " to let it go for all, or take this job out of the file to keep it for the others alone"
            )
        for text in await kept.let_go(job):
            console.say(f"{_names([job, *job.log_mates])}: {text}")

    done: set[str] = set()
    for job in jobs:
        if job.name not in done:
            with job_named(job, among=len(jobs)):
                asyncio.run(drop(job))
        done |= {mate.name for mate in job.log_mates}


def _names(jobs: "Sequence[Job]") -> str:
    return ", ".join(job.name for job in jobs)
