"""redrive on the command line."""

from collections.abc import Sequence
from pathlib import Path

import uvloop

from engine.amounts import aligned, counted, number
from engine.commands.redrive.redriving import RedriveOptions, redrive
from engine.commands.redrive.report import RedriveReport
from engine.exits import exit_code
from engine.job.model import Job
from engine.show.console import print_reports, say
from engine.state.dead_letters import FILE_NAME


def run(jobs: Sequence[Job], *, as_json: bool, state_dir: Path, drop_gone: bool) -> int:
    """Redrive jobs, print the report and return the exit code. Raises: what redrive raises."""
    reports = uvloop.run(redrive(jobs, RedriveOptions(state_dir, drop_gone), say))
    print_reports(
        reports, lambda report: render(report, state_dir), as_json=as_json, several=len(reports) > 1
    )
    return exit_code(reports)


def render(report: RedriveReport, state_dir: Path) -> str:
    """Say how the letters ended and what to do next."""
    if not report.tried:
        return f"{report.job}: no dead letters"
    dropped = f", {number(report.dropped)} dropped" if report.dropped else ""
    items = (
        f"{number(report.items_written)} written, {number(report.items_deleted)} deleted,"
        f" {number(report.items_skipped)} skipped"
    )
    figures = [("items", items)]
    figures += [("left", f"{why}: {number(count)}") for why, count in sorted(report.left_by_reason.items())]
    if report.gone:
        figures.append(("gone", f"{counted(report.gone, 'letter')} whose row or rule isn't there any more"))
    text = [
        f"{report.job}: {counted(report.tried, 'dead letter')} tried again: {number(report.settled)} settled,"
        f" {number(report.left)} left{dropped}",
        "",
        *aligned(figures),
    ]
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
