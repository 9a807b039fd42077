"""Tell a partition that is short of capacity from a table that is. Pure.

UnprocessedItems gives no reasons. But a table that is short rejects any item, one sent again as likely as a
fresh one; a partition that is short rejects the same items again and leaves the others alone. So rejections
that stick to their items aren't about the table's rate. The two sorts are compared within requests that hold
both: at another moment the table may have been short, or not.

Invariant: what is remembered is a few numbers; they cover the last WINDOW_S to twice that.
"""

from dataclasses import dataclass

WINDOW_S = 2.0

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


@dataclass(slots=True)
class _Tally:
    items: int = 0
    rejected: int = 0
    fresh: int = 0
    fresh_rejected: int = 0
    again: int = 0
    again_rejected: int = 0
    """The last four of requests that held both sorts."""

    def __add__(self, other: "_Tally") -> "_Tally":
        return _Tally(
            self.items + other.items,
            self.rejected + other.rejected,
            self.fresh + other.fresh,
            self.fresh_rejected + other.fresh_rejected,
            self.again + other.again,
            self.again_rejected + other.again_rejected,
        )


class Locality:
    """Counts what became of fresh items and of those sent again; items of known hot keys are left out."""

    __slots__ = ("_now", "_since", "_was")

    def __init__(self, now: float) -> None:
        self._since = now
        self._now = _Tally()
        self._was = _Tally()

    def observe(self, fresh: int, fresh_rejected: int, again: int, again_rejected: int, now: float) -> None:
        """Take in one answer: how many items of each sort it was about, and how many it rejected."""
        self._turn(now)
        tally = self._now
        tally.items += fresh + again
        tally.rejected += fresh_rejected + again_rejected
        if fresh and again:
            tally.fresh += fresh
            tally.fresh_rejected += fresh_rejected
            tally.again += again
            tally.again_rejected += again_rejected

    def local(self, now: float, *, suspected: bool) -> bool:
        """Say whether rejections concern some partitions only. `suspected`: a hot key is known."""
        self._turn(now)
        if not suspected and self._now.again_rejected + self._was.again_rejected < PROOF:
            return False
        seen = self._now + self._was
        if seen.fresh_rejected > LOCAL_MAX * seen.fresh:
            return False
        if suspected and seen.again < ALIKE_PROOF:
            return seen.rejected <= DOUBT_MAX * seen.items
        times = ALIKE if suspected else STICKS
        # Shares compared without a division: either sort may be missing.
        return seen.again_rejected * seen.fresh >= times * seen.fresh_rejected * seen.again

    def _turn(self, now: float) -> None:
        """Begin a new window when the old one is over."""
        if now - self._since > WINDOW_S:
            self._was = _Tally() if now - self._since > 2 * WINDOW_S else self._now
            self._now, self._since = _Tally(), now
