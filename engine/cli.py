"""The command line: argv in, exit code out; every fault ends as one sentence on stderr.

Invariant: importing this module loads nothing heavy (no polars, pyarrow, pydantic, botocore, rich), so that
`--help` answers at once; each command imports what it needs. stdout carries results only.
"""

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine import __version__
from engine import arguments as args
from engine.arguments import Invocation, options
from engine.environment import cores, tune
from engine.errors import BackfillError, JobError
from engine.masking import mask
from engine.show import logs
from engine.verify.choices import REDRIVE, VERIFY

if TYPE_CHECKING:
    from bench.command import Kind
    from engine.job.model import Job
    from engine.report import Report

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

EXIT_ORDER = (1, 130, 3, 0)
"""Of several jobs' exit codes the first of these that occurs is the process's."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="backfill")
def cli() -> None:
    """Load PostgreSQL tables and MongoDB collections into DynamoDB: fast, resumable, with nothing lost.

    Exit codes: 0 done; 1 failed, resumable; 2 the job file, the command line or the checkpoint doesn't fit;
    3 done, with dead letters; 4 differences or losses found; 130 interrupted after a clean checkpoint.
    """


@cli.command()
@options(args.job, args.state, args.overrides, args.only)
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; default: the cores.")
@click.option("--metrics-port", metavar="[HOST:]PORT", help="Serve Prometheus metrics there.")
@click.option("--fresh", is_flag=True, help="Start a new full run, whatever the checkpoint says.")
@options(args.as_json, args.verbose)
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
    jobs = _load(job_file, overrides, only)
    import uvloop

    from engine.run import runner
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
        _print_json([report.as_json() for report in reports], several=len(jobs) > 1)
    else:
        click.echo("\n\n".join(summary.render(report, state_dir / report.job) for report in reports))
    for report in reports:
        if report.error is not None:
            click.echo(f"backfill: error: {report.error}", err=True)
    return exit_code(reports)


def exit_code(reports: "Sequence[Report]") -> int:
    """Return the exit code of several jobs' runs: the one that asks most of the user."""
    return min((report.exit_code for report in reports), key=EXIT_ORDER.index, default=0)


@cli.command()
@click.argument("url", metavar="URL")
@click.option("--table", metavar="T", help="The table of a PostgreSQL database.")
@click.option("--collection", metavar="C", help="The collection of a MongoDB database.")
@click.option("--database", metavar="D", help="The MongoDB database; default: the URL's.")
@args.verbose
def init(url: str, table: str | None, collection: str | None, database: str | None) -> None:
    """Look at a source and print a commented job file to start from; reads only."""
    tune()
    from engine.init import command

    click.echo(command.run(url, table=table, collection=collection, database=database), nl=False)


@cli.command()
@options(args.job, args.overrides, args.only)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    expose_value=False,
    help="As for `run`; a plan reads no state.",
)
@click.option("--sample", type=click.IntRange(100, 10_000_000), help="Rows to measure; default: 30,000.")
@click.option("--full", is_flag=True, help="Look at every row: exact counts, every key collision.")
@click.option("--prices", type=click.Path(path_type=Path), help="A price list in place of the packaged one.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes of the run; default: the cores.")
@options(args.as_json, args.verbose)
def plan(
    job_file: Path,
    overrides: tuple[str, ...],
    only: str | None,
    sample: int | None,
    full: bool,
    prices: Path | None,
    workers: int | None,
    as_json: bool,
) -> int:
    """Say what a load will do, cost and lose; reads only.

    Exit code 4: it would lose or overwrite something.
    """
    jobs = _load(job_file, overrides, only)
    from engine.plan import command

    return command.run(
        jobs,
        sample=sample,
        full=full,
        prices=prices,
        workers=workers or cores(),
        as_json=as_json,
    )


@cli.command()
@options(args.job, args.state, args.overrides, args.only, args.as_json, args.verbose)
def status(
    job_file: Path, state_dir: Path, overrides: tuple[str, ...], only: str | None, as_json: bool
) -> None:
    """Show the last or current run, from its checkpoint."""
    jobs = _load(job_file, overrides, only)
    from engine.show import status as standing

    async def look_at_all() -> list[standing.Standing]:
        return [await standing.look(job, state_dir) for job in jobs]

    looks = asyncio.run(look_at_all())
    if as_json:
        _print_json([look.as_json() for look in looks], several=len(jobs) > 1)
    else:
        click.echo("\n\n".join(look.text() for look in looks))


@cli.command()
@options(args.job, args.state, args.overrides, args.only, *VERIFY, args.as_json, args.verbose)
def verify(job_file: Path, overrides: tuple[str, ...], only: str | None, **choices: Any) -> int:
    """Compare the target with what the source gives, a sample of it or everything.

    Exit code 4: items differ, and not all were repaired.
    """
    jobs = _load(job_file, overrides, only)
    from engine.verify import terminal

    return terminal.run(jobs, **choices)


@cli.command()
@options(args.job, args.state, args.overrides, args.only, *REDRIVE, args.as_json, args.verbose)
def redrive(job_file: Path, overrides: tuple[str, ...], only: str | None, **choices: Any) -> int:
    """Try the dead letters again, from their source rows, under the job as it is now.

    Exit code 3: dead letters are left.
    """
    jobs = _load(job_file, overrides, only)
    from engine.redrive import terminal

    return terminal.run(jobs, **choices)


@cli.group()
def table() -> None:
    """Prepare target tables."""


@table.command("create")
@options(args.job, args.overrides, args.only, args.verbose)
def table_create(job_file: Path, overrides: tuple[str, ...], only: str | None) -> None:
    """Create the target tables as the job describes them, and wait until they are active."""
    jobs = _load(job_file, overrides, only)
    from connectors.dynamodb import table as tables

    async def create() -> None:
        done = []
        for job in jobs:
            if job.target not in done:
                done.append(job.target)
                await tables.create(job.target, lambda text: click.echo(f"backfill: {text}", err=True))

    asyncio.run(create())


@cli.command()
@click.option(
    "--source",
    type=click.Choice(["postgres", "mongodb"]),
    default="postgres",
    help="Where the shop moves from.",
)
@options(args.as_json, args.verbose)
def demo(source: str, as_json: bool) -> int:
    """Load, check and report a whole migration on this machine, with servers of its own."""
    tune()
    try:
        from bench import demo as rehearsal
    except ImportError as error:
        raise JobError(
            f"the demo needs {error.name}, which isn't installed; try: pip install 'backfill[demo]'"
        ) from error
    return rehearsal.run(as_json=as_json, source=source)


@cli.command()
@options(args.job, args.overrides, args.only)
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
@options(args.as_json, args.verbose)
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
    jobs = _load(job_file, overrides, only)
    from bench.command import run

    run(jobs, kind, rows, yes=yes, as_json=as_json)


@cli.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@args.verbose
def simulator(arguments: tuple[str, ...]) -> object:
    """Serve DynamoDB's protocol here, with its capacity and with faults, to rehearse on."""
    from bench.simulator.command import simulator as command

    # The instruments have options of their own and are not loaded for the help of others.
    return command.main(arguments, prog_name="backfill simulator", standalone_mode=False)


@cli.command()
@args.verbose
def schema() -> None:
    """Print the JSON Schema of the job file, for editors."""
    from engine.job.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


def _load(job_file: Path, overrides: Sequence[str], only: str | None) -> "Sequence[Job]":
    tune()
    from engine.job import file as jobfile

    return jobfile.load(job_file, overrides, os.environ, only=only)


def _print_json(objects: Sequence[Any], *, several: bool) -> None:
    click.echo(json.dumps({"jobs": objects} if several else objects[0], indent=2))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that argv names and leave with its exit code."""
    invocation = Invocation()
    logs.setup(verbose=False)
    sys.exit(_answer(arguments, invocation))


def _answer(arguments: Sequence[str] | None, invocation: Invocation) -> int:
    try:
        code = cli.main(arguments, prog_name="backfill", standalone_mode=False, obj=invocation)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        return _complain(error.format_message(), error, invocation, JobError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("backfill: interrupted", err=True)
        return EXIT_INTERRUPTED
    except BackfillError as error:
        return _complain(str(error), error, invocation, error.exit_code)
    except BrokenPipeError:
        # Nobody reads stdout any more: without this the interpreter complains again while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except SystemExit:
        raise
    except BaseException as error:  # the last resort: a bug, or a panic of Polars, ends as a sentence too
        what = f"internal error: {type(error).__name__}: {error}; please report this; -v shows the traceback"
        return _complain(what, error, invocation, EXIT_FAILED)
    return code if isinstance(code, int) else 0


def _complain(sentence: str, error: BaseException, invocation: Invocation, code: int) -> int:
    if invocation.verbose:
        click.echo(mask("".join(traceback.format_exception(error)), os.environ), err=True, nl=False)
    click.echo(f"backfill: error: {mask(sentence, os.environ)}", err=True)
    return code
