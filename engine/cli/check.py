"""The commands after a load: verify, redrive. Nothing heavy is imported here."""

from pathlib import Path
from typing import Any

import click

from engine.cli import options as given
from engine.cli.jobs import elsewhere, listen_at, load_jobs, ray_at
from engine.cli.options import options
from engine.cli.signals import held
from engine.errors import JobError

VERIFY = (
    click.option(
        "--sample",
        type=click.IntRange(1, 1_000_000),
        default=1_000,
        show_default=True,
        help="Compare the items of so many random rows, and look for the rows of as many random items.",
    ),
    click.option("--full", is_flag=True, help="Compare everything; goes on where it was stopped."),
    click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another sample."),
    click.option(
        "--max-rcu", type=click.FloatRange(min=1), help="Spend at most so many read units per second."
    ),
    click.option(
        "--read",
        type=click.Choice(["auto", "scan", "get"]),
        default="auto",
        show_default=True,
        help="How --full reads: by parallel scan (auto too); get: by key, not looking for extra items.",
    ),
    click.option("--repair", is_flag=True, help="Write again what is missing or differs."),
    click.option(
        "--delete-extra",
        is_flag=True,
        help="With --repair: delete the items of this job's keys that no source row gives.",
    ),
    click.option("--fresh", is_flag=True, help="Begin --full anew instead of going on."),
    given.workers,
    given.listen,
    given.placing,
)

REDRIVE = (
    click.option(
        "--drop-gone", is_flag=True, help="Take letters out whose row or rule isn't there any more."
    ),
)


@click.command()
@options(given.job, given.state, given.overrides, given.only, *VERIFY, given.as_json, given.telling)
def verify(job_file: Path, overrides: tuple[str, ...], only: str | None, **choices: Any) -> int:
    """Compare the target with what the source gives, a sample of it or everything.

    Exit code 4: items differ, and not all were repaired.
    """
    jobs = load_jobs(job_file, overrides, only)
    afar = {name: choices.pop(name) for name in given.LISTEN}
    runner, ray_address = choices.pop("runner"), choices.pop("ray_address")
    others = elsewhere(runner, afar["listen"])
    if others is not None and not (choices["full"] and choices["read"] != "get"):
        raise JobError(f"{others} is about --full, which scans: a sample, and --read get, are one process's")
    if choices["workers"] == 0 and others is None:
        raise JobError(
            "--workers 0: verify reads with a process at least; say 1, or --listen for workers of other hosts"
        )
    with held():
        from engine.commands.verify import terminal

        ray = ray_at(runner, ray_address, choices["workers"], afar["expect"])
        listen = listen_at(choices["workers"], **afar)
    return terminal.run(jobs, listen=listen, ray=ray, **choices)


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
