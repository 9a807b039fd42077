"""SIGTERM and SIGHUP as Ctrl-C: whatever a command is doing, it unwinds and leaves with 130 and a sentence.

Invariant: while a command runs, none of these signals ends the process without its word. A run has handlers
of its own for as long as there is something to checkpoint, and puts these back afterwards.
"""

import atexit
import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from engine.exits import Exit

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a command to end: Ctrl-C, a supervisor, a terminal that is closed."""


def take() -> None:
    """Have the others do what SIGINT does at that moment: KeyboardInterrupt, or a cancelled event loop.

    A SIGHUP that is ignored stays so: that is what nohup asks for.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _as_interrupt)
    signal.signal(signal.SIGTERM, _as_interrupt)


def _heard() -> tuple[signal.Signals, ...]:
    return tuple(number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN)


def _as_interrupt(_: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    assert callable(handler), "somebody left SIGINT without a handler"
    handler(signal.SIGINT, frame)


@contextmanager
def held() -> Generator[None, None, None]:
    """Hold them back while modules are imported, and raise KeyboardInterrupt behind it if one came.

    Raised into an import it may come out as another error, or not at all.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread only
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in _heard()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def interrupted() -> int:
    """Say that a signal ended the command, and return its exit code."""
    from engine.show import lines  # not before signals are taken

    said = "interrupted; run the same command again"
    lines.tell(said, text=f"backfill: {said}", level="warning", event="interrupted")
    return Exit.INTERRUPTED


def hurry(code: int) -> None:
    """Have them end the process at once with the exit code that it would leave with anyway.

    At its very end Python puts the default back, which would make up another code: there they change nothing.
    """

    def leave(_: int, __: FrameType | None) -> None:
        os._exit(code)

    def ignore() -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)

    for number in _heard():
        signal.signal(number, leave)
    atexit.register(ignore)
