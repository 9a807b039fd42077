"""Whose fault refusals are: an item's, when others pass; the job's or the table's, when none does. Pure.

A refused item is held back until something else is written: then it is the item's own fault, and it becomes
a dead letter. While nothing passes, requests aren't taken apart to the last item: one item of each is tried,
the others are held with it. So many refusals without a success end the run, and none of what is held then
counts.

Invariant: what is held is unsettled, and comes back from `succeeded` or `idle` exactly once.
"""

from random import Random

from connectors.dynamodb.writing.loads import Lot
from engine.errors import TargetUnfit

DOUBT_REQUESTS = 8
"""So many requests refused with no success between them, and they aren't taken apart any more."""


class Refusals:
    """Refused lots and why, since the last success. `stop_after` None: however many, nothing is ended."""

    __slots__ = ("_held", "_probes", "_random", "_stop_after", "_table", "_thorough", "count", "requests")

    def __init__(self, table: str, stop_after: int | None, random: Random) -> None:
        self._random = random
        self._table = table
        self._stop_after = stop_after
        self._held: list[tuple[Lot, str]] = []
        self._probes: dict[Lot, int] = {}
        """Single items that are tried for a whole request, and how many items that had."""
        self._thorough = False
        self.requests = 0
        """Refused requests since the last success."""
        self.count = 0
        """Refused items since the last success, those of requests whose probe was refused included."""

    def refused(self, lot: Lot, detail: str) -> tuple[Lot, ...]:
        """Take in a refused lot, and return what is to be sent next to find out which items it is about.

        Raises: TargetUnfit when so many were refused that the items can't be to blame.
        """
        self.requests += 1
        if lot.items == 1:
            self._held.append((lot, detail))
            self.count += self._probes.pop(lot, 1)
            if self._stop_after is not None and self.count >= self._stop_after:
                raise TargetUnfit(
                    f"table {self._table} has refused {self.count} items one after the other and taken none"
                    f" ({detail}; target.stop_after_refusals is {self._stop_after}): mend the table, its"
                    " indexes or the rules, and run again, which tries them again"
                )
            return ()
        if self._thorough or self.requests <= DOUBT_REQUESTS or lot.items == 2:
            return lot.halves()
        # By chance, as bad items may lie in a pattern that any rule would miss.
        probe, rest = lot.one_and_rest(self._random.randrange(lot.items))
        self._held.append((rest, detail))
        self._probes[probe] = lot.items
        return (probe,)

    def succeeded(self) -> list[tuple[Lot, str]]:
        """Take in that something was written, and return what was held: single items are to blame."""
        self.count = self.requests = 0
        self._thorough = False
        self._probes.clear()
        held, self._held = self._held, []
        return held

    def idle(self) -> list[tuple[Lot, str]]:
        """Return what is held, as nothing else is left that might pass; lots are then taken apart whole."""
        held, self._held = self._held, []
        self._thorough = True
        self.count = max(0, self.count - sum(lot.items for lot, _ in held if lot.items > 1))
        return held
