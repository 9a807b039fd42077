"""Sentences that several workers say of the same thing, such as a target that is away: told once. Pure.

Invariant: what one worker says again is told again.
"""

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
