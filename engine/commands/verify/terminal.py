"""verify on the command line: told while it goes on, shown at its end.

Invariant: stdout carries the report only; progress goes to stderr, one line that is written over on a
terminal and one every ten seconds elsewhere.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import click
import uvloop
from rich.console import Console

from engine.commands.verify import view
from engine.commands.verify.outcome import VerifyReport
from engine.commands.verify.verification import Narrator, VerifyOptions, verify
from engine.errors import JobError
from engine.exits import exit_code
from engine.job.model import Job
from engine.show.console import print_json, say

TERMINAL_S, LOG_S = 0.5, 10.0


def run(
    jobs: Sequence[Job],
    *,
    as_json: bool,
    state_dir: Path,
    full: bool,
    sample: int,
    delete_extra: bool,
    repair: bool,
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
        **choices,
    )
    line = StatusLine()
    reports = uvloop.run(verify(jobs, options, Narrator(line.say, line.step)))
    line.clear()
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


class StatusLine:
    """What is told on stderr."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._due_at = monotonic() + (TERMINAL_S if self._live else LOG_S)
        self._shown = False

    def say(self, text: str) -> None:
        """Say a sentence."""
        self.clear()
        say(text)

    def step(self, what: str, count: int) -> None:
        """Say how far it has got, now and then."""
        if monotonic() < self._due_at:
            return
        self._due_at = monotonic() + (TERMINAL_S if self._live else LOG_S)
        text = f"backfill: {count:,} {what}"
        if self._live:
            click.echo(f"\r{text}", err=True, nl=False)
            self._shown = True
        else:
            click.echo(text, err=True)

    def clear(self) -> None:
        """End the line that is written over."""
        if self._shown:
            click.echo("", err=True)
            self._shown = False
