"""The options of `verify` and `redrive` on the command line. Nothing heavy is imported here."""

import click


def _no_workers(context: click.Context, parameter: click.Parameter, value: int | None) -> None:
    if value is not None:
        raise click.BadParameter(
            "verify does everything in one process, which keeps up with what tables let through:"
            " leave --workers out; --max-rcu holds it back",
            context,
            parameter,
        )


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
    click.option("--workers", type=int, hidden=True, expose_value=False, callback=_no_workers),
)

REDRIVE = (
    click.option(
        "--drop-gone", is_flag=True, help="Take letters out whose row or rule isn't there any more."
    ),
)
