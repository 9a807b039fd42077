"""Which segments are still to be read, and how far each one is durable. Pure.

Invariant: a segment is handed out once; what counts is what a checkpoint has made durable.
"""

from collections import deque
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
        self._pending = deque(state for state in run.segments if not state.done)
        self._running: set[int] = set()

    def next(self) -> SegmentState | None:
        """Hand out the next one, with where reading goes on; None when all are handed out."""
        if not self._pending:
            return None
        state = self._pending.popleft()
        self._running.add(state.segment.number)
        return state

    def kept(self, marks: Iterable[Mark]) -> None:
        """Enter marks that are durable. Ordering: those of one segment as its ledger gave them."""
        for mark in marks:
            self._states[mark.segment] = replace(self._states[mark.segment], end=mark.end, done=mark.done)
            self.counts += mark.counts
            if mark.done:
                self._running.discard(mark.segment)

    @property
    def done(self) -> bool:
        """Whether every segment is done and durable, every item accounted for."""
        return all(state.done for state in self._states.values()) and self.counts.balanced

    @property
    def tally(self) -> SegmentTally:
        """How many there are of each state."""
        complete = sum(state.done for state in self._states.values())
        return SegmentTally(len(self._states), len(self._pending), len(self._running), complete)
