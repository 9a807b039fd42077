"""Helpers that are processes of this host: how they are started, watched and ended.

    async with helping(count, module, boot, languages, told, helpers):
        await carry_out(Todo(parts), own, helpers, asked)

Invariant: none outlives its command; one that is stopped or hangs is waited for, and that is told.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from engine.amounts import counted
from engine.commands.helpers import Answer, Helper, Helpers, Order
from engine.commands.run.processes import WorkerProcess, launched
from engine.commands.run.silence import silence_told
from engine.errors import PermanentError
from engine.run.wire import Language
from engine.tasks import ended


class HelperProcess(Helper[Order, Answer]):
    """A helper that is a process of this host."""

    def __init__(self, process: WorkerProcess[Any, Any], told: Callable[[str], None], cursors: int) -> None:
        super().__init__(process.link, told, cursors)
        self._process = process
        self._watching = asyncio.create_task(silence_told(process, "the helper process", self._waits, told))

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.process.pid

    async def end(self) -> None:
        """See that the process is gone."""
        await ended(self._watching)
        await super().end()
        await self._process.end()

    def _waits(self) -> str | None:
        if not self.asked:
            return None
        asked = counted(self.asked, "part")
        return f"what it was asked ({asked} of the work) waits for it, and is done by others if it is killed"


@asynccontextmanager
async def helping(
    count: int,
    module: str,
    boot: Callable[[], Awaitable[Any]],
    languages: tuple[Language[Any], Language[Any]],
    told: Callable[[str], None],
    helpers: Helpers[Any, Any],
) -> AsyncGenerator[None, None]:
    """Start processes that help, by a module's `serve` and what `boot` returns, and see that none is left.

    `languages`: what the command says, and what helpers do. Each reads by as many cursors as this process.
    Raises: PermanentError.
    """
    says, hears = languages
    async with AsyncExitStack() as stack:
        for _ in range(count):
            first = await boot()
            try:
                process = await launched(module, None, says=says, hears=hears)
            except OSError as error:
                raise PermanentError(
                    f"a helper can't be started ({error.strerror}): make room, or take fewer --workers"
                ) from error
            process.link.send(first)
            helper: HelperProcess[Any, Any] = HelperProcess(process, told, helpers.own)
            helpers.join(helper)
            stack.push_async_callback(helper.end)
        yield
