"""Something outside that is away: told once for all who wait for it, and once more when it is back.

Invariant: what fails for a moment is nobody's news; who goes on while others still wait doesn't call it back.
"""

from collections.abc import Callable
from weakref import WeakSet

TOLD_AFTER_S = 3.0
"""A connection that was lost is made anew in less; what lasts longer somebody wants to know."""


class Absence:
    """Whether one thing is away, by those who try to reach it side by side.

    `gone` and `back` are what is told: `gone` of an `error`, of which the next step is left out.
    Who fails by an error of the types `answers` has reached it all the same.
    """

    def __init__(
        self,
        gone: str,
        back: str,
        tell: Callable[[str], None],
        answers: tuple[type[Exception], ...] = (),
    ) -> None:
        self._gone = gone
        self._back = back
        self._tell = tell
        self._answers = answers
        self._waiting: WeakSet[object] = WeakSet()
        self._told = False

    def failed(self, who: object, error: Exception, for_s: float) -> None:
        """Take in that somebody has failed, and nothing else, for so many seconds."""
        if isinstance(error, self._answers):
            self.succeeded(who)
        elif for_s >= TOLD_AFTER_S:
            self._miss(who, error)

    def _miss(self, who: object, error: Exception) -> None:
        self._waiting.add(who)
        if not self._told:
            self._told = True
            self._tell(self._gone.format(error=str(error).partition(";")[0]))

    def succeeded(self, who: object) -> None:
        """Take in that somebody has reached it."""
        self._waiting.discard(who)
        if self._told and not self._waiting:
            self._told = False
            self._tell(self._back)
