"""Whether a worker has ended with its node, which a cluster knows some time later.

Invariant: a worker's end is called its own only once the cluster has said that it is dead and its node isn't,
or hasn't said anything for longer than it takes to notice.
"""

import asyncio
from typing import Protocol

from engine.frozen import dataclass

ASK_S = 3.0
"""How long between two questions."""

NOTICED_S = 66.0
"""Within so long a cluster knows that a node is gone; before, its workers just can't be reached, and others
are placed there. Source: Ray's health checks, five of 10 s that are 3 s apart (`health_check_*`).
"""


@dataclass(frozen=True, slots=True)
class Nodes:
    """The ids of nodes, as a cluster lists them at one moment."""

    alive: frozenset[str]
    dead: frozenset[str]


class Inquiry(Protocol):
    """What is asked about one worker that has ended."""

    async def nodes(self) -> Nodes:
        """Return which nodes there are now."""

    async def unreachable(self) -> bool:
        """Ask the worker again; say whether it isn't known yet what became of it."""


def is_gone(node_id: str, before: Nodes, now: Nodes) -> bool:
    """Say whether a worker's node is gone.

    `node_id` empty: it ended before it could say where it was. Ray places it without a word, so any node that
    has died since it was to be placed, `before`, is taken for its own.
    """
    return node_id not in now.alive if node_id else bool(now.dead - before.dead)


async def went_with_node(node_id: str, before: Nodes, inquiry: Inquiry, *, unreachable: bool) -> bool:
    """Say whether a worker has ended with its node; wait until the cluster knows, if it doesn't yet.

    `unreachable`: all that is known of the worker is that nobody reaches it. `before`: as for `is_gone`.
    """
    clock = asyncio.get_running_loop().time
    until_s = clock() + NOTICED_S
    while not is_gone(node_id, before, await inquiry.nodes()):
        if not unreachable or clock() > until_s:
            return False
        await asyncio.sleep(ASK_S)
        unreachable = await inquiry.unreachable()
    return True
