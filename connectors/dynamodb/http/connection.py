"""One HTTP/1.1 connection: one request at a time, and its answer, told by a call.

Invariant: an answer belongs to the request that was written before it, or the connection is dropped. Nothing
is used again after a surprise: bytes nobody asked for, a broken frame, an answer that came too early.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import NamedTuple, TypeAlias, cast

import httptools

from connectors.dynamodb.http.answer_reader import AnswerReader
from engine.errors import TransientError
from engine.tenure import Tenure

WRITE_CHUNK_BYTES = 64 * 1024
"""A request up to this size is handed to the kernel at once, a larger one in chunks as there is room."""

SEND_BUFFER_BYTES = 4 * WRITE_CHUNK_BYTES
"""What the kernel is asked to take at once: the whole of a chunk, so that nothing of it waits in this process
and is sent after a stop for longer than the lease. Needs an event loop that writes at once: asyncio's does,
uvloop's from 0.23 on (MagicStack/uvloop#619)."""

WAITING_BYTES_MAX = 1
"""More than that in the process's own buffer, and the next chunk waits."""

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""No answer is that long: 16 MB of UnprocessedItems is the longest, some of it escaped."""

HEAD_BYTES_MAX = 64 * 1024
"""No head is that long: AWS sends some 300 bytes. What comes in one piece with it isn't told apart."""

NEVER = float("inf")

Parts: TypeAlias = Sequence[bytes | memoryview]
"""What makes a request's body, in order; memoryviews of bytes."""


class TransportError(TransientError):
    """A request got no valid answer.

    `sent` False: the request never left whole, so it was certainly not applied. True: nobody knows.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class Answer(NamedTuple):
    """What the server said, whole and with its checksum proved where it sent one.

    Units: `seconds` from writing the request to the answer's last byte.
    """

    status: int
    body: bytes
    request_id: str | None
    seconds: float


Ended: TypeAlias = Callable[[Answer | Exception], None]
"""Is told how a request ended: its answer, or why there is none."""


class Connection(asyncio.Protocol):
    """The protocol under one socket; made by `loop.create_connection`."""

    _transport: asyncio.Transport
    _ended: Ended | None
    """Whom the request in flight concerns; None while there is none."""
    _free: Callable[["Connection"], None] | None
    _drained: asyncio.Future[None] | None
    _started: float
    _received: int
    _whole: bool

    def __init__(self, name: str, on_lost: Callable[["Connection"], None]) -> None:
        self.name = name
        self._on_lost = on_lost
        self._reader = AnswerReader()
        self._ended = self._free = None
        self._drained = None
        self._paused = False
        self._reusable = True
        self._deadline = NEVER
        self.idle_since = NEVER

    @property
    def usable(self) -> bool:
        """Whether a request may be written here."""
        return self._reusable and not self._transport.is_closing()

    def begin(
        self,
        head: bytes,
        parts: Parts,
        timeout_s: float,
        tenure: Tenure,
        ended: Ended,
        free: Callable[["Connection"], None] | None = None,
    ) -> None:
        """Write one request of up to WRITE_CHUNK_BYTES at once, under its sender's `tenure`.

        Ordering: never before this has returned, and once unless it is cancelled: `ended` is called; before
        that `free`, with this connection, when the answer is whole.
        Raises: LeaseOver, PermanentError; the connection is to be dropped then.
        """
        self._expect(timeout_s, ended)
        self._free = free
        request = b"".join((head, *parts))
        tenure.prove()
        self._whole = True
        self._transport.write(request)

    async def exchange(
        self, head: bytes, parts: Parts, length: int, timeout_s: float, tenure: Tenure
    ) -> Answer:
        """Write one request, under its sender's `tenure`, and return its answer.

        Units: `length` bytes of all parts together.
        Raises: TransportError, LeaseOver; the connection is lost then.
        """
        if not self.usable:
            raise TransportError(f"the connection to {self.name} was closed while idle", sent=False)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        ended = partial(_settle, answer)
        if length <= WRITE_CHUNK_BYTES:
            self.begin(head, parts, timeout_s, tenure, ended)
        else:
            self._expect(timeout_s, ended)
            await self._write_slowly(head, parts, tenure)
        return await answer

    def cancel(self) -> None:
        """Drop the connection, and the request in flight with it; nobody is told."""
        self._ended = None
        self.drop()

    def drop(self) -> None:
        """Close the socket at once; nothing of it is used again."""
        self._reusable = False
        self._transport.abort()

    def expire(self, now: float) -> None:
        """Fail the request in flight if its time is over."""
        if now >= self._deadline:
            self._fail(f"{self.name} didn't answer within {self._deadline - self._started:g} s")

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket's transport."""
        # Not by isinstance: uvloop's transports don't derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WAITING_BYTES_MAX, low=0)
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES
        )

    def data_received(self, data: bytes) -> None:
        """Parse what came; settle the request once its answer is whole."""
        if self._ended is None:
            self.drop()
            return
        self._received += len(data)
        if self._received > ANSWER_BYTES_MAX:
            self._fail(f"{self.name} sent an answer longer than {ANSWER_BYTES_MAX} bytes")
            return
        try:
            self._reader.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._reader.complete:
                self._fail(f"{self.name} answered with something that isn't HTTP", error)
                return
            self._reusable = False
        if self._reader.complete:
            self._take_answer()
        elif self._reader.in_head and self._received > HEAD_BYTES_MAX:
            self._fail(f"{self.name} sent headers longer than {HEAD_BYTES_MAX} bytes")

    def eof_received(self) -> None:
        """Let the socket close: half-open connections are of no use."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that this connection is no more, and fail the request in flight."""
        self._reusable = False
        self._on_lost(self)
        what = "was reset" if exc is not None else "was closed"
        self._fail(f"the connection to {self.name} {what} before the answer was whole", exc)

    def pause_writing(self) -> None:
        """Hold back the rest of a large request."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on with the rest of a large request."""
        self._paused = False
        self._wake()

    # Inside.

    def _expect(self, timeout_s: float, ended: Ended) -> None:
        """Get ready for the next answer."""
        assert self._ended is None, "one request at a time"
        self._ended = ended
        self._free = None
        self._whole = False
        self._received = 0
        self._reader.reset()
        self._started = perf_counter()
        self._deadline = self._started + timeout_s

    def _take_answer(self) -> None:
        """End the request with its answer, unless there is something wrong with that."""
        reader = self._reader
        if (flaw := reader.flaw(self.name)) is not None:
            self._fail(flaw)
            return
        ended, self._ended = self._ended, None
        self._deadline = NEVER
        if not self._whole:
            self._reusable = False
            self._wake()
        if reader.last or not self._reusable:
            self.drop()
        if self._free is not None:
            self._free(self)
        if ended is not None:
            ended(Answer(reader.status, reader.body, reader.request_id, perf_counter() - self._started))

    def _fail(self, message: str, cause: Exception | None = None) -> None:
        """End the request in flight, if there is one, without an answer."""
        ended, self._ended = self._ended, None
        self._deadline = NEVER
        self.drop()
        self._wake()
        if ended is not None:
            error = TransportError(message, sent=self._whole)
            error.__cause__ = cause
            ended(error)

    async def _write_slowly(self, head: bytes, parts: Parts, tenure: Tenure) -> None:
        """Write chunk by chunk, each under the lease; stop when the answer, or the end, comes first.

        The last byte goes alone, once the kernel has all others: no request is completed out of a buffer.
        """
        *most, last = parts
        for part in (head, *most, last[:-1], last[-1:]):
            view = memoryview(part)
            for offset in range(0, len(view), WRITE_CHUNK_BYTES):
                while self._paused and self._ended is not None:
                    self._drained = asyncio.get_running_loop().create_future()
                    await self._drained
                if self._ended is None or self._transport.is_closing():
                    return
                tenure.prove()
                self._transport.write(view[offset : offset + WRITE_CHUNK_BYTES])
        self._whole = True

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None


def _settle(answer: asyncio.Future[Answer], outcome: Answer | Exception) -> None:
    """Hand on how a request ended to who awaits it, unless that was cancelled."""
    if answer.done():
        return
    if isinstance(outcome, Answer):
        answer.set_result(outcome)
    else:
        answer.set_exception(outcome)
