"""What commands do alike: load the job file, find out where they have workers."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.signals import held
from engine.environment import tune
from engine.errors import JobError

if TYPE_CHECKING:
    from engine.commands.run.cluster.holding import RayOptions
    from engine.commands.run.listening import Listen
    from engine.job.model import Job


def load_jobs(job_file: Path, overrides: Sequence[str], only: str | None) -> "Sequence[Job]":
    """Load the jobs that the command line names, with the libraries set up for what follows."""
    tune()
    with held():
        import connectors  # noqa: F401 - fills the tables of what a job may name
        from engine.job import file as jobfile

        return jobfile.load(job_file, overrides, os.environ, only=only)


def elsewhere(runner: str, listen: str | None) -> str | None:
    """Return the option by which other hosts take part, if there is one."""
    if runner == "ray":
        return "--runner ray"
    return None if listen is None else "--listen"


def listen_at(
    workers: int | None, listen: str | None, expect: int | None, tls_cert: Path | None, tls_key: Path | None
) -> "Listen | None":
    """Return where to listen for workers of other hosts. Raises: JobError."""
    if listen is None:
        if workers == 0:
            raise JobError(
                "--workers 0 leaves all to workers that dial in: add --listen, or take at least one"
            )
        if expect or tls_cert or tls_key:
            raise JobError("--expect, --tls-cert and --tls-key are about workers that dial in: add --listen")
        return None
    from engine.commands.run.listening import Listen, address

    return Listen(address(listen, "--listen"), tls_cert, tls_key, expect or 0)


def ray_at(runner: str, address: str | None, workers: int | None, expect: int | None) -> "RayOptions | None":
    """Return the cluster on which workers are placed. Raises: JobError."""
    if runner != "ray":
        if address is not None:
            raise JobError("--ray-address is about a Ray cluster: add --runner ray")
        return None
    if workers == 0:
        raise JobError(
            "--workers 0: with --runner ray it is how many workers the cluster gets: take at least one"
        )
    if expect:
        raise JobError(
            "--expect is about workers that are started by hand: leave it out, --runner ray places them"
        )
    from engine.commands.run.cluster.holding import RayOptions

    return RayOptions(address)
