"""What the runner and its workers say to each other, and how it travels inside a process.

Invariant: messages arrive whole and in order; a link that ends without Finished means that the worker died.
Between two processes: wire.py.
"""

import asyncio
from typing import Annotated, Any, Generic, Protocol, TypeAlias, TypeVar

from pydantic import GetCoreSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema, core_schema

from engine.batch import Cursor, Mark, Segment
from engine.contracts.source import ViewLost
from engine.errors import (
    BackfillError,
    JobError,
    PermanentError,
    RetriesExhausted,
    TargetUnfit,
    TransientError,
)
from engine.frozen import dataclass
from engine.meter import MeterTotals

FAULTS = {
    fault.__name__: fault
    for fault in (JobError, PermanentError, TargetUnfit, ViewLost, TransientError, RetriesExhausted)
}
"""The kinds of faults that mean something to a runner, by the names under which they travel."""


def _printable(text: str) -> str:
    """Return a text that any encoding of Unicode can hold; a path's or a server's may be another."""
    return text.encode(errors="backslashreplace").decode()


SaidText: TypeAlias = Annotated[str, PlainSerializer(_printable)]
"""What is for people."""


class _AsFault:
    """Has an error travel as its kind and its text; one of no kind in FAULTS as the nearest of them."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        pair = core_schema.tuple_schema(
            [core_schema.literal_schema([*FAULTS]), core_schema.str_schema(strict=True)]
        )
        made = core_schema.no_info_after_validator_function(lambda said: FAULTS[said[0]](said[1]), pair)
        return core_schema.json_or_python_schema(
            made,
            core_schema.is_instance_schema(BackfillError),
            serialization=core_schema.plain_serializer_function_ser_schema(_said, return_schema=pair),
        )


def _said(fault: BackfillError) -> tuple[str, str]:
    kinds = (kind.__name__ for kind in type(fault).__mro__ if kind.__name__ in FAULTS)
    return next(kinds, PermanentError.__name__), _printable(str(fault))


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

    text: SaidText


@dataclass(frozen=True, slots=True)
class Finished:
    """Worker → runner: nothing is in flight any more, and nothing will follow."""

    error: Annotated[BackfillError, _AsFault()] | None = None
    traceback: SaidText | None = None


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
