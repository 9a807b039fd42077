"""SIGTERM as Ctrl-C: whatever a command is doing, it unwinds and leaves with 130 and a sentence.

Invariant: while a command runs, neither signal ends the process without its word. A run has handlers of its
own for as long as there is something to checkpoint, and puts these back afterwards.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

BOTH = (signal.SIGINT, signal.SIGTERM)

EXIT_INTERRUPTED = 130


def take() -> None:
    """Have SIGTERM do what SIGINT does at that moment: KeyboardInterrupt, or a cancelled event loop."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _as_interrupt)


def _as_interrupt(_: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    assert callable(handler), "somebody left SIGINT without a handler"
    handler(signal.SIGINT, frame)


@contextmanager
def held() -> Generator[None, None, None]:
    """Hold both back while modules are imported, and raise KeyboardInterrupt behind it if one came.

    Raised into an import it may come out as another error, or not at all.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread only
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in BOTH}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def interrupted() -> int:
    """Say that a signal ended the command, and return its exit code."""
    sys.stderr.write("backfill: interrupted; run the same command again\n")
    return EXIT_INTERRUPTED


def hurry(code: int) -> None:
    """Have both end the process at once with the exit code that it would leave with anyway.

    At its very end Python puts the default back, which would make up another code: there they change nothing.
    """

    def leave(_: int, __: FrameType | None) -> None:
        os._exit(code)

    def ignore() -> None:
        for number in BOTH:
            signal.signal(number, signal.SIG_IGN)

    for number in BOTH:
        signal.signal(number, leave)
    atexit.register(ignore)
