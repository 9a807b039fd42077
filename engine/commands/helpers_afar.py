"""Helpers of other hosts: workers that dial in to a command which listens, and join those of this host.

Invariant: what one of them makes comes as bytes, and stands in files here before its answer does; one that
isn't heard for SILENCE_S is lost, and what it was asked is done by others.
"""

import asyncio
import os
import re
import shutil
from asyncio import sleep
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import field
from pathlib import Path
from typing import Any

from engine.clock import boot_s
from engine.commands.helpers import Answer, FilePart, Gone, Helper, Helpers, Keeping, Order
from engine.commands.room import on_disk
from engine.commands.run.door import Door
from engine.commands.run.listening import Candidate
from engine.errors import PermanentError
from engine.frozen import dataclass
from engine.own_files import made, sync_directory
from engine.run import beats
from engine.run.beats import Beat, Granted, Left
from engine.run.greeting import JobTold, Welcome, Work
from engine.run.link import Drain
from engine.run.wire import Language, SocketEnd
from engine.tasks import ended
from engine.tenure import NEVER

_NAME = re.compile(r"part-\d+|keys\.arrow")
"""What an order's files are called; whoever says another name is no worker."""


class WorkerAfarEnd:
    """The command's end of a link to a worker of another host: answers its beats, and notices its silence."""

    def __init__(self, wire: SocketEnd[Any, Any], name: str) -> None:
        self._wire = wire
        self._name = name
        self._patience_s = beats.START_S
        self._until_s = -NEVER
        """Until when it may go on without a word from here, by this process's clock."""
        self.how = f"the worker {name} is lost"

    @property
    def left_s(self) -> float:
        """How long it may still read, once it is gone."""
        return max(0.0, self._until_s - boot_s())

    def send(self, message: Any) -> None:
        """Send without waiting."""
        self._wire.send(message)

    async def receive(self) -> Any:
        """Return the next message; None when it is lost, or has left."""
        while True:
            try:
                async with asyncio.timeout(self._patience_s):
                    message = await self._wire.receive()
            except TimeoutError:
                return self._lost(f"is lost: it has said nothing for {self._patience_s:g} s")
            self._patience_s = beats.SILENCE_S
            match message:
                case Beat(number):
                    self._until_s = boot_s() + beats.SILENCE_S + beats.MARGIN_S
                    self._wire.send(Granted(number, beats.SILENCE_S))
                case Left(why):
                    self._until_s = -NEVER
                    return self._lost(f"has left: {why}")
                case None:
                    return self._lost("is lost: its connection has ended")
                case _:
                    return message

    async def close(self) -> None:
        """Tell it that the command is over, and close the connection."""
        self._wire.send(Drain())
        await self._wire.close()

    def _lost(self, how: str) -> None:
        self.how = f"the worker {self._name} {how}"
        self._wire.abort()


class HelperAfar(Helper[Order, Answer]):
    """A helper that has dialled in. `asks_back`: what answers its questions within an order, by their kind.

    `advice` says where room for its files comes from; with `durable` they outlive the machine's end.
    """

    def __init__(
        self,
        link: WorkerAfarEnd,
        told: Callable[[str], None],
        cursors: int,
        asks_back: Mapping[type, Callable[[Any], Awaitable[Any]]],
        *,
        durable: bool,
        advice: str,
    ) -> None:
        super().__init__(link, told, cursors)
        self._afar = link
        self._asks_back = asks_back
        self._durable = durable
        self._advice = advice
        self._places: dict[int, Path] = {}
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def settled(self) -> bool:
        """Whether it is gone, and reads nothing more."""
        return not self.there and not self._afar.left_s

    async def ask(self, order: Order) -> Answer:
        """Have something done; what it gives besides its answer is in the order's directory by then."""
        if not isinstance(order, Keeping):
            return await super().ask(order)
        place = Path(order.directory)
        made(place.parent, place.name)
        self._places[order.number] = place
        try:
            answer = await super().ask(order)
        except Gone:
            shutil.rmtree(place)
            raise
        finally:
            del self._places[order.number]
        if self._durable:
            await asyncio.to_thread(_made_durable, place)
        return answer

    async def buried(self) -> None:
        """Wait until one that is gone reads nothing more."""
        await sleep(self._afar.left_s)

    async def end(self) -> None:
        """Tell it that it is needed no more."""
        await super().end()
        await ended(*self._answering)
        await self._afar.close()

    def how_gone(self) -> str:
        """Say what has become of it."""
        return self._afar.how

    def _heard(self, answer: Any) -> None:
        if answer.number not in self._asked:  # nobody waits for it any more
            return
        if isinstance(answer, FilePart):
            self._kept(answer)
        elif (answered := self._asks_back.get(type(answer))) is not None:
            task = asyncio.create_task(self._answer(answer, answered))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        else:
            super()._heard(answer)

    def _kept(self, part: FilePart) -> None:
        if _NAME.fullmatch(part.name) is None or part.number not in self._places:
            self._fail(part.number, PermanentError(f"a worker speaks of a file {part.name!r}: end it"))
            return
        path = self._places[part.number] / part.name
        try:
            with on_disk(path.parent, self._advice), path.open("ab") as file:
                file.write(part.data)
        except PermanentError as fault:
            self._fail(part.number, fault)

    async def _answer(self, question: Any, answered: Callable[[Any], Awaitable[Any]]) -> None:
        try:
            self._afar.send(await answered(question))
        except Exception as fault:  # told to whoever waits for the order
            if question.number in self._asked:
                self._fail(question.number, fault)


def _made_durable(place: Path) -> None:
    for path in place.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_directory(place)


@dataclass(frozen=True, slots=True)
class CallAfar:
    """What workers of other hosts are called for. `boot` is the first message, in the language of `says`.

    `cursors`: how many segments each reads, of `cursors_max` in all, of which this host takes `here`. See
    HelperAfar.
    """

    work: Work
    jobs: Sequence[JobTold]
    boot: Any
    says: Language[Any]
    hears: Language[Any]
    cursors: int
    cursors_max: int | None
    here: int
    advice: str
    durable: bool = False
    asks_back: Mapping[type, Callable[[Any], Awaitable[Any]]] = field(default_factory=dict)


class Calling:
    """Takes in workers that dial in, for as long as there may be something to do. `told` hears of them."""

    def __init__(
        self, call: CallAfar, door: Door, helpers: Helpers[Any, Any], told: Callable[[str], None]
    ) -> None:
        self._call = call
        self._door = door
        self._helpers = helpers
        self._told = told
        self.taken: list[HelperAfar[Any, Any]] = []

    async def take_in(self) -> None:
        """Take in whoever comes, for ever."""
        while True:
            await self._admit(await self._door.listener.line.get())

    async def _admit(self, candidate: Candidate) -> None:
        if candidate.gone:
            return
        call, cursors = self._call, self._cursors()
        if cursors < 1:
            await candidate.sent_home(
                "the source lets no more than those read who do (source.max_connections)"
            )
            return
        welcome = Welcome(call.work, tuple(call.jobs), cursors, beats.SILENCE_S)
        wire = candidate.called(welcome, says=call.says, hears=call.hears)
        wire.send(call.boot)
        self._told(f"the worker {candidate.name} joins")
        helper: HelperAfar[Any, Any] = HelperAfar(
            WorkerAfarEnd(wire, candidate.name),
            self._told,
            cursors,
            call.asks_back,
            durable=call.durable,
            advice=call.advice,
        )
        self.taken.append(helper)
        self._helpers.join(helper)

    def _cursors(self) -> int:
        """Return by how many cursors one more may read; those of one that is gone are free in time."""
        call = self._call
        if call.cursors_max is None:
            return call.cursors
        taken = sum(helper.cursors for helper in self.taken if not helper.settled)
        return min(call.cursors, call.cursors_max - call.here - taken)


@asynccontextmanager
async def called(
    call: CallAfar, door: Door, helpers: Helpers[Any, Any], told: Callable[[str], None]
) -> AsyncGenerator[None, None]:
    """Have workers of other hosts join the helpers; at the end they are told that it is over."""
    calling = Calling(call, door, helpers, told)
    taking_in = asyncio.create_task(calling.take_in())
    try:
        await door.listener.expected(door.expect)
        yield
    finally:
        await ended(taking_in)
        await door.listener.not_needing("what is left to do is the command's own")
        await asyncio.gather(*(helper.end() for helper in calling.taken))
