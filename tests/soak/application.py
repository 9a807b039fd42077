"""An application that writes to a source all the time, in a thread of its own.

Invariant: while it rests no transaction of it is open; an error that isn't its own doing ends the seed.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

POLL_S = 0.03
REST_S = 60.0
"""Generous: within it every open transaction has ended."""
TURN_S = 0.1
"""What a writer rests between two turns: a target that is slow on a busy machine must come along, or a seed
spends its time with what is left of the bulk changes."""

Hurry = Callable[[], bool]
"""Whether to come to an end: whoever keeps a transaction open then ends it."""


class Writer(Protocol):
    """One client of the source's server."""

    async def open(self) -> None:
        """Connect."""

    async def once(self, hurry: Hurry) -> None:
        """Do one transaction, or whatever else an application does in one go."""

    async def close(self) -> None:
        """Disconnect."""


class Application:
    """All writers of a seed; a context manager."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self._writers = writers
        self._resting = self._ended = False
        self._busy: set[Writer] = set()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.turns = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._ended = True
        self._thread.join(REST_S)

    def rest(self) -> None:
        """Have no transaction open, and begin none."""
        self._resting = True
        deadline = time.monotonic() + REST_S
        while self._busy and self._fault is None:
            assert time.monotonic() < deadline, "the application doesn't come to rest"
            time.sleep(POLL_S)
        self.see()

    def wake(self) -> None:
        """Go on."""
        self._resting = False

    def see(self) -> None:
        """Raise what went wrong in it."""
        if self._fault is not None:
            raise self._fault

    def _hurried(self) -> bool:
        return self._resting or self._ended

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as fault:
            self._fault = fault

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            for writer in self._writers:
                group.create_task(self._write(writer))

    async def _write(self, writer: Writer) -> None:
        await writer.open()
        try:
            while not self._ended:
                self._busy.add(writer)
                if self._resting:
                    self._busy.discard(writer)
                else:
                    await writer.once(self._hurried)
                    self.turns += 1
                await asyncio.sleep(TURN_S)
        finally:
            self._busy.discard(writer)
            await writer.close()
