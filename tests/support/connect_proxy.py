"""A small HTTP proxy that knows CONNECT alone: every host is this machine, at the port that was asked for."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.support.connections import serving


@dataclass(slots=True)
class ConnectProxy:
    """What was asked of it, whole heads; `answer` is said in place of opening a tunnel."""

    port: int = 0
    answer: bytes | None = None
    heads: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Open one tunnel and carry bytes both ways until either end is gone."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self.answer is not None:
            writer.write(self.answer)
            return
        port = int(head.split(b" ", 2)[1].rsplit(b":", 1)[1])
        behind, beyond = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_carry(reader, beyond), _carry(behind, writer))
        finally:
            await _closed(beyond)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def connect_proxy(answer: bytes | None = None) -> AsyncGenerator[ConnectProxy, None]:
    """Serve while the block runs; stop everything at the end."""
    proxy = ConnectProxy(answer=answer)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await proxy.serve(reader, writer)

    async with serving(serve) as connections:
        proxy.port = connections.port
        yield proxy
