"""How a run takes SIGINT, SIGTERM and SIGHUP while there is something to checkpoint.

Invariant: whoever handled them before does so again afterwards.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

from engine.report import EXIT_CODES, INTERRUPTED


@contextmanager
def stop_on_signals(
    stop: Callable[[], None], note: Callable[[str], None], break_off: Callable[[str], None]
) -> Generator[asyncio.Event, None, None]:
    """Turn the first signal into a stop with a checkpoint, the second into an exit at once.

    `break_off` is told why just before that exit. Yields an event that is set once the first has come.
    """
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if interrupted.is_set():
            break_off("stopped at once; run again to go on from the checkpoint")
            os._exit(EXIT_CODES[INTERRUPTED])  # what isn't checkpointed is done again; workers end with us
        interrupted.set()
        note("stopping: finishing what is in flight; once more stops at once")
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
