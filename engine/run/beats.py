"""The right to write on another host: beats that the runner answers, and no clock that both share.

The worker numbers its beats. The runner answers each with its number and with the seconds for which it may
send, counted from when it *asked*; so the worker's tenure ends, by its own clock, no later than the runner
reckons by its own, however long beat and answer were under way.

Invariant: a worker that isn't answered sends nothing after SILENCE_S; what it had goes to others only when,
by the runner's clock, that time is over and its last request can't be applied any more.
"""

import asyncio
from asyncio import sleep
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeAlias

from engine.clock import boot_s
from engine.contracts.source import ViewLost
from engine.errors import BackfillError, TransientError
from engine.frozen import dataclass
from engine.run.link import Advanced, Assign, Drain, Finished, SaidText, ToRunner, ToWorker, Until
from engine.tasks import ended
from engine.tenure import NEVER, Tenure

SILENCE_S = 10.0
"""How long a worker sends without an answer of its runner, at most."""

BEATS = 10
"""So many beats in that time: all but one may be lost."""

START_S = 120.0
"""How long a worker may take to open both ends, before its first beat: nothing is granted until then."""

VIEW_KEPT_S = 600.0
"""How long a worker without a runner keeps the view, where it does (commands/run/views.py). Kubernetes moves
pods off a lost node after 5 minutes. Source: tolerationSeconds of node.kubernetes.io/unreachable."""

MARGIN_S = 5.0
"""For what two clocks differ in twenty seconds, and for what a host takes to hand bytes to its network."""


def wait_s(late_s: float) -> float:
    """Return after what time nothing comes any more of workers whose runner has ended just now.

    `late_s`: the target's TargetAbilities.late_s.
    """
    return SILENCE_S + late_s + MARGIN_S


@dataclass(frozen=True, slots=True)
class Beat:
    """Worker → runner: asks whether it may go on."""

    number: int


@dataclass(frozen=True, slots=True)
class Granted:
    """Runner → worker: you may send for so long from when you asked."""

    number: int
    left_s: float


@dataclass(frozen=True, slots=True)
class Left:
    """Worker → runner: I send nothing more, and others may do what I had. Nothing will follow."""

    why: SaidText


@dataclass(frozen=True, slots=True)
class HoldView:
    """Runner → worker: keep the view that is read by a session of your own."""


@dataclass(frozen=True, slots=True)
class ViewHeld:
    """Worker → runner: by this it may be opened; None: I can't keep it."""

    view: str | None


ToAfar: TypeAlias = ToWorker | Granted | HoldView
FromAfar: TypeAlias = ToRunner | Beat | Left | ViewHeld


class HeadWire(Protocol):
    """What carries messages to the runner."""

    def send(self, message: FromAfar) -> None:
        """Send without waiting."""

    async def receive(self) -> ToAfar | None:
        """Return the next message, or None when the other end is gone."""


class WorkerWire(Protocol):
    """What carries messages to a worker."""

    def send(self, message: ToAfar) -> None:
        """Send without waiting."""

    async def receive(self) -> FromAfar | None:
        """Return the next message, or None when the other end is gone."""

    async def close(self) -> None:
        """Send what is buffered and close."""

    def abort(self) -> None:
        """Close without sending what is buffered."""


class HeadLink:
    """The worker's end of a link to a runner on another host; see WorkerEnd. Units: `silence_s` the runner's.

    `tenure` lasts from answer to answer. A fault that need not be another worker's too is told as leaving.
    """

    def __init__(self, wire: HeadWire, silence_s: float, clock: Callable[[], float] = boot_s) -> None:
        self._wire = wire
        self._silence_s = silence_s
        self._clock = clock
        self._asked: dict[int, float] = {}
        self._answered_s = -NEVER
        """When the last beat that was answered was sent."""
        self._inbox: asyncio.Queue[ToWorker | None] = asyncio.Queue()
        self._over = False
        self._advanced = False
        self.tenure = Tenure(-NEVER, clock)
        self.lost: str | None = None
        """Why it has no runner any more."""
        self.leaving: str | None = None
        """Why it was asked to leave, here."""
        self.error: BackfillError | None = None
        """What has ended its work."""
        self.asked_to_hold, self.holds = asyncio.Event(), False
        """Whether the view is to be kept by a session here, and is."""

    def held(self, view: str | None) -> None:
        """Tell by what the view may be opened that is kept here; None: it can't be kept."""
        self.holds = view is not None
        self._wire.send(ViewHeld(view))

    def send(self, message: ToRunner) -> None:
        """Send without waiting."""
        if isinstance(message, Advanced):
            self._advanced = True
        if isinstance(message, Finished):
            self._over = True
            self.error = message.error
            if (why := self._why_left(message.error)) is not None:
                self._wire.send(Left(why))
                return
        self._wire.send(message)

    async def receive(self) -> ToWorker | None:
        """Return the next message, or None when the runner is gone."""
        return await self._inbox.get()

    def leave(self, why: str) -> None:
        """Finish what is in flight and take nothing more."""
        self.leaving = why
        self._inbox.put_nowait(Drain())

    @asynccontextmanager
    async def alive(self) -> AsyncGenerator[None, None]:
        """Beat and listen: from here on its runner expects to hear of it."""
        self._answered_s = self._clock()
        tasks = [asyncio.create_task(self._beat()), asyncio.create_task(self._listen())]
        try:
            yield
        finally:
            await ended(*tasks)

    def _why_left(self, error: BackfillError | None) -> str | None:
        if self.lost is not None or self.leaving is not None:
            return self.lost or self.leaving
        its_own = not self._advanced or isinstance(error, ViewLost | TransientError)
        return str(error) if error is not None and its_own else None

    async def _beat(self) -> None:
        number = 0
        while self.lost is None:
            if self._clock() - self._answered_s >= self._silence_s:
                self._lose(f"it has heard nothing of it for {self._silence_s:g} s")
                return
            number += 1
            self._asked[number] = self._clock()
            self._wire.send(Beat(number))
            await asyncio.sleep(self._silence_s / BEATS)

    async def _listen(self) -> None:
        while (message := await self._wire.receive()) is not None:
            match message:
                case Granted(number, left_s):
                    self._granted(number, left_s)
                case HoldView():
                    self.asked_to_hold.set()
                case Drain():
                    self._over = True
                    self._inbox.put_nowait(message)
                case _:
                    self._inbox.put_nowait(message)
        if not self._over:
            self._lose("its connection has ended")

    def _granted(self, number: int, left_s: float) -> None:
        asked_s = self._asked.get(number)
        if asked_s is None:
            return
        self._asked = {other: at for other, at in self._asked.items() if other > number}
        self._answered_s = asked_s
        self.tenure.until(asked_s + left_s)

    def _lose(self, why: str) -> None:
        self.lost = f"the worker has lost its runner: {why}"
        self.tenure.lose(self.lost)
        self._inbox.put_nowait(None)


class DialledIn:
    """The runner's end of a link to a worker on another host; see RunnerEnd.

    `tenure` is the runner's own, `late_s` the target's TargetAbilities.late_s; `told` hears why a worker has
    left or was lost.
    """

    def __init__(
        self,
        wire: WorkerWire,
        name: str,
        tenure: Tenure,
        late_s: float,
        told: Callable[[str], None],
    ) -> None:
        self._wire = wire
        self.name = name
        self._tenure = tenure
        self._late_s = late_s
        self._told = told
        self._until_s = -NEVER
        """Until when it may send, by this process's clock."""
        self._held: set[int] = set()
        """The segments that it was given and hasn't ended."""
        self._draining = False
        self._patience_s = START_S
        self.there = True
        """Whether anything may still come of it: it hasn't finished or left, and isn't lost."""
        self._ended = False
        """Whether it has finished, or is buried."""
        self._on_view: Callable[[DialledIn, str | None], None] = lambda *_: None

    def __repr__(self) -> str:
        return f"<DialledIn {self.name}>"

    @property
    def settled(self) -> bool:
        """Whether nothing of it can come any more that others would write, too."""
        return self._ended or not self._held

    def send(self, message: ToWorker) -> None:
        """Send without waiting. When its tenure ends is said by the answers to its beats, and not here."""
        match message:
            case Until(_, None):
                return
            case Assign(segment):
                self._held.add(segment.number)
            case Drain():
                self._draining = True
            case _:
                pass
        self._wire.send(message)

    def hold_view(self, told: "Callable[[DialledIn, str | None], None]") -> None:
        """Ask it to keep the view of the source; `told` hears by what that may be opened, or None."""
        self._on_view = told
        self._wire.send(HoldView())

    async def receive(self) -> ToRunner | None:
        """Return the next message; None when it is lost, or has left and held something."""
        while True:
            try:
                async with asyncio.timeout(self._patience_s):
                    message = await self._wire.receive()
            except TimeoutError:
                self._gone(f"it has said nothing for {self._patience_s:g} s")
                return None
            self._patience_s = SILENCE_S
            match message:
                case Beat(number):
                    self._answer(number)
                case ViewHeld(view):
                    self._on_view(self, view)
                case Left(why):
                    return self._left(why)
                case None:
                    self._gone("its connection has ended")
                    return None
                case Finished():
                    self.there, self._ended = False, True
                    return message
                case Advanced(mark):
                    if mark.done:
                        self._held.discard(mark.segment)
                    return message
                case _:
                    return message

    async def buried(self) -> str:
        """Wait until nothing of it can be applied any more; return its name."""
        if not self.settled:
            await sleep(self._left_s)
            self._ended = True
        return self.name

    async def close(self) -> None:
        """Tell it that the run is over here, and close the connection."""
        self._wire.send(Drain())
        await self._wire.close()

    @property
    def _left_s(self) -> float:
        """How long something of it may come yet."""
        return max(0.0, self._until_s - boot_s()) + self._late_s + MARGIN_S

    def _answer(self, number: int) -> None:
        now = boot_s()
        left_s = min(SILENCE_S, self._tenure.end_s - now)
        self._until_s = max(self._until_s, now + left_s)
        self._wire.send(Granted(number, left_s))

    def _left(self, why: str) -> Finished | None:
        """See to one that sends nothing more, but whose last requests may still be under way."""
        self.there = False
        self._until_s = min(self._until_s, boot_s())
        self._tell_of(f"has left: {why}")
        return Finished() if self.settled or self._draining else None

    def _gone(self, how: str) -> None:
        self.there = False
        self._wire.abort()
        self._tell_of(f"is lost: {how}")

    def _tell_of(self, how: str) -> None:
        going_on = ""
        if self._held and not self._draining:
            going_on = f"; what it was reading is read on from its last mark in {self._left_s:.0f} s"
        self._told(f"the worker {self.name} {how}{going_on}")
