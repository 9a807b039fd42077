"""redrive on the command line."""

import json
from collections.abc import Sequence
from pathlib import Path

import click
import uvloop

from engine.amounts import counted, number
from engine.commands.redrive.command import RedriveOptions, redrive
from engine.commands.redrive.report import RedriveReport
from engine.job.model import Job
from engine.state.dead_letters import FILE_NAME


def run(jobs: Sequence[Job], *, as_json: bool, state_dir: Path, drop_gone: bool) -> int:
    """Redrive jobs, print the report and return the exit code. Raises: what redrive raises."""

    def notice(text: str) -> None:
        click.echo(f"backfill: {text}", err=True)

    reports = uvloop.run(redrive(jobs, RedriveOptions(state_dir, drop_gone), notice))
    if as_json:
        objects = [report.as_json() for report in reports]
        click.echo(json.dumps(objects[0] if len(objects) == 1 else {"jobs": objects}, indent=2))
    else:
        click.echo("\n\n".join(render(report, state_dir) for report in reports))
    return max(report.exit_code for report in reports)


def render(report: RedriveReport, state_dir: Path) -> str:
    """Say how the letters ended and what to do next."""
    if not report.tried:
        return f"{report.job}: no dead letters"
    text = [
        f"{report.job}: {counted(report.tried, 'dead letter')} tried again: {number(report.settled)} settled,"
        f" {number(report.left)} left" + (f", {number(report.dropped)} dropped" if report.dropped else ""),
        "",
        f"  items         {number(report.items_written)} written, {number(report.items_deleted)} deleted,"
        f" {number(report.items_skipped)} skipped",
    ]
    text += [
        f"  left          {reason}: {number(count)}"
        for reason, count in sorted(report.left_by_reason.items())
    ]
    if report.gone:
        text.append(
            f"  gone          {counted(report.gone, 'letter')} whose row or rule isn't there any more"
        )
    text.append("")
    if not report.left:
        text.append("  Nothing is left to do.")
    elif report.gone == report.left:
        text.append("  Next: `backfill redrive --drop-gone` takes these letters out.")
    else:
        text.append(
            f"  Next: look at {state_dir / report.job / FILE_NAME}, mend the rows or the job, and redrive."
        )
    return "\n".join(text)
