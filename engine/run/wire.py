"""How messages travel between two processes: JSON of a fixed schema behind its length, over a socket.

Invariant: nothing but a declared message is ever made of what comes in; what is longer than it may be, or is
no message, ends the link, as if the other end had died.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Annotated, Any, Generic, Self, TypeVar, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from engine.plain import OneOf
from engine.run.link import ToRunner, ToWorker

MESSAGE_BYTES_MAX = 256 * 2**20
"""The longest message: a mark with as many dead letters as one batch may give, several times over."""

CLOSE_S = 1.0
"""How long what is buffered may take to be sent."""

_LENGTH = struct.Struct("!I")
_CONFIG = ConfigDict(ser_json_inf_nan="constants", ser_json_bytes="base64", val_json_bytes="base64")

Received = TypeVar("Received")
Sent = TypeVar("Sent")
Said = TypeVar("Said")


class Garbled(Exception):
    """What came is no message."""


class Language(Generic[Said]):
    """The messages that one end may say: a dataclass, or a union of some.

    Floats of those may be infinite, and bytes any.
    """

    def __init__(self, declared: Any) -> None:
        self._declared = declared
        self._adapter: TypeAdapter[Any] | None = None

    def written(self, message: Said) -> bytes:
        """Return a message as text."""
        return self._of().dump_json(message)

    def read(self, text: bytes) -> Said:
        """Return the message of a text. Raises: Garbled."""
        try:
            message: Said = self._of().validate_json(text, strict=True)
        except ValidationError as error:
            raise Garbled from error
        return message

    def _of(self) -> "TypeAdapter[Any]":
        if self._adapter is None:
            if not get_args(self._declared):
                self._adapter = TypeAdapter(self._declared)
            else:
                union: Any = Annotated[self._declared, OneOf()]
                self._adapter = TypeAdapter(union, config=_CONFIG)
        return self._adapter


OF_RUNNER: Language[ToWorker] = Language(ToWorker)
OF_WORKER: Language[ToRunner] = Language(ToRunner)


class SocketEnd(Generic[Received, Sent]):
    """One end of a link between two processes. `says` and `hears`: what goes out and what comes in."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        says: Language[Sent],
        hears: Language[Received],
        bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> None:
        self.bytes_max = bytes_max
        """The longest message that is taken in."""
        self._reader = reader
        self._writer = writer
        self._says = says
        self._hears = hears
        self.messages = 0
        """How many messages have come, or have begun to."""

    @property
    def heard(self) -> bool:
        """Whether the other end has ever said anything."""
        return self.messages > 0

    @classmethod
    async def open(cls, sock: socket.socket, *, says: Language[Sent], hears: Language[Received]) -> Self:
        """Take over a connected socket."""
        reader, writer = await asyncio.open_connection(sock=sock)
        return cls(reader, writer, says=says, hears=hears)

    def send(self, message: Sent) -> None:
        """Send without waiting."""
        if not self._writer.is_closing():
            body = self._says.written(message)
            self._writer.write(_LENGTH.pack(len(body)) + body)

    async def room(self) -> None:
        """Wait until most of what was sent is under way; it doesn't wait for an end that is gone."""
        with contextlib.suppress(OSError):
            await self._writer.drain()

    async def receive(self) -> Received | None:
        """Return the next message, or None when the other end is gone, or says what is no message."""
        try:
            return self._hears.read(await self._text())
        except (asyncio.IncompleteReadError, OSError):
            return None
        except Garbled:
            self._writer.close()
            return None

    async def _text(self) -> bytes:
        (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
        if length > self.bytes_max:
            raise Garbled
        self.messages += 1
        return await self._reader.readexactly(length)

    async def close(self) -> None:
        """Send what is buffered and close; an end that takes nothing any more is given up."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._writer.wait_closed()
        except OSError:  # TimeoutError too
            self.abort()

    def abort(self) -> None:
        """Close without sending what is buffered."""
        self._writer.transport.abort()
