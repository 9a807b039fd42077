"""A TCP proxy that cuts connections on request."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Self


class CuttingProxy:
    """Passes bytes on to a server: to its local socket, or to a port of 127.0.0.1.

    It cuts a connection after `cut_after` bytes from the server, `cuts` times in all. While `refusing`, new
    connections are closed at once.
    """

    def __init__(self, target: Path | int) -> None:
        self.target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut_after: int | None = None
        self.cuts = 0
        self.cut_count = 0
        self.refusing = False
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def cut_all(self) -> None:
        """Cut every connection that there is."""
        tasks = list(self._tasks)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if not self.refusing:
                await self._join(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)
            self._writers.discard(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self.target, int):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        else:
            server_reader, server_writer = await asyncio.open_unix_connection(self.target)
        up = asyncio.create_task(self._pump(reader, server_writer, limited=False))
        down = asyncio.create_task(self._pump(server_reader, writer, limited=True))
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            server_writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, limited: bool
    ) -> None:
        passed = 0
        with suppress(ConnectionError):
            while data := await reader.read(16_384):
                passed += len(data)
                over = self.cut_after is not None and passed > self.cut_after
                if limited and over and self.cuts > 0:
                    self.cuts -= 1
                    self.cut_count += 1
                    writer.write(data[: len(data) // 2])
                    return
                writer.write(data)
                await writer.drain()
