"""The command of a worker on another host."""

import os
from pathlib import Path

import click

from engine.cli import options as given
from engine.cli.options import options
from engine.cli.signals import held
from engine.environment import tune
from engine.show import console


@click.command()
@click.argument("head", metavar="HEAD:PORT")
@click.option(
    "--hooks",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Directory of the job's hook, as it lies beside the job file.  [default: the current one]",
)
@click.option(
    "--ca",
    "authority",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Certificate that vouches for the runner's, besides the token.",
)
@options(given.telling)
def worker(head: str, hooks: Path, authority: Path | None) -> int:
    """Take part in a run, verify --full or plan --full that was started with --listen, on any host.

    The token is in BACKFILL_WORKER_TOKEN; what the job takes from the environment, and AWS credentials, come
    from here. One process for a core: start as many as you like. Ends with the command: 0; refused: 2; lost
    its runner: 1.
    """
    tune()
    with held():
        import uvloop

        import connectors  # noqa: F401 - fills the tables of what a job may name
        from engine.commands.helping_afar import helps
        from engine.commands.run.dialling import Dial, join
        from engine.commands.run.listening import address
        from engine.run.greeting import token_of

    dial = Dial(address(head, "HEAD:PORT"), hooks, authority)
    return int(uvloop.run(join(dial, token_of(os.environ), console.say, helps)))
