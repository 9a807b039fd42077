"""The command `backfill plan`: jobs in, words or JSON and an exit code out."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import uvloop

from engine.commands.plan import view
from engine.commands.plan.plan import LOSSES, Plan
from engine.commands.plan.planner import SAMPLE_ROWS, PlanOptions, plan
from engine.commands.plan.prices import load_prices
from engine.job.model import Job

WIDTH_MAX, WIDTH_ELSEWHERE = 120, 110


def run(
    jobs: Sequence[Job],
    *,
    sample: int | None,
    full: bool,
    prices: Path | None,
    workers: int,
    as_json: bool,
) -> int:
    """Plan every job and print what was found. Raises: what planning raises."""
    options = PlanOptions(load_prices(prices), sample or SAMPLE_ROWS, full, workers)

    async def every() -> list[Plan]:
        return [await plan(job, options, _say) for job in jobs]

    plans = uvloop.run(every())
    if as_json:
        objects = [each.as_json() for each in plans]
        click.echo(json.dumps({"jobs": objects} if len(jobs) > 1 else objects[0], indent=2))
    else:
        on_terminal = sys.stdout.isatty()
        width = min(WIDTH_MAX, shutil.get_terminal_size().columns) if on_terminal else WIDTH_ELSEWHERE
        click.echo("\n\n".join(view.render(each, width=width, colour=on_terminal) for each in plans))
    return LOSSES if any(each.loses for each in plans) else 0


def _say(text: str) -> None:
    click.echo(f"backfill: {text}", err=True)
