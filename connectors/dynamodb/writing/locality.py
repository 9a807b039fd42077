"""Tell a partition that is short of capacity from a table that is. Pure.

UnprocessedItems gives no reasons. But a table that is short rejects any item, one sent again as likely as a
fresh one; a partition that is short rejects the same items again and leaves the others alone. So rejections
that stick to their items aren't about the table's rate. The two sorts are compared within requests that hold
both: at another moment the table may have been short, or not.

Invariant: what is remembered is a few numbers.
"""

from collections import Counter

from connectors.dynamodb.writing.recent import Recent

STICKS = 4.0
"""Rejections stick where items sent again fare so many times worse than fresh ones."""

PROOF = 5
"""So many rejections of items sent again are needed to say that they stick."""

ALIKE = 2.0
ALIKE_PROOF = 8
DOUBT_MAX = 0.05
"""A hot key's neighbours are blamed first: for a share of rejections that isn't larger, until so many items
sent again fare so nearly alike."""

LOCAL_MAX = 0.25
"""A larger share of the fresh items isn't local, whatever it sticks to: a new table has four partitions."""


class Locality:
    """Counts what became of fresh items and of those sent again; items of known hot keys are left out."""

    def __init__(self, now: float) -> None:
        self._recent = Recent[Counter[str]](Counter, now)

    def observe(self, fresh: int, fresh_rejected: int, again: int, again_rejected: int, now: float) -> None:
        """Take in one answer: how many items of each sort it was about, and how many it rejected."""
        self._recent.turn(now)
        tally = self._recent.now
        tally["items"] += fresh + again
        tally["rejected"] += fresh_rejected + again_rejected
        if fresh and again:
            tally["fresh"] += fresh
            tally["fresh_rejected"] += fresh_rejected
            tally["again"] += again
            tally["again_rejected"] += again_rejected

    def local(self, now: float, *, suspected: bool) -> bool:
        """Say whether rejections concern some partitions only. `suspected`: a hot key is known."""
        self._recent.turn(now)
        seen = self._recent.now + self._recent.before
        if not suspected and seen["again_rejected"] < PROOF:
            return False
        if seen["fresh_rejected"] > LOCAL_MAX * seen["fresh"]:
            return False
        if suspected and seen["again"] < ALIKE_PROOF:
            return seen["rejected"] <= DOUBT_MAX * seen["items"]
        times = ALIKE if suspected else STICKS
        # Shares compared without a division: either sort may be missing.
        return seen["again_rejected"] * seen["fresh"] >= times * seen["fresh_rejected"] * seen["again"]
