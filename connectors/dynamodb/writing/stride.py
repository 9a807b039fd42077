"""How much of a batch is begun before its first rows are settled: STRIDE_S of work at the speed seen. Pure.

Invariant: a batch that is larger than that is sent in groups of its rows, one after the other; within a group
the items stay spread over partition keys.
"""

STRIDE_S = 0.25
"""How much work one group is: what is acked out of order inside it is lost with a kill."""

ITEMS_START = 100
"""The group while nothing is known about the target yet, in items."""

SAMPLE_S = 0.25
"""How long the speed is measured before it is believed."""


class Stride:
    """The speed at which items are settled, and the group that follows from it.

    A slower speed is believed at once, a faster one by half.
    """

    def __init__(self, now: float) -> None:
        self._since = now
        self._busy_s = 0.0
        self._settled = 0
        self.due = now + SAMPLE_S
        """When to observe next."""
        self.items: float = ITEMS_START

    def observe(self, settled: int, now: float) -> None:
        """Take in how many items have been settled up to now, in all."""
        busy_s = self._busy_s + now - self._since
        items = (settled - self._settled) / max(busy_s, SAMPLE_S) * STRIDE_S
        self.items = items if items < self.items else (self.items + items) / 2
        self._settled, self._busy_s, self._since, self.due = settled, 0.0, now, now + SAMPLE_S

    def rest(self, now: float) -> None:
        """Take note that nothing is there to be sent: until `go_on` time says nothing about the target."""
        self._busy_s += now - self._since
        self._since = now

    def go_on(self, now: float) -> None:
        """Take note that there is work again."""
        self._since, self.due = now, now + SAMPLE_S - self._busy_s
