"""The runner's hold on a Ray cluster: starts the process that connects with it, and hears of its workers.

Invariant: whatever becomes of the cluster or of that process, it is told, and the run goes on without.
"""

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from engine.commands.run.cluster.words import (
    OF_DRIVER,
    OF_RUNNER,
    Connect,
    Connected,
    Enough,
    NotConnected,
    PlaceWorkers,
    RunnerEnd,
    Said,
)
from engine.environment import module_command
from engine.errors import JobError
from engine.frozen import dataclass
from engine.run.voice import Voice
from engine.run.wire import SocketEnd
from engine.show import logs

CONNECT_S = 60.0
"""How long Ray may take to connect; a cluster of its own on a busy machine takes 12 s."""

END_S = 15.0
"""How long the process may take to leave the cluster."""

NEEDED = {"ray": "Ray", "cryptography": "cryptography"}

PATIENCE = {"RAY_NUM_REDIS_GET_RETRIES": "5"}
"""Of Ray with a head that doesn't let it in: it tries each second, 20 times by itself."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_COLOR_PREFIX": "0"}
"""Nothing is told of anybody's use, and nothing said beside us.
Source: https://docs.ray.io/en/latest/cluster/usage-stats.html."""


FOUND_HERE = "auto"
"""Ray's word for the cluster of which this host is a node."""


@dataclass(frozen=True, slots=True)
class RayOptions:
    """What the command line says about the cluster. `address` None: the one that this host takes part in."""

    address: str | None


class RayCluster:
    """A cluster that this host takes part in. `node`: by what address its nodes reach this one."""

    def __init__(self, link: RunnerEnd, connected: Connected, voice: Voice) -> None:
        self.node = connected.node
        self._link = link
        self._voice = voice

    def place(
        self, at: str, token: str, files: Mapping[str, bytes], workers: int, *, asks: bool, voice: Voice
    ) -> None:
        """Have workers dial in at an address; `asks` the cluster for those for whom nothing is free.

        `voice` hears of them.
        """
        self._voice = voice
        shipped = {name: b64encode(source).decode() for name, source in files.items()}
        self._link.send(PlaceWorkers(at, token, shipped, workers, asks))

    def enough(self) -> None:
        """End what is left of those that were placed."""
        self._link.send(Enough())

    async def hear(self) -> None:
        """Tell what there is to tell of the workers, for as long as the cluster is held."""
        while (message := await self._link.receive()) is not None:
            if isinstance(message, Said):
                (self._voice.warn if message.warns else self._voice.note)(message.text)
        self._voice.warn(
            "the connection with the Ray cluster has ended, and with it all workers there: what is left is"
            " done on this host"
        )


def check_installed() -> None:
    """See that what a cluster needs is there. Raises: JobError."""
    for module, name in NEEDED.items():
        try:
            found = importlib.util.find_spec(module)
        except ValueError:  # it is kept from being imported
            found = None
        if found is None:
            raise JobError(
                f"--runner ray needs {name}, which isn't installed; try: pip install 'backfill[ray]'"
            )


@asynccontextmanager
async def holding(options: RayOptions, voice: Voice) -> AsyncGenerator[RayCluster, None]:
    """Take part in a cluster, and leave nothing behind there. Raises: JobError."""
    check_installed()
    address = _address(options)
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *module_command("engine.commands.run.cluster.driver", str(theirs.fileno())),
            pass_fds=(theirs.fileno(),),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=None if logs.verbose() else asyncio.subprocess.DEVNULL,
            cwd="/",  # Ray puts it on the path of all workers
            env={**PATIENCE, **os.environ, **QUIET},
            start_new_session=True,  # Ctrl-C is the runner's
        )
    link: RunnerEnd = await SocketEnd.open(ours, says=OF_RUNNER, hears=OF_DRIVER)
    hearing: asyncio.Task[None] | None = None
    try:
        cluster = RayCluster(link, await _connected(link, address), voice)
        hearing = asyncio.create_task(cluster.hear())
        yield cluster
    finally:
        if hearing is not None:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
        await link.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S if hearing is not None else 0.0):
                await process.wait()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        with contextlib.suppress(ProcessLookupError):  # what it has started of a cluster of this run's own
            os.killpg(process.pid, signal.SIGKILL)


def _address(options: RayOptions) -> str:
    """Return where the cluster is, as Ray takes it. Raises: JobError."""
    address = options.address or os.environ.get("RAY_ADDRESS") or FOUND_HERE
    if "://" in address:
        raise JobError(
            f"--ray-address {address}: a run takes part in its cluster: start it on a host of the"
            " cluster, and name the head's own address, HOST:6379"
        )
    return address


async def _connected(link: RunnerEnd, address: str) -> Connected:
    link.send(Connect(address))
    try:
        async with asyncio.timeout(CONNECT_S):
            answer = await link.receive()
    except TimeoutError:
        answer = NotConnected(f"nothing has come of it within {CONNECT_S:.0f} s")
    match answer:
        case Connected():
            return answer
        case NotConnected(why):
            pass
        case _:
            why = "Ray has ended the process that tried"
    if address == FOUND_HERE:
        raise JobError(
            f"--runner ray: this host takes part in no Ray cluster ({why}): name the cluster's head with"
            " --ray-address HOST:6379, or have one started here for this run with --ray-address local"
        )
    raise JobError(
        f"--ray-address {address}: no Ray cluster can be reached there ({why}): name its head, HOST:6379,"
        " from a host of the cluster"
    )
