"""How a command ends, as its process says it: the contract's exit codes.

Invariant: of several jobs the code is the one that asks most of the user.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Protocol


class Exit(IntEnum):
    """What an exit code means, the same for every command."""

    DONE = 0
    FAILED = 1
    """Resumable where something was begun."""
    UNFIT = 2
    """The job file, the command line or the checkpoint doesn't fit; nothing was written."""
    DEAD_LETTERS = 3
    DIFFERENT = 4
    """Differences or losses were found."""
    INTERRUPTED = 130


GRAVEST_FIRST = (
    Exit.FAILED,
    Exit.INTERRUPTED,
    Exit.UNFIT,
    Exit.DIFFERENT,
    Exit.DEAD_LETTERS,
    Exit.DONE,
)


class Ended(Protocol):
    """The report of a command about one job."""

    @property
    def exit_code(self) -> int:
        """What the process would answer for this job alone."""


def exit_code(reports: Iterable[Ended], *, stopped: bool = False) -> int:
    """Return the exit code of several jobs. `stopped`: a signal has left some that weren't begun."""
    codes = [Exit(report.exit_code) for report in reports]
    if stopped:
        codes.append(Exit.INTERRUPTED)
    return min(codes, key=GRAVEST_FIRST.index, default=Exit.DONE)
