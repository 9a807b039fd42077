"""The process that holds a Ray cluster: `python -m engine.commands.run.cluster.driver FD`.

It connects, places workers as actors, and follows them and the cluster.
Invariant: what it places is its own: no actor is detached, so that all end with this process, however it
ends; and it ends with the runner.
"""

import asyncio
import socket
import sys
from base64 import b64decode
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, AuthenticationError, RayError

from engine.commands.run.cluster import actor
from engine.commands.run.cluster.lost_nodes import Nodes, went_with_node
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


def _nodes() -> Nodes:
    """Return the nodes that there are."""
    listed = [(str(node["NodeID"]), bool(node["Alive"])) for node in ray.nodes()]
    return Nodes(
        alive=frozenset(node_id for node_id, alive in listed if alive),
        dead=frozenset(node_id for node_id, alive in listed if not alive),
    )


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
            before = await asyncio.to_thread(_nodes)
            free, all_cpus = await asyncio.to_thread(_cpus)
            for _ in range(self._places.due(free)):
                self._places = self._places.with_one()
                task = asyncio.create_task(self._one(before))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            looks = 0 if free >= 1 else looks + 1
            if self._places.full(free, all_cpus, looks):
                self._tell(FULL, key=FULL)
            await asyncio.sleep(LOOK_S)

    async def _one(self, before: Nodes) -> None:
        """See to one worker from its beginning to its end; `before`: the nodes when it was to be placed."""
        handle = self._placed.remote()
        node_id, node = "", ""
        place: Where = "starting"
        try:
            node_id, node = await handle.where.remote()
            self._places, place = self._places.begun(), "running"
            code, words = await handle.work.remote(self._order.at, self._order.token, self._files)
            ended = Departure(code, words, node)
        except RayError as error:
            unreachable = isinstance(error, ActorUnavailableError)
            lost = await went_with_node(node_id, before, RayInquiry(handle), unreachable=unreachable)
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


class RayInquiry:
    """What the cluster says of one worker, and of its nodes."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def nodes(self) -> Nodes:
        """Return which nodes there are now."""
        return await asyncio.to_thread(_nodes)

    async def unreachable(self) -> bool:
        """Ask the worker again; say whether it isn't known yet what became of it."""
        try:
            await asyncio.wait_for(self._handle.where.remote(), LOOK_S)
        except TimeoutError:  # it is there, and works
            return True
        except RayError as error:
            return isinstance(error, ActorUnavailableError)
        return True


def _why(error: RayError) -> str:
    """Return the sentence of a fault of Ray's that says most: its last, without what leads to it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next(
        (line for line in lines if line.startswith("The actor is dead because")), lines[0] if lines else ""
    )
    return said.removeprefix("The actor is dead because ").partition(". ")[0] or type(error).__name__


if __name__ == "__main__":
    run(int(sys.argv[1]))
