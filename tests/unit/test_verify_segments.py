"""Into how many segments verify cuts a source: enough to share, and of large ones none that takes long."""

import pytest

from engine.commands.verify.source_pass import READ_RECORDS, SEGMENT_ROWS, segments_wanted


@pytest.mark.parametrize(
    ("rows", "segments"),
    [
        (None, 64),
        (0, 1),
        (SEGMENT_ROWS, 1),
        (3_000_000, 60),
        (10_000_000, 64),
        (32_000_000, 64),
        (50_000_000, 100),
        (1_000_000_000, 2_000),
        (10**12, 4_096),
    ],
)
def test_a_source_is_cut_for_even_work(rows: int | None, segments: int) -> None:
    assert segments_wanted(rows) == segments


def test_a_segment_is_no_longer_than_an_order_up_to_two_billion_rows() -> None:
    for rows in (32_000_000, 10**8, 2 * 10**9):
        assert rows / segments_wanted(rows) <= READ_RECORDS
