"""A prefix that is too long loses rows; one that is too short only does them again."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.batch import DELETED, OPEN, REFUSED, SKIPPED, WRITTEN, Counts, Cursor, EncodedBatch, Fates
from engine.state.prefix import settled_prefix
from tests.support.states import a_batch, a_letter, items_of


@dataclass
class Everywhere:
    """A source that can go on between any two rows, but not inside `groups`."""

    inside: frozenset[int] = frozenset()

    def before(self, row: int) -> tuple[int, Cursor] | None:
        while row in self.inside:
            row -= 1
        return (row, Cursor((str(row - 1),))) if row > 0 else None


def encoded(rows: int, *, inside: frozenset[int] = frozenset(), **columns: list[int]) -> EncodedBatch:
    batch = replace(a_batch(0, str(rows - 1), rows=rows), cuts=Everywhere(inside))
    letters = [a_letter(str(row)) for row in columns.get("letter_rows", [])]
    made = items_of(batch, 0, letters=letters)
    return replace(made, **{name: np.array(values, np.uint32) for name, values in columns.items()})


def fates(found: list[tuple[int, int]]) -> Fates:
    letters = tuple((row, a_letter(f"t{row}")) for row, fate in found if fate == REFUSED)
    rows, ends = zip(*found, strict=True)
    return Fates(np.array(rows, np.uint32), np.array(ends, np.uint8), letters)


def test_it_ends_before_the_first_row_with_an_open_item() -> None:
    found = settled_prefix(
        encoded(6), fates([(0, WRITTEN), (5, WRITTEN), (1, DELETED), (3, OPEN), (2, SKIPPED), (2, REFUSED)])
    )
    assert found is not None
    assert (found.rows, found.end) == (3, Cursor(("2",)))
    assert found.counts == Counts(
        rows_read=3,
        items_emitted=4,
        items_written=1,
        items_deleted=1,
        items_skipped=1,
        items_dead_lettered=1,
    )
    assert [letter.source_key["id"] for letter in found.dead_letters] == ["t2"]


def test_what_was_never_to_be_sent_counts_with_its_row() -> None:
    items = encoded(6, letter_rows=[1, 4], skipped_rows=[0, 3], coalesced_rows=[1], survivor_rows=[2])
    found = settled_prefix(items, fates([(2, WRITTEN), (3, OPEN)]))
    assert found is not None
    assert found.counts == Counts(3, 4, items_written=1, items_skipped=1, items_coalesced=1,
                                  items_dead_lettered=1)  # fmt: skip


def test_a_row_is_not_covered_before_the_row_that_its_item_was_left_out_for() -> None:
    """Killed here, and the later row deleted before the resume: the key would be in neither."""
    items = encoded(6, coalesced_rows=[1], survivor_rows=[4])
    found = settled_prefix(items, fates([(0, WRITTEN), (2, WRITTEN), (3, WRITTEN), (4, OPEN)]))
    assert found is not None
    assert found.rows == 1


def test_it_ends_where_the_source_can_go_on() -> None:
    found = settled_prefix(encoded(6, inside=frozenset({3, 4})), fates([(0, WRITTEN), (4, OPEN)]))
    assert found is not None
    assert (found.rows, found.end) == (2, Cursor(("1",)))


def test_there_is_none_without_a_place_to_go_on_or_a_settled_row() -> None:
    assert settled_prefix(encoded(3, inside=frozenset({1, 2})), fates([(2, OPEN)])) is None
    assert settled_prefix(encoded(3), fates([(0, OPEN), (1, WRITTEN)])) is None
    without = replace(encoded(3), batch=a_batch(0, None))
    assert settled_prefix(without, fates([(2, OPEN)])) is None


def test_a_batch_that_is_settled_whole_is_left_to_its_ack() -> None:
    assert settled_prefix(encoded(3), fates([(0, WRITTEN), (2, WRITTEN)])) is None


ROWS = 8


@given(
    st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(OPEN, REFUSED)), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(0, ROWS - 1)), max_size=4),
    st.frozensets(st.integers(1, ROWS - 1), max_size=3),
)
def test_it_covers_no_open_item_and_counts_each_other_one(
    found: list[tuple[int, int]], left_out: list[tuple[int, int]], inside: frozenset[int]
) -> None:
    items = encoded(
        ROWS,
        inside=inside,
        coalesced_rows=[row for row, _ in left_out],
        survivor_rows=[row for _, row in left_out],
    )
    prefix = settled_prefix(items, fates(found))
    rows = prefix.rows if prefix else 0
    covers = [
        cut
        for cut in range(1, ROWS)
        if cut not in inside
        and all(row >= cut for row, fate in found if fate == OPEN)
        and not any(row < cut <= survivor for row, survivor in left_out)
    ]
    is_whole = all(fate != OPEN for _, fate in found)
    assert rows == (0 if is_whole else max(covers, default=0))
    if prefix:
        below = [fate for row, fate in found if row < rows]
        assert prefix.counts.balanced
        assert prefix.counts.items_written == below.count(WRITTEN)
        assert prefix.counts.items_deleted == below.count(DELETED)
        assert prefix.counts.items_skipped == below.count(SKIPPED)
        assert prefix.counts.items_dead_lettered == len(prefix.dead_letters) == below.count(REFUSED)
