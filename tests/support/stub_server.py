"""An HTTP server that follows a script: each request gets the next step, whatever connection it comes on."""

import asyncio
import json
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext

from tests.support.connections import serving


@dataclass
class Exchange:
    """One request as the server sees it; the body is read only when a step asks for it."""

    head: bytes
    connection: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes = b""

    @property
    def length(self) -> int:
        return int(self.head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])

    async def read_body(self) -> None:
        self.body = await self.reader.readexactly(self.length)

    def reset(self) -> None:
        """Cut the connection with a RST."""
        sock = self.writer.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Step = Callable[[Exchange], Awaitable[None]]


@dataclass
class Stub:
    """The running server, and what has come to it."""

    port: int = 0
    connections: int = 0
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def bodies(self) -> list[bytes]:
        return [exchange.body for exchange in self.exchanges]


@asynccontextmanager
async def stub_server(*script: Step, tls: SSLContext | None = None) -> AsyncIterator[Stub]:
    """Serve the script's steps, then plain answers; stop everything at the end."""
    stub = Stub()
    steps = iter(script)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stub.connections += 1
        number = stub.connections
        with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                exchange = Exchange(head, number, reader, writer)
                stub.exchanges.append(exchange)
                await next(steps, answer())(exchange)

    async with serving(serve, tls) as connections:
        stub.port = connections.port
        yield stub


def http(
    body: bytes = b"{}",
    status: int = 200,
    crc: int | None = None,
    headers: Sequence[str] = (),
    length: int | None = None,
) -> bytes:
    """Return an answer as DynamoDB frames it."""
    lines = [
        f"HTTP/1.1 {status} Whatever",
        "Server: Server",
        "Content-Type: application/x-amz-json-1.0",
        f"Content-Length: {len(body) if length is None else length}",
        "x-amzn-RequestId: 5S0QJ0TV4KQNSO5AEMVJF66Q9ASUAAJG",
        f"x-amz-crc32: {zlib.crc32(body) if crc is None else crc}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(body: bytes = b"{}", status: int = 200) -> Step:
    """Read the request and answer."""
    return raw(http(body, status))


def raw(*pieces: bytes, close: bool = False, read: bool = True) -> Step:
    """Read the request (or not), send these bytes, each in a packet of its own, and close (or not)."""

    async def step(exchange: Exchange) -> None:
        if read:
            await exchange.read_body()
        for piece in pieces:
            exchange.writer.write(piece)
            await exchange.writer.drain()
            await asyncio.sleep(0)
        if close:
            exchange.writer.close()
        elif not read:
            await exchange.reader.read(1)  # until the client goes away

    return step


def reset(read_bytes: int | None = None) -> Step:
    """Read the request, or only so many bytes of its body, and cut the connection."""

    async def step(exchange: Exchange) -> None:
        if read_bytes is None:
            await exchange.read_body()
        else:
            await exchange.reader.readexactly(read_bytes)
        exchange.reset()

    return step


def hold(until: asyncio.Event, then: Step, arrived: asyncio.Event | None = None) -> Step:
    """Do nothing until told to."""

    async def step(exchange: Exchange) -> None:
        if arrived is not None:
            arrived.set()
        await until.wait()
        await then(exchange)

    return step


def knowing(*levels: str) -> Step:
    """Take every item, but refuse a question about capacity that isn't known, as Alternator does."""

    async def step(exchange: Exchange) -> None:
        await exchange.read_body()
        asked = json.loads(exchange.body).get("ReturnConsumedCapacity")
        body, status = {"UnprocessedItems": {}}, 200
        if asked is not None and asked not in levels:
            said = f"{asked} consumed capacity is not supported."
            body, status = (
                {"__type": "com.amazonaws.dynamodb.v20120810#ValidationException", "message": said},
                400,
            )
        exchange.writer.write(http(json.dumps(body).encode(), status))
        await exchange.writer.drain()

    return step
