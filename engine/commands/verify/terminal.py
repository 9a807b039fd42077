"""verify on the command line: the report is all that goes to stdout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from engine.commands.verify import view
from engine.commands.verify.narrator import Narrator
from engine.commands.verify.outcome import VerifyReport
from engine.commands.verify.verification import VerifyOptions, verify
from engine.errors import JobError
from engine.exits import exit_code
from engine.job.model import Job
from engine.show.console import print_json


def run(
    jobs: Sequence[Job],
    *,
    as_json: bool,
    state_dir: Path,
    full: bool,
    sample: int,
    delete_extra: bool,
    repair: bool,
    workers: int | None,
    **choices: Any,
) -> int:
    """Verify jobs, print the report and return the exit code. Raises: JobError and what verify raises."""
    if delete_extra and not repair:
        raise JobError("--delete-extra deletes only together with --repair: add it")
    if delete_extra and not full:
        raise JobError("--delete-extra needs --full: a sample doesn't tell what all rows give")
    options = VerifyOptions(
        state_dir=state_dir,
        sample=None if full else sample,
        repair=repair,
        delete_extra=delete_extra,
        workers=workers,
        **choices,
    )
    narrator = Narrator()
    reports = uvloop.run(verify(jobs, options, narrator))
    narrator.clear()
    show(reports, as_json=as_json)
    return exit_code(reports)


def show(reports: Sequence[VerifyReport], *, as_json: bool) -> None:
    """Print reports."""
    if as_json:
        print_json(reports, several=len(reports) > 1)
        return
    console = Console(highlight=False)
    for report in reports:
        view.render(report, console)
