"""The command `backfill plan`: jobs in, words or JSON and an exit code out."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import uvloop

from engine.commands.plan import view
from engine.commands.plan.collisions import NO_ROOM
from engine.commands.plan.plan import Plan
from engine.commands.plan.planner import SAMPLE_ROWS, PlanOptions, plan
from engine.commands.room import on_disk
from engine.commands.run.door import cluster_held
from engine.commands.whose import job_named
from engine.exits import exit_code
from engine.job.model import Job
from engine.run.voice import SaysNotices, Voice
from engine.show.console import print_json, say

if TYPE_CHECKING:
    from engine.commands.run.cluster.holding import RayOptions
    from engine.commands.run.listening import Listen

WIDTH_MAX, WIDTH_ELSEWHERE = 120, 110


def run(
    jobs: Sequence[Job],
    *,
    sample: int | None,
    full: bool,
    prices: Path | None,
    workers: int | None,
    listen: "Listen | None",
    ray: "RayOptions | None",
    as_json: bool,
) -> int:
    """Plan every job and print what was found. Raises: what planning raises."""
    options = PlanOptions(prices, sample or SAMPLE_ROWS, full, workers, listen, ray)

    async def every() -> list[Plan]:
        plans = []
        async with cluster_held(ray, Voice([SaysNotices(say)])) as cluster:
            for job in jobs:
                with job_named(job, among=len(jobs)), on_disk(None, NO_ROOM):
                    plans.append(await plan(job, options, say, cluster))
        return plans

    plans = uvloop.run(every())
    on_terminal = sys.stdout.isatty()
    width = min(WIDTH_MAX, shutil.get_terminal_size().columns) if on_terminal else WIDTH_ELSEWHERE
    if as_json:
        print_json(plans, several=len(jobs) > 1)
    else:  # not by `tell`: colours are made of what it would escape
        click.echo("\n\n".join(view.render(each, width=width, colour=on_terminal) for each in plans))
        if len(plans) > 1:
            click.echo(f"\n{view.together(plans)}")
    return exit_code(plans)
