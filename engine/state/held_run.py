"""What a checkpoint store believes of its job: the latest run and its segments.

Invariant: it changes only once what it says is durable; a run is written only after it was begun or resumed.
"""

from collections.abc import Mapping
from dataclasses import field

from engine.contracts.state import RunState
from engine.frozen import dataclass
from engine.state import records
from engine.state.records import RunRecord, SegmentRecord


@dataclass(slots=True)
class HeldRun:
    """The run that a store holds, if there is any. `writing`: this process has begun or resumed it."""

    record: RunRecord | None = None
    segments: dict[int, SegmentRecord] = field(default_factory=dict)
    writing: bool = False

    @property
    def state(self) -> RunState | None:
        """The run as the contract gives it."""
        return None if self.record is None else records.whole(self.record, self.segments.values())

    @property
    def current(self) -> RunRecord:
        """The run that is being written."""
        assert self.writing, "begin or resume first"
        assert self.record is not None, "begin or resume first"
        return self.record

    def begun(self, record: RunRecord, segments: Mapping[int, SegmentRecord]) -> None:
        """Take in a new run that is durable."""
        self.record, self.segments, self.writing = record, dict(segments), True

    def to_resume(self) -> tuple[RunRecord, dict[int, SegmentRecord]]:
        """Return the run to go on with, and those of its segments that are read again from their start."""
        assert self.record is not None, "no run to go on with"
        assert not self.record.run.closed, f"run {self.record.run.run_id} is closed"
        assert not self.writing, f"run {self.record.run.run_id} is being written already"
        restarted = {
            number: records.restarted(segment)
            for number, segment in self.segments.items()
            if segment.unresumable
        }
        assert not restarted or len(self.segments) == 1, "a source without a key has one segment"
        return self.record, restarted

    def resumed(self) -> RunState:
        """Note that this process writes it now, and return it."""
        self.writing = True
        state = self.state
        assert state is not None, "no run to go on with"
        return state
