"""What a worker of another host does for verify and plan: whatever it is asked, until that is over.

Invariant: without a word of its command for so long it does nothing more; a fault ends this worker and
nothing else, since what it leaves is done by others, or fails at the command's own hands, too.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from engine.commands import hash_probe
from engine.commands.helpers import PART_BYTES, FilePart, Keeping, Numbered, Ready, Used
from engine.commands.run.dialling import Dial, Helps, LetIn, see_to_end
from engine.commands.run.processes import usage
from engine.errors import BackfillError, JobError, PermanentError
from engine.exits import Exit
from engine.frozen import dataclass
from engine.run.beats import HeadLink, Left
from engine.run.greeting import JobTold, Welcome, Work
from engine.run.link import Drain, Finished, Noted
from engine.run.stopping import stop_on_signals
from engine.run.voice import SaysNotices, Voice
from engine.run.wire import Language, SocketEnd
from engine.run.worker import describe
from engine.tasks import ended

log = logging.getLogger(__name__)

Asked = TypeVar("Asked", bound=Numbered)
Do = Callable[[Any], Awaitable[Any]]
"""Does an order, whose directory is one of this host."""


class CommandAfar:
    """The worker's end of a link to its command: takes orders, and asks back."""

    def __init__(self, wire: SocketEnd[Any, Any], silence_s: float) -> None:
        self._wire = wire
        self.head = HeadLink(wire, silence_s)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self.error: BackfillError | None = None
        """What has ended it."""

    def note(self, text: str) -> None:
        """Tell the command's user a sentence."""
        self._wire.send(Noted(text))

    async def ask_back(self, question: Asked) -> Any:
        """Ask something within an order, and return the answer."""
        answer = self._asked[question.number] = asyncio.get_running_loop().create_future()
        self._wire.send(question)
        return await answer

    async def work(self, do: Do) -> None:
        """Do what is asked until there is nothing more, the command is gone, or this worker has to leave."""
        tasks = set[asyncio.Task[None]]()
        async with self.head.alive():
            self._wire.send(Ready())
            try:
                while not isinstance(order := await self._next(), Drain | None):
                    tasks.add(task := asyncio.create_task(self._do(do, order)))
                    task.add_done_callback(tasks.discard)
            finally:
                await ended(*tasks)
        if self.head.leaving is not None and self.head.lost is None:
            self._wire.send(Left(self.head.leaving))

    async def _next(self) -> Any:
        while True:
            message: Any = await self.head.receive()
            number = None if message is None else getattr(message, "number", None)
            if (asked := self._asked.pop(number, None) if number is not None else None) is None:
                return message
            asked.set_result(message)

    async def _do(self, do: Do, order: Any) -> None:
        try:
            answer = await (self._kept(do, order) if isinstance(order, Keeping) else do(order))
        except Exception as fault:  # its own, until nobody else can do it either
            self._fail(describe(fault))
            return
        used = usage()
        self._wire.send(Used(used.cpu_s, used.peak_rss_bytes))
        self._wire.send(answer)

    def _fail(self, finished: Finished) -> None:
        assert finished.error is not None, "something has failed"
        log.debug("%s", finished.traceback)
        self.error = finished.error
        self.head.leave(str(finished.error))

    async def _kept(self, do: Do, order: Any) -> Any:
        """Do an order in a directory of this host, and send what is in there behind."""
        with TemporaryDirectory(prefix="backfill-") as folder:
            place = Path(folder, "order")
            answer = await do(replace(order, directory=str(place)))
            for name, data in _parts_of(place):
                self._wire.send(FilePart(order.number, name, data))
                await self._wire.room()
        return answer


def _parts_of(place: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what files hold, each with its name, a part at a time."""
    for path in place.iterdir():
        with path.open("rb") as file:
            while data := file.read(PART_BYTES):
                yield path.name, data


@dataclass(frozen=True, slots=True)
class Help:
    """What is done for a command. `what`: how it is called; `opened` opens what does orders.

    It takes the jobs as they are told, how they are to be found here, the command's first message, and the
    link to it.
    """

    what: str
    says: Language[Any]
    hears: Language[Any]
    opened: Callable[[Sequence[JobTold], Dial, Any, CommandAfar], AbstractAsyncContextManager[Do]]


def helps(work: Work) -> Helps:
    """Return what takes part in work that isn't a run; see dialling.join.

    It stands in a module of its command, which is loaded once it is called for.
    """
    return partial(help_afar, import_module(f"engine.commands.{work}.helping_afar").HELP)


async def _first_of(wire: SocketEnd[Any, Any]) -> Any:
    """Return the first message, if what it says of hashes holds here. Raises: JobError, PermanentError."""
    boot = await wire.receive()
    if boot is None:
        raise PermanentError("the worker has lost its runner before there was anything to do: dial in again")
    if boot.hashes != hash_probe.probe():
        raise JobError(
            "this host's processor is of another kind than the runner's, so that texts have other hashes"
            " here: take part from a host of the runner's kind"
        )
    return boot


async def help_afar(help_: Help, line: LetIn, told: Welcome, dial: Dial, say: Callable[[str], None]) -> Exit:
    """Help until the command is over. Raises: what ended the work; PermanentError: the command was lost."""
    wire: SocketEnd[Any, Any] = SocketEnd(line.reader, line.writer, says=help_.says, hears=help_.hears)
    command = CommandAfar(wire, told.silence_s)
    head = command.head
    stopping = "stopping: what was begun is done by others; once more stops at once"
    with stop_on_signals(
        lambda: head.leave("it was asked to stop"), Voice([SaysNotices(say)]), stopping
    ) as interrupted:
        try:
            async with AsyncExitStack() as stack:
                boot = await _first_of(wire)
                do = await stack.enter_async_context(help_.opened(told.jobs, dial, boot, command))
                say(f"taking part in {help_.what} at {dial.at}")
                await command.work(do)
        except Exception as fault:  # told to the command first
            error = describe(fault).error
            wire.send(Left(str(error)))
            if not isinstance(fault, ExceptionGroup):
                raise
            assert error is not None, "something has failed"
            raise error from fault
    if not interrupted.is_set():
        see_to_end(head, command.error, "dial in again when it is back")
        say(f"{help_.what} is over")
    return Exit.INTERRUPTED if interrupted.is_set() else Exit.DONE
