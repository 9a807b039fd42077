"""What a command that reads nothing itself does while no worker is there: says so, and ends in time.

Invariant: it never waits for ever without a word; what it ends with can be gone on with.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from engine.errors import PermanentError

TOLD_EVERY_S = 30.0

NOBODY_S = 600.0
"""How long a command may have nobody who reads: a cluster has found a new host by then, and after that
whoever started it should know. Source: Kubernetes moves the pods of a lost node after 5 minutes
(tolerationSeconds of node.kubernetes.io/unreachable)."""

_Next = TypeVar("_Next")


async def next_of(
    queue: "asyncio.Queue[_Next]", anybody: Callable[[], bool], say: Callable[[str], None], where: str
) -> _Next:
    """Return the next of a queue; while `anybody` says that none is there, say what is waited for.

    Raises: PermanentError when that lasts too long.
    """
    getting = asyncio.create_task(queue.get())
    try:
        await _watched(getting, anybody, say, where)
        return getting.result()
    except BaseException:
        if getting.done() and not getting.cancelled():
            queue.put_nowait(getting.result())  # it came in this very moment: whoever ends sees to it
        getting.cancel()
        raise


async def until(
    over: asyncio.Event, anybody: Callable[[], bool], say: Callable[[str], None], where: str
) -> None:
    """Wait for an event; while `anybody` says that none is there, say what is waited for.

    Raises: PermanentError when that lasts too long.
    """
    waiting = asyncio.create_task(over.wait())
    try:
        await _watched(waiting, anybody, say, where)
    finally:
        waiting.cancel()


async def _watched(
    getting: "asyncio.Task[_Next]", anybody: Callable[[], bool], say: Callable[[str], None], where: str
) -> None:
    clock = asyncio.get_running_loop().time
    alone_since = told = clock()
    while not getting.done():
        await asyncio.wait({getting}, timeout=min(TOLD_EVERY_S, NOBODY_S) / 10)
        now = clock()
        if anybody():
            alone_since = told = now
        elif now - alone_since > NOBODY_S:
            raise PermanentError(
                f"no worker has been there for {NOBODY_S:.0f} s, and with --workers 0 nothing is read here;"
                " nothing that was done is lost: start workers, and run the same command to go on"
            )
        elif now - told > TOLD_EVERY_S:
            told = now
            left_s = NOBODY_S - (now - alone_since)
            say(
                "no worker is there, and nothing is read here: waiting for one to dial in at"
                f" {where}; in {left_s:.0f} s this ends, to be gone on with"
            )
