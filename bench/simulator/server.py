"""HTTP around the service: reads requests, writes answers when they are due, cuts what shall be cut.

Invariant: a connection answers its requests one after the other, in their order.
"""

import asyncio
import gc
import time
import uuid
import zlib
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple, cast

import httptools

from bench.simulator.control import PREFIX, control
from bench.simulator.service import Reply, Service
from connectors.dynamodb.limits import REQUEST_BYTES_MAX

HOST: Final = "127.0.0.1"
GARBAGE_THRESHOLDS: Final = (100_000, 50, 100)
"""Items are kept by the million and hold no cycles: look for garbage seldom."""


class HttpRequest(NamedTuple):
    """One whole request."""

    method: str
    url: str
    operation: str
    signed: bool
    body: bytes


class Protocol(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, answer: Callable[[HttpRequest], Reply]) -> None:
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)
        self._requests: deque[HttpRequest] = deque()
        self._reply: Reply | None = None
        self._due: asyncio.TimerHandle | None = None
        self._url = b""
        self._target = b""
        self._signed = False
        self._body: list[bytes] = []
        self._length = 0

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        """Forget what was not answered."""
        if self._due is not None:
            self._due.cancel()
        self._requests.clear()
        self._settle()

    # What httptools calls.

    def on_url(self, url: bytes) -> None:
        """Begin a request."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the two headers that matter."""
        lowered = name.lower()
        if lowered == b"x-amz-target":
            self._target = value
        elif lowered == b"authorization":
            self._signed = True
        elif lowered == b"expect":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body, up to what any request may have."""
        self._length += len(part)
        if self._length <= REQUEST_BYTES_MAX:
            self._body.append(part)
        else:
            self._body.clear()

    def on_message_complete(self) -> None:
        """Queue the request."""
        request = HttpRequest(
            self._parser.get_method().decode(),
            self._url.decode("latin-1"),
            self._target.rpartition(b".")[2].decode("latin-1"),
            self._signed,
            b"".join(self._body),
        )
        too_long = self._length > REQUEST_BYTES_MAX
        self._url, self._target, self._signed, self._length = b"", b"", False, 0
        self._body.clear()
        if too_long:
            self._write(Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b""), 0)
            return
        self._requests.append(request)
        if self._reply is None:
            self._next()

    def _next(self) -> None:
        while self._requests and self._reply is None and not self._transport.is_closing():
            reply = self._answer(self._requests.popleft())
            if reply.ending == "silent" or reply.delay_s > 0:
                self._reply = reply
                for table, key in reply.touched:
                    table.hold([key])
                if reply.ending != "silent":
                    self._due = asyncio.get_running_loop().call_later(reply.delay_s, self._finish)
            else:
                self._send(reply)

    def _finish(self) -> None:
        """Send the answer that is due, and look at what came meanwhile."""
        assert self._reply is not None, "an answer is due"
        reply = self._reply
        self._settle()
        self._send(reply)
        self._next()

    def _settle(self) -> None:
        """Let go of the keys that were in flight."""
        if self._reply is not None:
            for table, key in self._reply.touched:
                table.release([key])
        self._reply = self._due = None

    def _send(self, reply: Reply) -> None:
        match reply.ending:
            case "reset":
                self._transport.abort()
            case "truncated":
                self._write(reply, len(reply.body) // 2)
                self._transport.close()
            case _:
                self._write(reply, len(reply.body))

    def _write(self, reply: Reply, length: int) -> None:
        """Send so much of a reply; its head tells of all of it."""
        status = HTTPStatus(reply.status)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nServer: backfill-simulator\r\n"
            f"x-amzn-RequestId: {uuid.uuid4().hex.upper()}\r\nx-amz-crc32: {zlib.crc32(reply.body)}\r\n"
            f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(reply.body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + reply.body[:length])


async def serve(service: Service, port: int, ready: Callable[[], None] = lambda: None) -> None:
    """Serve on 127.0.0.1 until cancelled."""
    started = time.monotonic()

    def answer(request: HttpRequest) -> Reply:
        now = time.monotonic() - started
        if request.url.startswith(PREFIX):
            return control(service, request.method, request.url, request.body, now)
        return service.handle(
            request.operation, request.body, signed=request.signed, now=now, wall=time.time()
        )

    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(answer), HOST, port, backlog=1024)
    ready()
    async with server:
        await server.serve_forever()
