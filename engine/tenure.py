"""Until when this process may write: the end of its job's lease, as far as it has heard.

Invariant: whoever sends asks right before the bytes leave, by a clock that runs while the process, or its
whole machine, is stopped; an end that has passed lets nothing through until a later one is heard.
"""

from collections.abc import Callable

from engine.clock import boot_s
from engine.errors import PermanentError, TransientError

NEVER = float("inf")


class LeaseOver(TransientError):
    """The lease has ended, and nobody has said yet whether it goes on: nothing may be sent."""


class Tenure:
    """The right to write, and its end. Units: seconds by `clock`, the same for all processes of a machine.

    Without an end it lasts as long as the process: a lock that the kernel gives back needs no clock.
    """

    __slots__ = ("clock", "end_s", "lost")

    def __init__(self, end_s: float = NEVER, clock: Callable[[], float] = boot_s) -> None:
        self.clock = clock
        self.end_s = end_s
        self.lost: str | None = None
        """Why it will never go on, once that is known."""

    def __repr__(self) -> str:
        how = f"lost: {self.lost}" if self.lost else f"{self.end_s - self.clock():.1f} s left"
        return f"<Tenure {how}>"

    @property
    def held(self) -> bool:
        """Whether something may be sent now."""
        return self.clock() < self.end_s

    def prove(self) -> None:
        """Let the caller go on only while something may be sent.

        Raises: LeaseOver; PermanentError when the lease is lost for good.
        """
        if self.clock() >= self.end_s:
            if self.lost is not None:
                raise PermanentError(self.lost)
            raise LeaseOver("the job's lease has ended: nothing is sent until it is renewed")

    def until(self, end_s: float) -> None:
        """Take in a renewal. What is lost stays lost."""
        if self.lost is None:
            self.end_s = end_s

    def lose(self, why: str) -> None:
        """End it for good. Another process may be writing already."""
        self.lost = self.lost or why
        self.end_s = -NEVER
