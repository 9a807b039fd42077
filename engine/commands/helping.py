"""What a helper does: whatever it is asked, several things side by side, until its command has gone.

Invariant: without its command it does nothing more, whatever it is in the middle of.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from engine.commands.helpers import Failed, Ready, Used
from engine.commands.run.processes import usage
from engine.run.link import Noted
from engine.run.wire import Language, SocketEnd
from engine.run.worker import describe

TOLD_EVERY_S = 1.0


class HelperLink(SocketEnd[Any, Any]):
    """The helper's end: without its command nothing more is to be done."""

    async def receive(self) -> Any:
        """Return the next message."""
        message = await super().receive()
        if message is None:
            os._exit(0)
        return message


async def help_with(
    descriptor: int,
    opened: Callable[[Any, Callable[[str], None]], Any],
    *,
    says: Language[Any],
    hears: Language[Any],
) -> None:
    """Do what is asked at the other end of a socket until the command has gone.

    `opened` takes the first message and what tells the user, and is a context of what does an order.
    """
    link = await HelperLink.open(socket.socket(fileno=descriptor), says=says, hears=hears)
    boot, tasks = await link.receive(), set[asyncio.Task[None]]()
    try:
        async with opened(boot, lambda text: link.send(Noted(text))) as do:
            link.send(Ready())
            tasks.add(asyncio.create_task(_keep_telling(link)))
            while True:
                tasks.add(task := asyncio.create_task(_done(link, do, await link.receive())))
                task.add_done_callback(tasks.discard)
    except Exception as fault:  # nothing can be done here: told with the first order
        finished = describe(fault)
        link.send(Ready())
        while True:
            link.send(Failed((await link.receive()).number, finished))


async def _done(link: HelperLink, do: Callable[[Any], Awaitable[Any]], order: Any) -> None:
    try:
        answer = await do(order)
    except Exception as fault:  # told to the command, which tells the user
        answer = Failed(order.number, describe(fault))
    _tell_used(link)
    link.send(answer)


async def _keep_telling(link: HelperLink) -> None:
    """Say something each second, so that the command knows that this process isn't stopped."""
    while True:
        await asyncio.sleep(TOLD_EVERY_S)
        _tell_used(link)


def _tell_used(link: HelperLink) -> None:
    used = usage()
    link.send(Used(used.cpu_s, used.peak_rss_bytes))
