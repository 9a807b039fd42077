"""The commands after a load: verify, redrive."""

from pathlib import Path
from typing import Any

import click

from engine.cli import options as given
from engine.cli.choices import REDRIVE, VERIFY
from engine.cli.jobs import load_jobs
from engine.cli.options import options
from engine.cli.signals import held


@click.command()
@options(given.job, given.state, given.overrides, given.only, *VERIFY, given.as_json, given.telling)
def verify(job_file: Path, overrides: tuple[str, ...], only: str | None, **choices: Any) -> int:
    """Compare the target with what the source gives, a sample of it or everything.

    One process does it all; there are no workers. Exit code 4: items differ, and not all were repaired.
    """
    jobs = load_jobs(job_file, overrides, only)
    with held():
        from engine.commands.verify import terminal

    return terminal.run(jobs, **choices)


@click.command()
@options(given.job, given.state, given.overrides, given.only, *REDRIVE, given.as_json, given.telling)
def redrive(job_file: Path, overrides: tuple[str, ...], only: str | None, **choices: Any) -> int:
    """Try the dead letters again, from their source rows, under the job as it is now.

    Exit code 3: dead letters are left.
    """
    jobs = load_jobs(job_file, overrides, only)
    with held():
        from engine.commands.redrive import terminal

    return terminal.run(jobs, **choices)
