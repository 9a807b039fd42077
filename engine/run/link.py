"""What the runner and its workers say to each other, and the two ways in which it travels.

Invariant: messages arrive whole and in order; a link that ends without Finished means that the worker died.
"""

import asyncio
import pickle
import socket
import struct
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeAlias, TypeVar, cast

from engine.batch import Cursor, Mark, Segment
from engine.errors import BackfillError
from engine.meter import MeterTotals


@dataclass(frozen=True, slots=True)
class Assign:
    """Runner → worker: read this segment from behind `after`."""

    segment: Segment
    after: Cursor | None


@dataclass(frozen=True, slots=True)
class NoMore:
    """Runner → worker: no segment is left for the one that wanted."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Runner → worker: this is your share of the hard cap. Units: the target's units per second."""

    units_per_s: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """Runner → worker: a checkpoint has kept dead letters of yours. Units: bytes, see LetterWindow."""

    letters_bytes: int


@dataclass(frozen=True, slots=True)
class Until:
    """Runner → worker: send until then, or for this reason never again. Units: as in Tenure."""

    end_s: float
    lost: str | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """Runner → worker: read no further, finish what is in flight."""


@dataclass(frozen=True, slots=True)
class Want:
    """Worker → runner: one cursor is free."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """Worker → runner: a segment's acked prefix grew."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class Ticked:
    """Worker → runner: the figures of this process. In-process workers leave CPU and memory to the runner."""

    totals: MeterTotals
    cpu_s: float
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class Noted:
    """Worker → runner: a sentence for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Worker → runner: nothing is in flight any more, and nothing will follow."""

    error: BackfillError | None = None
    traceback: str | None = None


ToWorker: TypeAlias = Assign | NoMore | Limit | Kept | Until | Drain
ToRunner: TypeAlias = Want | Advanced | Ticked | Noted | Finished


class WorkerEnd(Protocol):
    """The worker's end of a link."""

    def send(self, message: ToRunner) -> None:
        """Send without waiting."""

    async def receive(self) -> ToWorker | None:
        """Return the next message, or None when the runner is gone."""


class RunnerEnd(Protocol):
    """The runner's end of a link."""

    def send(self, message: ToWorker) -> None:
        """Send without waiting; a worker that is gone hears nothing."""

    async def receive(self) -> ToRunner | None:
        """Return the next message, or None when the worker is gone."""


Received = TypeVar("Received")
Sent = TypeVar("Sent")


class QueueEnd(Generic[Received, Sent]):
    """One end of a link inside a process."""

    def __init__(self, incoming: "asyncio.Queue[Received]", outgoing: "asyncio.Queue[Sent]") -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    def send(self, message: Sent) -> None:
        """Send without waiting."""
        self._outgoing.put_nowait(message)

    async def receive(self) -> Received:
        """Return the next message."""
        return await self._incoming.get()


def queue_link() -> tuple[QueueEnd[ToRunner, ToWorker], QueueEnd[ToWorker, ToRunner]]:
    """Make a link inside this process: the runner's end and the worker's."""
    there: asyncio.Queue[ToRunner] = asyncio.Queue()
    back: asyncio.Queue[ToWorker] = asyncio.Queue()
    return QueueEnd(there, back), QueueEnd(back, there)


_FRAME = struct.Struct("!I")


class SocketEnd(Generic[Received, Sent]):
    """One end of a link between a process and its own child, over a socket pair that nobody else has."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.heard = False
        """Whether the other end has ever said anything."""

    @classmethod
    async def open(cls, sock: socket.socket) -> Self:
        """Take over a connected socket."""
        reader, writer = await asyncio.open_connection(sock=sock)
        return cls(reader, writer)

    def send(self, message: Sent) -> None:
        """Send without waiting."""
        if not self._writer.is_closing():
            body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
            self._writer.write(_FRAME.pack(len(body)) + body)

    async def receive(self) -> Received | None:
        """Return the next message, or None when the other end is gone."""
        try:
            (length,) = _FRAME.unpack(await self._reader.readexactly(_FRAME.size))
            self.heard = True
            return cast("Received", pickle.loads(await self._reader.readexactly(length)))  # noqa: S301 - from our own child
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        """Send what is buffered and close."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return
