"""Processes that are stopped in the middle of a command, and wake when the command has told of it."""

import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from engine.commands.run import silence

WAKES_ANYWAY_S = 120.0
"""A command that never tells of a stopped process would wait for good, and the test with it."""


@dataclass
class Sleepers:
    """Those that were stopped, and what was told of them."""

    stopped: list[int] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def stop(self, pid: int) -> None:
        """Stop one, for once."""
        if pid not in self.stopped:
            self.stopped.append(pid)
            os.kill(pid, signal.SIGSTOP)

    def hear(self, text: str) -> None:
        """Wake one of which it is told that it says nothing."""
        found = re.search(r"process (\d+) has said nothing for", text)
        if found is not None:
            self.told.append(text)
            os.kill(int(found[1]), signal.SIGCONT)

    def hearing(self, tell: Callable[..., None]) -> Callable[..., None]:
        """Return what tells, and hears."""

        def told(*given: object) -> None:
            tell(*given)
            self.hear(str(given[-1]))

        return told

    def wake(self) -> None:
        """Wake all."""
        for pid in self.stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def sleepers(patch: pytest.MonkeyPatch) -> Iterator[Sleepers]:
    """Have silence be told soon."""
    patch.setattr(silence, "SILENT_S", 0.2)
    patch.setattr(silence, "LOOKED_EVERY_S", 0.02)
    found = Sleepers()
    anyway = threading.Timer(WAKES_ANYWAY_S, found.wake)
    anyway.start()
    try:
        yield found
    finally:
        anyway.cancel()
        found.wake()
