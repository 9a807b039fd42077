"""What a checkpoint store keeps: one record for the run, one for each segment, as sealed JSON text.

Invariant: a record changes only forward, and a text that was altered or cut never becomes a record. Pure;
both stores (SQLite and DynamoDB) keep these texts and nothing else, so that both resume alike.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from hashlib import blake2b
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from engine.batch import Counts, Cursor, Effort, Mark, Segment
from engine.contracts.state import RunState, SegmentState
from engine.frozen import dataclass

STATE_VERSION = 1
"""Version of the records' shape; a store with a higher one was written by a newer backfill."""

_SEAL_BYTES = 16

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One segment of the current run.

    `version` counts its changes; dead letters of the versions up to `restarted_at` don't count, because the
    segment was read again from its start.
    """

    segment: Segment
    end: Cursor | None = None
    done: bool = False
    counts: Counts = field(default_factory=Counts)
    dead_letters_by_reason: Mapping[str, int] = field(default_factory=dict)
    version: int = 0
    restarted_at: int = 0

    @property
    def unresumable(self) -> bool:
        """Whether rows were counted that will be read again, because the source has no key."""
        return not self.done and self.end is None and self.counts != Counts()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The run without its segments.

    Shape: `run` has no segments; its counts are filled when the run is closed. `effort_before` is what
    earlier processes spent. `letters_base` and `letters_end` are the dead-letter file's length in bytes when
    the run began and now. `letters_of` are the runs whose dead letters are in force, oldest first.
    """

    run: RunState
    segments_total: int
    effort_before: Effort = field(default_factory=Effort)
    letters_base: int = 0
    letters_end: int = 0
    letters_of: tuple[str, ...] = ()


class Damaged(Exception):
    """A text isn't what was sealed; the store makes a JobError of it that names the place."""


def begun(run: RunState, *, letters_base: int, letters_of: tuple[str, ...]) -> RunRecord:
    """Return the record of a run that starts."""
    assert run.outcome is None, f"run {run.run_id} begins with the outcome {run.outcome}"
    assert run.counts == Counts(), f"run {run.run_id} begins with counts"
    numbers = [state.segment.number for state in run.segments]
    assert len(set(numbers)) == len(numbers), f"run {run.run_id} has a segment number twice"
    bare = replace(run, segments=(), effort=Effort())
    return RunRecord(bare, len(run.segments), Effort(), letters_base, letters_base, letters_of)


def segments_of(run: RunState) -> dict[int, SegmentRecord]:
    """Return the records of the segments that a run starts with."""
    return {
        state.segment.number: SegmentRecord(state.segment, state.end, state.done) for state in run.segments
    }


def advanced(records: Mapping[int, SegmentRecord], marks: Iterable[Mark]) -> dict[int, SegmentRecord]:
    """Return the records that marks change, as they are after them; a step backwards is a bug.

    Ordering: the marks of one segment in the order in which its ledger gave them.
    """
    changed: dict[int, SegmentRecord] = {}
    for mark in marks:
        assert mark.segment in records, f"a mark of segment {mark.segment}, which the run doesn't have"
        changed[mark.segment] = _settled(changed.get(mark.segment, records[mark.segment]), mark)
    return changed


def _settled(record: SegmentRecord, mark: Mark) -> SegmentRecord:
    number = record.segment.number
    assert not record.done, f"segment {number} is done, and another mark came"
    assert mark.end is not None or record.end is None, f"segment {number} would go back to its start"
    assert mark.counts.balanced, f"a mark of segment {number} doesn't balance: {mark.counts}"
    assert mark.counts.items_dead_lettered == len(mark.dead_letters), (
        f"a mark of segment {number} counts {mark.counts.items_dead_lettered} dead letters"
        f" and carries {len(mark.dead_letters)}"
    )
    assert mark.end is None or mark.end != record.end or mark.counts == Counts(), (
        f"segment {number} counts rows without an advance"
    )
    by_reason = Counter(record.dead_letters_by_reason)
    by_reason.update(letter.reason for letter in mark.dead_letters)
    return replace(
        record,
        end=mark.end,
        done=mark.done,
        counts=record.counts + mark.counts,
        dead_letters_by_reason=dict(by_reason),
        version=record.version + 1,
    )


def spent(record: RunRecord, effort: Effort) -> RunRecord:
    """Return the run with what this process has spent so far."""
    return replace(record, run=replace(record.run, effort=record.effort_before + effort))


def with_letters(record: RunRecord, letters_end: int) -> RunRecord:
    """Return the run with the dead-letter file's new length. Units: bytes."""
    return replace(record, letters_end=letters_end)


def resumed(record: RunRecord) -> RunRecord:
    """Return an unfinished run that goes on in another process."""
    run = replace(
        record.run, interruptions=record.run.interruptions + 1, outcome=None, finished_at=None, error=None
    )
    return replace(record, run=run, effort_before=record.run.effort)


def restarted(record: SegmentRecord) -> SegmentRecord:
    """Return a segment that is read again from its start."""
    version = record.version + 1
    return SegmentRecord(record.segment, version=version, restarted_at=version)


def ended(
    record: RunRecord,
    segments: Mapping[int, SegmentRecord],
    outcome: str,
    finished_at: str,
    error: str | None,
    watermark: str | None = None,
) -> RunRecord:
    """Return the run with how it ended; a run that lost something can't end `complete…`."""
    assert not record.run.closed, f"run {record.run.run_id} is closed already"
    run = replace(whole(record, segments.values()), segments=())
    closing = replace(
        run,
        outcome=outcome,
        finished_at=finished_at,
        error=error,
        watermark=run.watermark if watermark is None else watermark,
    )
    if closing.closed:
        undone = [number for number, segment in segments.items() if not segment.done]
        assert not undone, f"run {run.run_id} can't be {outcome}: segments {undone[:10]} aren't done"
        assert run.counts.balanced, f"run {run.run_id} can't be {outcome}: {run.counts} doesn't balance"
        lettered = run.counts.items_dead_lettered > 0
        assert (outcome == "complete") != lettered, f"{outcome} with {run.counts}"
    return replace(record, run=closing)


def whole(record: RunRecord, segments: Iterable[SegmentRecord]) -> RunState:
    """Return the run with its segments and their sums."""
    counts = Counts()
    by_reason: Counter[str] = Counter()
    states = []
    for segment in sorted(segments, key=lambda each: each.segment.number):
        counts += segment.counts
        by_reason.update(segment.dead_letters_by_reason)
        states.append(SegmentState(segment.segment, segment.end, segment.done))
    return replace(record.run, segments=tuple(states), counts=counts, dead_letters_by_reason=dict(by_reason))


def checked(record: RunRecord, segments: Sequence[SegmentRecord]) -> dict[int, SegmentRecord]:
    """Return the segments by number. Raises: Damaged when they aren't the run's."""
    by_number = {segment.segment.number: segment for segment in segments}
    if len(by_number) != len(segments) or len(segments) != record.segments_total:
        raise Damaged(f"{len(segments)} segments, not {record.segments_total}")
    if record.run.closed and whole(record, segments).counts != record.run.counts:
        raise Damaged("the segments' counts don't add up to the run's")
    return by_number


_RUN: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)
_SEGMENT: TypeAdapter[SegmentRecord] = TypeAdapter(SegmentRecord)


def run_text(record: RunRecord) -> str:
    """Return the text to keep of a run."""
    return _sealed(_RUN.dump_json(record))


def segment_text(record: SegmentRecord) -> str:
    """Return the text to keep of a segment."""
    return _sealed(_SEGMENT.dump_json(record))


def read_run(text: Any) -> RunRecord:
    """Return the run of a kept text. Raises: Damaged."""
    return _unsealed(text, _RUN)


def read_segment(text: Any) -> SegmentRecord:
    """Return the segment of a kept text. Raises: Damaged."""
    return _unsealed(text, _SEGMENT)


def _sealed(body: bytes) -> str:
    """Put a digest before the body: a flipped bit in a cursor would otherwise skip rows in silence."""
    return f"{blake2b(body, digest_size=_SEAL_BYTES).hexdigest()} {body.decode()}"


def _unsealed(text: Any, adapter: TypeAdapter[_R]) -> _R:
    if not isinstance(text, str):
        raise Damaged(f"a record is {type(text).__name__}, not text")
    seal, _, body = text.partition(" ")
    if seal != blake2b(body.encode(), digest_size=_SEAL_BYTES).hexdigest():
        raise Damaged("a record isn't what was written")
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise Damaged("a record has another shape") from error
