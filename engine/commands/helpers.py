"""Processes that do parts of what a command does: each is asked, does several things side by side, answers.

    async with helping(count, module, boot, languages, told) as helpers:
        await carry_out(Todo(parts), own, helpers, asked, hands)

Invariant: what wasn't answered was not done, whatever became of its process, and is done by another hand; a
helper ends when its command does, whatever it is doing.
"""

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from engine.commands.run.processes import WorkerProcess, launched, usage
from engine.errors import PermanentError
from engine.frozen import dataclass
from engine.run.link import Finished, Noted
from engine.run.wire import Language, SocketEnd
from engine.run.worker import Usage, describe
from engine.tasks import together

log = logging.getLogger(__name__)


class Numbered(Protocol):
    """An order or an answer. `number` is the order's."""

    @property
    def number(self) -> int:
        """The order's number."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Helper → command: I can be asked."""


@dataclass(frozen=True, slots=True)
class Used:
    """Helper → command, before each answer: what this process has used. Units: as in Usage."""

    cpu_s: float
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Helper → command: the order can't be done by anybody."""

    number: int
    finished: Finished


Item = TypeVar("Item")
Order = TypeVar("Order", bound=Numbered)
Answer = TypeVar("Answer", bound=Numbered)


class Gone(Exception):
    """The helper has ended, and what it was asked isn't done."""


class Todo(Generic[Item]):
    """What is to be done: handed out one by one, and back again where it isn't done."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._left = deque(items)
        self._out = 0
        self._changed = asyncio.Event()
        self.over = asyncio.Event()
        self._look()

    async def take(self) -> Item | None:
        """Return the next, once there is one; None when all is done."""
        while not self._left:
            if self.over.is_set():
                return None
            self._changed.clear()
            await self._changed.wait()
        self._out += 1
        return self._left.popleft()

    def done(self, rest: Item | None = None) -> None:
        """Settle what was taken: there is a `rest` of it, or it is done."""
        self._out -= 1
        if rest is not None:
            self._left.appendleft(rest)
        self._look()

    def _look(self) -> None:
        self._changed.set()
        if not (self._left or self._out):
            self.over.set()


class Helper(Generic[Order, Answer]):
    """One process, and what it was asked. `told` hears its sentences."""

    def __init__(self, process: WorkerProcess[Any, Any], told: Callable[[str], None]) -> None:
        self._process = process
        self._told = told
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._listening = asyncio.create_task(self._listen())
        self._gone = False
        self._ready = asyncio.Event()
        self.usage = Usage(0.0, 0)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.process.pid

    async def ready(self, todo: Todo[Any]) -> None:
        """Wait until it can be asked, or nothing is left to ask for."""
        waits = [asyncio.create_task(event.wait()) for event in (self._ready, todo.over)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def ask(self, order: Order) -> Answer:
        """Have something done. Raises: Gone; what doing it raises."""
        if self._gone:
            raise Gone
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[order.number] = answer
        self._process.link.send(order)
        return await answer

    async def end(self) -> None:
        """See that the process is gone."""
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self._process.end()

    async def _listen(self) -> None:
        while (message := await self._process.link.receive()) is not None:
            match message:
                case Ready():
                    self._ready.set()
                case Noted(text):
                    self._told(text)
                case Used(cpu_s, peak_rss_bytes):
                    self.usage = Usage(cpu_s, peak_rss_bytes)
                case Failed(number, finished):
                    assert finished.error is not None, "something has failed"
                    if finished.traceback:
                        log.debug("%s", finished.traceback)
                    self._settle(number).set_exception(finished.error)
                case _:
                    self._settle(message.number).set_result(message)
        self._gone = True
        self._ready.set()
        self._told("a helper process died; what it was doing is done by others")
        for number in list(self._asked):
            self._settle(number).set_exception(Gone())

    def _settle(self, number: int) -> "asyncio.Future[Answer]":
        """Return what waits for an answer; nobody may wait any more."""
        found = self._asked.pop(number)
        return asyncio.get_running_loop().create_future() if found.done() else found


async def carry_out(
    todo: Todo[Item],
    own: Callable[[Item], Awaitable[Item | None]],
    helpers: Iterable[Helper[Any, Any]],
    asked: Callable[[Helper[Any, Any], Item], Awaitable[Item | None]],
    hands: int,
) -> None:
    """Have all done, by so many hands of this process and of each helper.

    `own` and `asked` do something here or there, and return what is left of it. Raises: what doing it raises.
    """

    async def here() -> None:
        while (item := await todo.take()) is not None:
            todo.done(await own(item))

    async def there(helper: Helper[Any, Any]) -> None:
        await helper.ready(todo)
        while (item := await todo.take()) is not None:
            try:
                rest = await asked(helper, item)
            except Gone:
                todo.done(item)
                return
            todo.done(rest)

    elsewhere = [there(helper) for helper in helpers for _ in range(hands)]
    await together([*(here() for _ in range(hands)), *elsewhere])


@asynccontextmanager
async def helping(
    count: int,
    module: str,
    boot: Callable[[], Awaitable[Any]],
    languages: tuple[Language[Any], Language[Any]],
    told: Callable[[str], None],
) -> AsyncGenerator[list[Helper[Any, Any]], None]:
    """Start helpers, by a module's `serve` and what `boot` returns, and see that none is left.

    `languages`: what the command says, and what helpers do. Raises: PermanentError.
    """
    says, hears = languages
    async with AsyncExitStack() as stack:
        helpers: list[Helper[Any, Any]] = []
        for _ in range(count):
            first = await boot()
            try:
                process = await launched(module, None, says=says, hears=hears)
            except OSError as error:
                raise PermanentError(
                    f"a helper can't be started ({error.strerror}): make room, or take fewer --workers"
                ) from error
            process.link.send(first)
            helpers.append(Helper(process, told))
            stack.push_async_callback(helpers[-1].end)
        yield helpers


class HelperLink(SocketEnd[Any, Any]):
    """The helper's end: without its command nothing more is to be done."""

    async def receive(self) -> Any:
        """Return the next message."""
        message = await super().receive()
        if message is None:
            os._exit(0)
        return message


async def help_with(
    descriptor: int,
    opened: Callable[[Any, Callable[[str], None]], Any],
    *,
    says: Language[Any],
    hears: Language[Any],
) -> None:
    """Do what is asked at the other end of a socket until the command has gone.

    `opened` takes the first message and what tells the user, and is a context of what does an order.
    """
    link = await HelperLink.open(socket.socket(fileno=descriptor), says=says, hears=hears)
    boot, tasks = await link.receive(), set[asyncio.Task[None]]()
    try:
        async with opened(boot, lambda text: link.send(Noted(text))) as do:
            link.send(Ready())
            while True:
                tasks.add(task := asyncio.create_task(_done(link, do, await link.receive())))
                task.add_done_callback(tasks.discard)
    except Exception as fault:  # nothing can be done here: told with the first order
        finished = describe(fault)
        link.send(Ready())
        while True:
            link.send(Failed((await link.receive()).number, finished))


async def _done(link: HelperLink, do: Callable[[Any], Awaitable[Any]], order: Any) -> None:
    try:
        answer = await do(order)
    except Exception as fault:  # told to the command, which tells the user
        answer = Failed(order.number, describe(fault))
    used = usage()
    link.send(Used(used.cpu_s, used.peak_rss_bytes))
    link.send(answer)
