"""Processes that do parts of what a command does: each is asked, does several things side by side, answers.

    await carry_out(Todo(parts), own, helpers, asked)

Those that are processes of this host: helper_processes.py; those of other hosts join them: helpers_afar.py.

Invariant: what wasn't answered was not done, whatever became of its process, and is done by another hand; a
helper ends when its command does, whatever it is doing.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from engine.commands.run import waiting
from engine.frozen import dataclass
from engine.run.link import Finished, Noted
from engine.run.worker import Usage
from engine.tasks import ended, together

log = logging.getLogger(__name__)

PART_BYTES = 256 * 2**10
"""So much of a file is one message: a beat waits for no longer than that takes."""


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
    """Helper → command, before each answer: what this process has used. Units: as in Usage.

    One of this host says so each second besides: it is still there.
    """

    cpu_s: float
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Helper → command: the order can't be done by anybody."""

    number: int
    finished: Finished


@dataclass(frozen=True, slots=True)
class FilePart:
    """Helper of another host → command, before an answer: more of a file in the order's directory."""

    number: int
    name: str
    data: bytes


@runtime_checkable
class Keeping(Numbered, Protocol):
    """An order whose files go into a directory."""

    @property
    def directory(self) -> str:
        """The directory, which whoever does it makes."""


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


class HelperEnd(Protocol):
    """The command's end of a link to a helper."""

    def send(self, message: Any) -> None:
        """Send without waiting."""

    async def receive(self) -> Any:
        """Return the next message, or None when the helper is gone."""


class Helper(Generic[Order, Answer]):
    """One helper, and what it was asked. `told` hears its sentences.

    `cursors`: how many segments of the source it may read side by side.
    """

    def __init__(self, link: HelperEnd, told: Callable[[str], None], cursors: int) -> None:
        self._link = link
        self._told = told
        self.cursors = cursors
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._listening = asyncio.create_task(self._listen())
        self._gone = False
        self._ready = asyncio.Event()
        self.usage = Usage(0.0, 0)

    @property
    def there(self) -> bool:
        """Whether it can be asked, now or once it is ready."""
        return not self._gone

    @property
    def asked(self) -> int:
        """How many things it was asked and hasn't answered."""
        return len(self._asked)

    @property
    def settled(self) -> bool:
        """Whether it is gone, and reads nothing more."""
        return self._gone

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
        self._link.send(order)
        return await answer

    async def buried(self) -> None:
        """Wait until one that is gone reads nothing more: a process doesn't."""

    async def end(self) -> None:
        """Listen no more."""
        await ended(self._listening)

    def how_gone(self) -> str:
        """Say of one that is gone what has become of it."""
        return "a helper process died"

    async def _listen(self) -> None:
        while (message := await self._link.receive()) is not None:
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
                    self._fail(number, finished.error)
                case _:
                    self._heard(message)
        self._gone = True
        self._ready.set()
        self._told(f"{self.how_gone()}; what it was doing is done by others")
        for number in list(self._asked):
            self._fail(number, Gone())

    def _heard(self, answer: Answer) -> None:
        """Take what isn't said by every helper."""
        found = self._asked.pop(answer.number)
        if not found.done():  # nobody may wait any more
            found.set_result(answer)

    def _fail(self, number: int, fault: Exception) -> None:
        found = self._asked.pop(number)
        if not found.done():
            found.set_exception(fault)


class Helpers(Generic[Order, Answer]):
    """Those who help; more may come. `own`: how many segments this process reads itself, side by side.

    Where that is none, and nobody is there, `say` hears that somebody is waited for, to dial in `at` there.
    """

    def __init__(self, own: int, say: Callable[[str], None], at: str = "") -> None:
        self.own = own
        self._say = say
        self._at = at
        self.all: list[Helper[Order, Answer]] = []
        """Whoever has ever been there."""
        self._came = asyncio.Event()

    def join(self, helper: Helper[Order, Answer]) -> None:
        """Have one more help."""
        self.all.append(helper)
        self._came.set()

    def __iter__(self) -> Iterator[Helper[Order, Answer]]:
        """Return those who are there."""
        return iter([helper for helper in self.all if helper.there])

    async def until(self, over: asyncio.Event) -> None:
        """Wait for an event. Raises: PermanentError where there is nobody for too long."""
        if self.own:
            await over.wait()
        else:
            await waiting.until(over, lambda: any(self), self._say, self._at)

    async def coming(self) -> AsyncGenerator[Helper[Order, Answer], None]:
        """Yield those who have come, and each who comes."""
        met = 0
        while True:
            while met < len(self.all):
                yield self.all[met]
                met += 1
            self._came.clear()
            await self._came.wait()


async def carry_out(
    todo: Todo[Item],
    own: Callable[[Item], Awaitable[Item | None]],
    helpers: Helpers[Any, Any],
    asked: Callable[[Helper[Any, Any], Item], Awaitable[Item | None]],
    hands: int | None = None,
) -> None:
    """Have all done, by so many hands of this process and of each helper; None: of each as many as it reads.

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

    async def elsewhere() -> None:
        async with asyncio.TaskGroup() as group:

            async def take_in() -> None:
                async for helper in helpers.coming():
                    for _ in range(hands or helper.cursors):
                        group.create_task(there(helper))

            taking_in = group.create_task(take_in())
            await helpers.until(todo.over)
            taking_in.cancel()

    await together([*(here() for _ in range(helpers.own and (hands or helpers.own))), elsewhere()])
