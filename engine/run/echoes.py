"""Sentences that several workers say of the same thing, such as a target that is away: told once.

Invariant: what one worker says again is told again.
"""

import time
from collections.abc import Callable

ECHO_S = 10.0
"""So long a sentence that another worker repeats is an echo."""


class Echoes:
    """Remembers who said what, and when. Units: seconds."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[int, float]] = {}

    def new(self, worker: int, text: str, now: float) -> bool:
        """Take in a sentence, and say whether it is to be told."""
        who, at = self._said.get(text, (worker, now))
        if who != worker and now - at < ECHO_S:
            return False
        self._said[text] = (worker, now)
        return True


class Once:
    """Tells a sentence that several say once, where nobody knows who says it."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._said: dict[str, float] = {}

    def __call__(self, text: str) -> None:
        """Tell it, unless it was told a moment ago."""
        now = self._clock()
        if now - self._said.get(text, -ECHO_S) >= ECHO_S:
            self._said[text] = now
            self._tell(text)
