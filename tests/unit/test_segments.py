"""A segment that lost its reader is read on once, from behind all that counts."""

from engine.batch import Counts, Cursor, Mark, Segment
from engine.run.segments import Segments
from tests.unit.test_coordinator import run_state


def mark(number: int, end: str | None, rows: int, *, done: bool = False) -> Mark:
    return Mark(number, None if end is None else Cursor((end,)), Counts(rows_read=rows), (), done)


def test_a_returned_segment_is_the_next_one_and_goes_on_behind_its_last_durable_mark() -> None:
    segments = Segments(run_state(range(3)))
    assert segments.next().segment == Segment(0, None, None, None)  # type: ignore[union-attr]
    first = mark(0, "10", 10)
    segments.gathered(first)
    segments.kept([first])
    assert segments.can_return([0])
    segments.returned([0])
    assert segments.tally.pending == 3
    again = segments.next()
    assert again is not None
    assert (again.segment.number, again.end) == (0, Cursor(("10",)))


def test_a_returned_segment_waits_for_its_last_marks_to_be_durable() -> None:
    segments = Segments(run_state([0]))
    segments.next()
    last = mark(0, "10", 10)
    segments.gathered(last)
    segments.returned([0])
    assert segments.next() is None, "read again from its start, ten rows would count twice"
    assert segments.pending
    segments.kept([last])
    again = segments.next()
    assert again is not None
    assert again.end == Cursor(("10",))


def test_others_go_before_one_that_waits_for_its_marks() -> None:
    segments = Segments(run_state(range(2)))
    segments.next()
    segments.gathered(mark(0, "10", 10))
    segments.returned([0])
    other = segments.next()
    assert other is not None
    assert other.segment.number == 1


def test_what_was_counted_of_a_source_without_a_key_can_not_return() -> None:
    segments = Segments(run_state(range(2)))
    segments.next()
    segments.next()
    assert segments.can_return([0, 1]), "nothing was counted yet"
    segments.gathered(mark(0, None, 10))
    assert not segments.can_return([0, 1])
    assert segments.can_return([1])
