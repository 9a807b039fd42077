"""What a command has for workers of other hosts: a door where they dial in, a cluster where they are placed.

Invariant: whoever listens beyond this machine has a certificate, named or made for this run alone.
"""

import os
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from engine.errors import JobError
from engine.frozen import dataclass
from engine.job import hook_files
from engine.job.model import Job
from engine.run.voice import Voice

if TYPE_CHECKING:
    from engine.commands.run.cluster.holding import RayCluster, RayOptions
    from engine.commands.run.listening import Listen, Listener


NOT_PLACED = "no worker is placed on the Ray cluster: this host alone reads as fast; or say --workers N"


@dataclass(frozen=True, slots=True)
class Door:
    """Where workers dial in by `token`, and the cluster that has them; None: they come by themselves.

    `expect`: the command waits for so many. `voice` hears of those that a cluster has.
    """

    listener: "Listener"
    token: str
    cluster: "RayCluster | None"
    expect: int = 0
    voice: Voice = field(default_factory=lambda: Voice(()))

    @property
    def at(self) -> str:
        """Where it is."""
        return str(self.listener.at)

    def place(self, jobs: Sequence[Job], workers: int, *, asks: bool) -> None:
        """Have so many workers placed on the cluster, which there is, with the hooks of jobs.

        With `asks` it is asked for those for whom nothing is free.
        """
        assert self.cluster is not None, "there is one"
        files = dict[str, bytes]()
        for job in jobs:
            files |= hook_files.beside(job.hook, job.directory) if job.hook else {}
        self.cluster.place(self.at, self.token, files, workers, asks=asks, voice=self.voice)


@asynccontextmanager
async def cluster_held(ray: "RayOptions | None", voice: Voice) -> AsyncGenerator["RayCluster | None", None]:
    """Take part in a cluster for one or more runs, where that is asked for. Raises: JobError."""
    if ray is None:
        yield None
        return
    from engine.commands.run.cluster.holding import holding

    async with holding(ray, voice) as cluster:
        yield cluster


@asynccontextmanager
async def door_open(
    listen: "Listen | None", cluster: "RayCluster | None", voice: Voice, what: str = "the run"
) -> AsyncGenerator[Door | None, None]:
    """Listen for workers of other hosts, where that is asked for; `what` does. Raises: JobError."""
    if listen is None and cluster is None:
        yield None
        return
    from engine.commands.run.listening import listening  # with what encrypts
    from engine.run.greeting import token_of

    token = token_of(os.environ) if cluster is None else secrets.token_hex(32)
    with TemporaryDirectory(prefix="backfill-") as folder:
        at = listen if cluster is None else _for_cluster(listen, cluster, Path(folder))
        assert at is not None, "one of both is there"
        async with listening(at, token, voice, what) as listener:
            try:
                yield Door(listener, token, cluster, at.expect, voice)
            finally:
                if cluster is not None:
                    cluster.enough()


def _for_cluster(listen: "Listen | None", cluster: "RayCluster", folder: Path) -> "Listen":
    """Return where the cluster's nodes reach this one, unless the user has said it. Raises: JobError."""
    from engine.commands.run.cluster.throwaway import certificate
    from engine.commands.run.listening import Address, Listen

    if listen is None:
        listen = Listen(Address(cluster.node, 0), None, None, 0)
    if listen.at.is_everywhere:
        raise JobError(
            f"--listen {listen.at}: with --runner ray name the one address at which nodes reach this"
            f" host; without --listen it is {cluster.node}"
        )
    if listen.at.is_here or listen.certificate is not None:
        return listen
    shown, key = certificate(folder)
    return replace(listen, certificate=shown, key=key)
