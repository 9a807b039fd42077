"""A proxy before a MongoDB server that reads commands, and may answer some of them itself.

Commands are OP_MSG without compression, which no client uses that isn't told to.
"""

import asyncio
import itertools
import struct
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, Self

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from tests.support.connections import Connections, serving

_OP_MSG = 2013
_HEADER = struct.Struct("<iiii")
_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)

Answer = dict[str, Any] | None
"""What is answered; None: what the server says."""


class MongoProxy:
    """Passes messages on to `host:port`; `answer` sees each command first.

    `target` may be changed; connections that are there are cut by `cut`.
    """

    def __init__(self, url: str, answer: Callable[[dict[str, Any]], Awaitable[Answer] | Answer]) -> None:
        host, _, port = url.removeprefix("mongodb://").partition("/")[0].partition(":")
        self.target = (host, int(port))
        self._answer = answer
        self._numbers = itertools.count(1)
        self._stack = AsyncExitStack()
        self._connections: Connections | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._connections = await self._stack.enter_async_context(serving(self._serve))
        self.url = f"mongodb://127.0.0.1:{self._connections.port}/?directConnection=true"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def cut(self) -> None:
        """Cut every connection."""
        assert self._connections is not None, "it has been entered"
        await self._connections.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            up_reader, up_writer = await asyncio.open_connection(*self.target)
            try:
                while True:
                    writer.write(await self._reply(await _message(reader), up_reader, up_writer))
                    await writer.drain()
            finally:
                up_writer.transport.abort()
                writer.transport.abort()

    async def _reply(
        self, message: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        number, kind = struct.unpack_from("<i4xi", message, 4)
        command = _command(message) if kind == _OP_MSG else None
        answer = None if command is None else self._answer(command)
        if answer is not None and not isinstance(answer, dict):
            answer = await answer
        if answer is not None:
            body = b"\0\0\0\0\0" + bson.encode({"ok": 1.0, **answer})
            return _HEADER.pack(16 + len(body), next(self._numbers), number, _OP_MSG) + body
        writer.write(message)
        return await _message(reader)


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(int.from_bytes(head, "little") - 4)


def _command(message: bytes) -> dict[str, Any] | None:
    """Return the command of an OP_MSG, whose body comes first with every driver."""
    if message[20] != 0:
        return None
    length = int.from_bytes(message[21:25], "little")
    return bson.decode(message[21 : 21 + length], codec_options=_CODEC)


def failure(code: int, text: str, **more: Any) -> dict[str, Any]:
    """Return a server's refusal."""
    return {"ok": 0.0, "code": code, "errmsg": text, **more}
