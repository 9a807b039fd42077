"""What a run has for workers of other hosts: a door where they dial in, and a cluster where they are placed.

Invariant: whoever listens beyond this machine has a certificate, named or made for this run alone.
"""

import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from engine.commands.run.prepare import RunOptions
from engine.errors import JobError
from engine.frozen import dataclass
from engine.run.voice import Voice

if TYPE_CHECKING:
    from engine.commands.run.cluster.holding import RayCluster
    from engine.commands.run.listening import Listen, Listener


@dataclass(frozen=True, slots=True)
class Door:
    """Where workers dial in by `token`, and the cluster that has them; None: they come by themselves."""

    listener: "Listener"
    token: str
    cluster: "RayCluster | None"


@asynccontextmanager
async def cluster_held(options: RunOptions, voice: Voice) -> AsyncGenerator["RayCluster | None", None]:
    """Take part in a cluster for one or more runs, where that is asked for. Raises: JobError."""
    if options.ray is None:
        yield None
        return
    from engine.commands.run.cluster.holding import holding

    async with holding(options.ray, voice) as cluster:
        yield cluster


@asynccontextmanager
async def door_open(
    options: RunOptions, cluster: "RayCluster | None", voice: Voice
) -> AsyncGenerator[Door | None, None]:
    """Listen for workers of other hosts, where that is asked for. Raises: JobError."""
    if options.listen is None and cluster is None:
        yield None
        return
    from engine.commands.run.listening import listening  # with what encrypts
    from engine.run.greeting import token_of

    token = token_of(os.environ) if cluster is None else secrets.token_hex(32)
    with TemporaryDirectory(prefix="backfill-") as folder:
        listen = options.listen if cluster is None else _for_cluster(options.listen, cluster, Path(folder))
        assert listen is not None, "one of both is there"
        async with listening(listen, token, voice) as listener:
            try:
                yield Door(listener, token, cluster)
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
