"""Whose fault refusals are: an item's, when others pass; the job's or the table's, when none does. Pure.

A refused item is held back until something else is written: then it is the item's own fault, and it becomes
a dead letter. While nothing passes, requests aren't taken apart to the last item: one item of each is tried,
the others are held with it. So many refusals without a success end the run, and none of what is held then
counts.

Invariant: what is held is unsettled, and comes back from `succeeded` or `idle` exactly once.
"""

from random import Random

from connectors.dynamodb.writing.request_builder import RequestBuilder
from connectors.dynamodb.writing.requests import ItemSpan, Request
from connectors.dynamodb.writing.settings import WriterSettings
from engine.batch import DeadLetter, source_key_of
from engine.errors import TargetUnfit

DOUBT_REQUESTS = 8
"""So many requests refused with no success between them, and they aren't taken apart any more."""


class Refusals:
    """Refused requests and why, since the last success. `stop_after` None: however many, nothing is ended."""

    def __init__(self, table: str, stop_after: int | None, random: Random) -> None:
        self._random = random
        self._table = table
        self._stop_after = stop_after
        self._held: list[tuple[Request, str]] = []
        self._probes: dict[Request, int] = {}
        """Single items that are tried for a whole request, and how many items that had."""
        self._thorough = False
        self.requests = 0
        """Refused requests since the last success."""
        self.count = 0
        """Refused items since the last success, those of requests whose probe was refused included."""

    def refused(self, request: Request, detail: str) -> tuple[Request, ...]:
        """Take in a refused request, and return what is to be sent next to find out which items it is about.

        Raises: TargetUnfit when so many were refused that the items can't be to blame.
        """
        self.requests += 1
        if request.items == 1:
            self._held.append((request, detail))
            self.count += self._probes.pop(request, 1)
            if self._stop_after is not None and self.count >= self._stop_after:
                raise TargetUnfit(
                    f"table {self._table} has refused {self.count} items one after the other and taken none"
                    f" ({detail}; target.stop_after_refusals is {self._stop_after}): mend the table, its"
                    " indexes or the rules, and run again, which tries them again"
                )
            return ()
        if self._thorough or self.requests <= DOUBT_REQUESTS or request.items == 2:
            return request.halves()
        # By chance, as bad items may lie in a pattern that any rule would miss.
        probe, rest = request.one_and_rest(self._random.randrange(request.items))
        self._held.append((rest, detail))
        self._probes[probe] = request.items
        return (probe,)

    def succeeded(self) -> list[tuple[Request, str]]:
        """Take in that something was written, and return what was held: single items are to blame."""
        self.count = self.requests = 0
        self._thorough = False
        self._probes.clear()
        held, self._held = self._held, []
        return held

    def idle(self) -> list[tuple[Request, str]]:
        """Return what is held, as nothing is left that might pass; requests are taken apart whole then."""
        held, self._held = self._held, []
        self._thorough = True
        self.count = max(0, self.count - sum(request.items for request, _ in held if request.items > 1))
        return held


def letter_of(item: ItemSpan, detail: str, settings: WriterSettings, builder: RequestBuilder) -> DeadLetter:
    """Return the dead letter of an item that the target refuses for good."""
    encoded, index = item.batch.encoded, item.start
    return DeadLetter(
        rule=settings.rules[int(encoded.rules[index])],
        reason="rejected_by_target",
        detail=detail,
        source_key=source_key_of(encoded.batch, settings.source_key, item.batch.row(index)),
        item_json=builder.item_json(encoded, index),
    )
