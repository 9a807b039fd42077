"""A TCP proxy that cuts connections on request."""

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Self

from tests.support.connections import Connections, serving, until_one_ends


class CuttingProxy:
    """Passes bytes on to a server: to its local socket, or to a port of 127.0.0.1.

    It cuts a connection after `cut_after` bytes from the server, `cuts` times in all. While `refusing`, new
    connections are closed at once.
    """

    def __init__(self, target: Path | int) -> None:
        self.target = target
        self.port = 0
        self._stack = AsyncExitStack()
        self._connections: Connections | None = None
        self.cut_after: int | None = None
        self.cuts = 0
        self.cut_count = 0
        self.refusing = False

    async def __aenter__(self) -> Self:
        self._connections = await self._stack.enter_async_context(serving(self._serve))
        self.port = self._connections.port
        return self

    async def cut_all(self) -> None:
        """Cut every connection that there is."""
        assert self._connections is not None, "it has been entered"
        await self._connections.cut()

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self.refusing:
                await self._join(reader, writer)
        finally:
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self.target, int):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        else:
            server_reader, server_writer = await asyncio.open_unix_connection(self.target)
        try:
            await until_one_ends(
                self._pump(reader, server_writer, limited=False),
                self._pump(server_reader, writer, limited=True),
            )
        finally:
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
