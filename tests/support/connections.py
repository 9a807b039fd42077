"""A server of a test's own, none of whose connections outlives it.

Invariant: what was accepted is closed at the end, also where its task was cancelled before it had begun, or
where a busy machine hasn't come to it yet: what is left open is told in whichever test runs later.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Connections:
    """The connections of a server, each with the task that serves it."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.port = 0

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection in a task of its own."""
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks[task] = writer
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task).close()

    async def cut(self) -> None:
        """End all that there are."""
        tasks = dict(self._tasks)
        for task, writer in tasks.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # a transport closes its socket in the loop's next round


async def until_one_ends(*pumps: Coroutine[Any, Any, None]) -> None:
    """Run what carries bytes either way until one of them is done, then end the other."""
    tasks = [asyncio.ensure_future(each) for each in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def serving(serve: Serve, tls: SSLContext | None = None) -> AsyncIterator[Connections]:
    """Serve on a port of 127.0.0.1 while the block runs."""
    connections = Connections(serve)
    server = await asyncio.start_server(connections.accept, "127.0.0.1", 0, ssl=tls)
    connections.port = server.sockets[0].getsockname()[1]
    try:
        yield connections
    finally:
        server.close()
        await connections.cut()
