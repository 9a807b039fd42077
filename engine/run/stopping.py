"""How a run takes SIGINT, SIGTERM and SIGHUP while there is something to checkpoint.

Invariant: whoever handled them before does so again afterwards.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from engine.report import EXIT_CODES, INTERRUPTED
from engine.run.voice import Voice
from engine.tasks import ended

T = TypeVar("T")

STOPPING = "stopping: finishing what is in flight; once more stops at once"

Stops = Callable[[Callable[[], None], Voice], AbstractContextManager[asyncio.Event]]
"""What tells a run to stop, and gives an event that is set once it has; see `stop_on_signals`."""


class StopTogether:
    """Stops all runs that hear of it, and one that begins to hear later at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._hearing: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Have all of them stop."""
        self.asked.set()
        for stop in self._hearing:
            stop()

    @contextmanager
    def heard(self, stop: Callable[[], None], _: Voice) -> Generator[asyncio.Event, None, None]:
        """Let a run hear; see Stops."""
        self._hearing.append(stop)
        try:
            if self.asked.is_set():
                stop()
            yield self.asked
        finally:
            self._hearing.remove(stop)

    async def carried(self, run: Callable[[Stops], Coroutine[Any, Any, T]]) -> T | None:
        """Carry out what hears of a stop by what it is given; None where one comes before it hears of any.

        Then it has nothing to checkpoint, and is broken off.
        """
        heard = False

        @contextmanager
        def hearing(stop: Callable[[], None], voice: Voice) -> Generator[asyncio.Event, None, None]:
            nonlocal heard
            heard = True
            with self.heard(stop, voice) as asked:
                yield asked

        going_on, asked = asyncio.create_task(run(hearing)), asyncio.create_task(self.asked.wait())
        try:
            await asyncio.wait({going_on, asked}, return_when=asyncio.FIRST_COMPLETED)
            if going_on.done() or heard:
                return await going_on
            return None
        finally:
            await ended(asked, going_on)


@contextmanager
def stop_on_signals(
    stop: Callable[[], None], voice: Voice, stopping: str = STOPPING
) -> Generator[asyncio.Event, None, None]:
    """Turn the first signal into a stop with a checkpoint, which is said, the second into an exit at once.

    `voice` tells why just before that exit. Yields an event that is set once the first has come.
    """
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if interrupted.is_set():
            voice.break_off("stopped at once; run again to go on from the checkpoint")
            os._exit(EXIT_CODES[INTERRUPTED])  # what isn't checkpointed is done again; workers end with us
        interrupted.set()
        voice.say(stopping)
        stop()

    handled = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in handled.items() if handler != signal.SIG_IGN}
    for number in before:
        loop.add_signal_handler(number, on_signal)
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
