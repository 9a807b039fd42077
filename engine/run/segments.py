"""Which segments are still to be read, and how far each one is durable. Pure.

Invariant: a segment has one reader at a time; one that lost its reader is read on from behind its last
durable mark, and not before every mark that came of it is durable; only what is durable counts.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace

from engine.batch import Mark
from engine.contracts.state import RunState, SegmentState
from engine.events import SegmentTally


class Segments:
    """The segments of one run, and the counts of what is durable of them."""

    def __init__(self, run: RunState) -> None:
        self.counts = run.counts
        self._states = {state.segment.number: state for state in run.segments}
        self._pending = deque(number for number, state in self._states.items() if not state.done)
        self._running: set[int] = set()
        self._unkept: Counter[int] = Counter()
        """Marks by segment that no checkpoint has made durable yet."""
        self._keyless: set[int] = set()
        """Segments of which marks came that nothing can be read on from (a source without a key)."""

    def next(self) -> SegmentState | None:
        """Hand out the next one, with where reading goes on; None when none can be handed out now."""
        for at, number in enumerate(self._pending):
            if not self._unkept[number]:
                del self._pending[at]
                self._running.add(number)
                return self._states[number]
        return None

    def gathered(self, mark: Mark) -> None:
        """Take note of a mark that waits for its checkpoint."""
        self._unkept[mark.segment] += 1
        if mark.end is None and not mark.done:
            self._keyless.add(mark.segment)

    def kept(self, marks: Iterable[Mark]) -> None:
        """Enter marks that are durable. Ordering: those of one segment as its ledger gave them."""
        for mark in marks:
            self._unkept[mark.segment] -= 1
            self._states[mark.segment] = replace(self._states[mark.segment], end=mark.end, done=mark.done)
            self.counts += mark.counts
            if mark.done:
                self._running.discard(mark.segment)

    def can_return(self, numbers: Iterable[int]) -> bool:
        """Whether these can be read on by another reader within this run."""
        return self._keyless.isdisjoint(numbers)

    def returned(self, numbers: Iterable[int]) -> None:
        """Take back segments whose reader is gone: they are the next ones."""
        for number in sorted(numbers, reverse=True):
            self._running.discard(number)
            self._pending.appendleft(number)

    @property
    def pending(self) -> bool:
        """Whether some are to be handed out, now or once their marks are durable."""
        return bool(self._pending)

    @property
    def done(self) -> bool:
        """Whether every segment is done and durable, every item accounted for."""
        return all(state.done for state in self._states.values()) and self.counts.balanced

    @property
    def states(self) -> tuple[SegmentState, ...]:
        """How each one stands, as far as it is durable."""
        return tuple(self._states.values())

    @property
    def tally(self) -> SegmentTally:
        """How many there are of each state."""
        complete = sum(state.done for state in self._states.values())
        return SegmentTally(len(self._states), len(self._pending), len(self._running), complete)
