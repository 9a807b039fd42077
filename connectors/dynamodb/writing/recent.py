"""What was counted lately: a window that is filling up, and the one before it. Pure.

Invariant: together they cover the last WINDOW_S to twice that.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

WINDOW_S = 2.0


class Recent(Generic[T]):
    """Two windows of one sort of tally."""

    def __init__(self, empty: Callable[[], T], now: float) -> None:
        self._empty = empty
        self._since = now
        self.now, self.before = empty(), empty()

    def turn(self, now: float) -> None:
        """Begin a new window when the old one is over."""
        if now - self._since > WINDOW_S:
            self.before = self._empty() if now - self._since > 2 * WINDOW_S else self.now
            self.now, self._since = self._empty(), now
