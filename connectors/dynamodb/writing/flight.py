"""Which requests hold a place in flight: those that are out, but for the ones that the others have overtaken.

A request whose answer is lost or late keeps nobody else from being sent: where a few of a hundred stay out
for seconds, they would soon hold every place.

Invariant: where none ends, none is overtaken.
"""

OVERTAKEN = 4
"""A request is overtaken once so many times the limit have ended since it was sent."""


class Flight:
    """Counts the requests that are out and hold a place."""

    def __init__(self) -> None:
        self._sent = self._ended = 0
        self.holding: dict[int, int] = {}
        """By a request's number, in the order of sending: how many had ended before."""

    def full(self, limit: int) -> bool:
        """Say whether `limit` places are held, after taking those of the overtaken, which are the oldest."""
        while len(self.holding) >= limit:
            number, ended_before = next(iter(self.holding.items()))
            if self._ended - ended_before < OVERTAKEN * limit:
                return True
            del self.holding[number]
        return False

    def sent(self) -> int:
        """Take in a request that goes out and return its number."""
        self._sent += 1
        self.holding[self._sent] = self._ended
        return self._sent

    def ended(self, number: int) -> None:
        """Take in that a request is out no more."""
        if self.holding.pop(number, None) is not None:
            self._ended += 1

    def give_up(self) -> None:
        """Wait for none of those that are out: the target seems to be away, and they with it."""
        self.holding.clear()
