"""The process that holds a Ray cluster: `python -m engine.commands.run.cluster.driver FD`.

It connects, places workers as actors, and follows them and the cluster.
Invariant: what it places is its own: no actor is detached, so that all end with this process, however it
ends; and it ends with the runner.
"""

import asyncio
import contextlib
import socket
import sys
import time
from base64 import b64decode
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, AuthenticationError, RayError

from engine.commands.run.cluster import actor
from engine.commands.run.cluster.placing import FULL, Departure, Places, Where, after
from engine.commands.run.cluster.words import (
    OF_DRIVER,
    OF_RUNNER,
    Connect,
    Connected,
    DriverEnd,
    NotConnected,
    PlaceWorkers,
    Said,
)
from engine.environment import cores
from engine.exits import Exit
from engine.run.wire import SocketEnd

LOOK_S = 3.0
"""How often the cluster is looked at: whether it has grown, and who is to be replaced."""

NOTICED_S = 66.0
"""Within so long a cluster knows that a node is gone; before, its workers just can't be reached, and others
are placed there. Source: Ray's health checks, five of 10 s that are 3 s apart (`health_check_*`).
"""

REACH_S = 5.0
"""How long a head may take to take a connection; Ray itself tries for two minutes, and says nothing."""

STORE_BYTES = 80 * 2**20
"""Of a cluster that is this run's alone: nothing is put there. Source: Ray takes no less than 75 MB."""


def run(descriptor: int) -> None:
    """Serve the runner at the other end of a socket."""
    asyncio.run(_serve(socket.socket(fileno=descriptor)))


async def _serve(sock: socket.socket) -> None:
    wire: DriverEnd = await SocketEnd.open(sock, says=OF_DRIVER, hears=OF_RUNNER)
    first = await wire.receive()
    if not isinstance(first, Connect):
        return
    try:
        wire.send(_connected(first.address))
    except Exception as error:  # Ray raises what it likes
        wire.send(NotConnected(_cause(error)))
        await wire.close()
        return
    ray.cloudpickle.register_pickle_by_value(actor)
    placement: Placement | None = None
    while (message := await wire.receive()) is not None:
        if placement is not None:
            await placement.end()
            placement = None
        if isinstance(message, PlaceWorkers):
            placement = Placement(message, wire)
    # What is still there ends with this process, by Ray's own hand.
    await asyncio.to_thread(ray.shutdown)


def _connected(address: str) -> Connected:
    """Take part in a cluster. Raises: OSError, and what Ray raises."""
    _reach(address)
    own = {"num_cpus": cores(), "object_store_memory": STORE_BYTES, "include_dashboard": False}
    ray.init(
        address=address,
        log_to_driver=False,
        logging_level="error",
        **(own if address == "local" else {}),
    )
    return Connected(ray.util.get_node_ip_address())


def _cause(error: Exception) -> str:
    """Return in a sentence why there is no connection."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, AuthenticationError) or AuthenticationError.__name__ in str(at):
            return "Ray wants its own token: set RAY_AUTH_MODE=token and the cluster's RAY_AUTH_TOKEN"
        at = at.__cause__ or at.__context__
    return str(error).strip().partition("\n")[0]


def _reach(address: str) -> None:
    """See that something answers at HOST:PORT. Raises: OSError."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        # Ray takes this host's own name to be the address by which others reach it.
        here = host in ("127.0.0.1", "localhost")
        reached = ray.util.get_node_ip_address() if here else host.strip("[]")
        socket.create_connection((reached, int(port)), REACH_S).close()


def _cpus() -> tuple[float, float]:
    """Return how many CPUs are free, and how many there are."""
    free, there = ray.available_resources(), ray.cluster_resources()
    return float(free.get("CPU", 0.0)), float(there.get("CPU", 0.0))


class Placement:
    """The workers of one run, as they are placed, until it is ended."""

    def __init__(self, order: PlaceWorkers, wire: DriverEnd) -> None:
        self._order = order
        self._wire = wire
        self._files = {name: b64decode(source) for name, source in order.files.items()}
        self._places = Places(order.workers, order.asks)
        placed = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD")
        self._placed: Any = placed(actor.WorkerActor)
        self._told: set[str] = set()
        self._tasks = {asyncio.create_task(self._follow())}

    async def end(self) -> None:
        """End all that are left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self) -> None:
        """Look at the cluster again and again, and place who is missing."""
        looks = 0
        while True:
            free, all_cpus = await asyncio.to_thread(_cpus)
            for _ in range(self._places.due(free)):
                self._places = self._places.with_one()
                task = asyncio.create_task(self._one())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            looks = 0 if free >= 1 else looks + 1
            if self._places.full(free, all_cpus, looks):
                self._tell(FULL, key=FULL)
            await asyncio.sleep(LOOK_S)

    async def _one(self) -> None:
        """See to one worker from its beginning to its end."""
        handle = self._placed.remote()
        node_id, node = "", ""
        place: Where = "starting"
        try:
            node_id, node = await handle.where.remote()
            self._places, place = self._places.begun(), "running"
            code, words = await handle.work.remote(self._order.at, self._order.token, self._files)
            ended = Departure(code, words, node)
        except RayError as error:
            lost = bool(node_id) and await _is_lost(node_id, handle, error)
            ended = Departure(None, _why(error), node, node_lost=lost)
        finally:
            ray.kill(handle)
        self._places, told = after(self._places.without(place), ended)
        if told is not None:
            self._tell(told, key=told if ended.code == Exit.UNFIT else None)

    def _tell(self, text: str, *, key: str | None = None) -> None:
        """Tell the user, of what has a key once."""
        if key not in self._told:
            self._wire.send(Said(text, warns=True))
        if key is not None:
            self._told.add(key)


async def _is_lost(node_id: str, handle: Any, error: RayError) -> bool:
    """Say whether a node is gone whose worker ended so; wait until the cluster knows, if it doesn't yet."""
    until_s = time.monotonic() + NOTICED_S
    while await asyncio.to_thread(_is_alive, node_id):
        if not isinstance(error, ActorUnavailableError) or time.monotonic() > until_s:
            return False
        await asyncio.sleep(LOOK_S)
        with contextlib.suppress(TimeoutError):  # it is there, and works
            try:
                await asyncio.wait_for(handle.where.remote(), LOOK_S)
            except RayError as now:
                error = now
    return True


def _is_alive(node_id: str) -> bool:
    return any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())


def _why(error: RayError) -> str:
    """Return the sentence of a fault of Ray's that says most: its last, without what leads to it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next(
        (line for line in lines if line.startswith("The actor is dead because")), lines[0] if lines else ""
    )
    return said.removeprefix("The actor is dead because ").partition(". ")[0] or type(error).__name__


if __name__ == "__main__":
    run(int(sys.argv[1]))
