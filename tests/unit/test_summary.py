"""A user learns from one screen whether it is all there, and what to do next."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.batch import Counts, Cursor, Effort, Segment
from engine.contracts.state import SegmentState
from engine.show import summary
from tests.support.runs import COUNTS, run_report, run_state

DIRECTORY = Path(".backfill/orders")

COMPLETE = """\
orders: full run complete in 8.0 s

  1,000,000 rows read, 999,000 items written, 500 deleted, 200 skipped \
(what the target has was left as it is), 300 coalesced (a later row had the same key), \
0 dead letters: complete, the numbers balance.

  speed         124,962 items/s, 7.4 us of CPU per item, 310 MB at most
  requests      40,012, 12 throttled, 300 items sent again, 12 retries
  latency       p50 4.7 ms, p95 5.7 ms, p99 5.8 ms
  write units   table 1,000,000, ByEmail 500,000
  segments      4 of 4 complete

  Nothing is left to do."""


def test_a_complete_run_says_so() -> None:
    assert summary.render(run_report(), DIRECTORY) == COMPLETE


def test_the_plainest_run_reads_plainly() -> None:
    counts = Counts(rows_read=1, items_emitted=1, items_written=1)
    assert summary.verdict(run_report(counts=counts)) == (
        "1 row read, 1 item written, 0 dead letters: complete, the numbers balance."
    )


def test_dead_letters_are_named_with_their_file_and_reasons() -> None:
    counts = replace(COUNTS, items_written=998_998, items_dead_lettered=2)
    text = summary.render(
        run_report("complete_with_dead_letters", counts=counts, dead_letters_by_reason={"key_null": 2}),
        DIRECTORY,
    )
    assert "2 dead letters: every row was read, but dead letters are not in the target" in text
    assert "dead letters  key_null: 2" in text
    assert ".backfill/orders/dead-letters.jsonl" in text
    assert "`backfill redrive` tries these items again" in text, "a whole load would be done for two items"


def test_letters_of_earlier_runs_stay_in_sight() -> None:
    report = run_report(kind="catch_up", letters_open=73)
    assert report.exit_code == 3
    text = summary.render(report, DIRECTORY)
    assert (
        "0 dead letters: complete, the numbers balance; 73 dead letters of earlier runs are still open."
        in text
    )
    assert "Nothing is left" not in text
    assert "look at .backfill/orders/dead-letters.jsonl" in text
    assert "`backfill redrive`" in text


def test_letters_that_were_settled_since_ask_for_nothing() -> None:
    report = run_report("complete_with_dead_letters", letters_open=0)
    assert report.exit_code == 0
    text = summary.render(report, DIRECTORY)
    assert "none of them is open any more" in text
    assert "Nothing is left to do." in text


def test_own_letters_and_older_ones_are_told_apart() -> None:
    text = summary.verdict(run_report("complete_with_dead_letters", letters_open=75))
    assert "2 dead letters: " in text
    assert "75 dead letters are open, with those of earlier runs" in text


def test_several_jobs_end_with_one_summary() -> None:
    done = run_report()
    reports = [replace(done, job="users", dead_letters_open=1), replace(done, job="orders", outcome="failed")]
    text = summary.overall(reports, ["users", "orders", "products"])
    assert text.splitlines()[0] == "All jobs: 2 of 3 jobs begun"
    assert (
        "users         full run complete: 1,000,000 rows read, 999,000 items written, 500 deleted,"
        " 200 skipped, 1 dead letter open" in text
    )
    assert "products      not begun" in text
    assert "1 dead letter is open, of users." in text
    assert "Not complete: orders, products; `backfill run` goes on." in text
    assert "no dead letter is open" in summary.overall([done], ["orders"])


def test_a_failed_run_says_why_and_how_to_go_on() -> None:
    text = summary.render(run_report("failed", error="the table app-data is gone"), DIRECTORY)
    assert "orders: full run failed in 8.0 s" in text
    assert "Cause: the table app-data is gone" in text
    assert "goes on from the checkpoint" in text
    assert "balance" not in text


def test_numbers_that_dont_balance_are_never_called_complete() -> None:
    text = summary.verdict(run_report(counts=replace(COUNTS, items_written=998_999)))
    assert "DO NOT BALANCE, 1 item without a known fate" in text
    assert "complete" not in text


def test_a_watermark_says_what_comes_next() -> None:
    text = summary.render(run_report(watermark="2024-01-15T10:00:00Z"), DIRECTORY)
    assert "catches up with what has changed since 2024-01-15T10:00:00Z" in text


def test_status_of_a_live_run_tells_progress_and_time_left() -> None:
    state = run_state(
        outcome=None,
        finished_at=None,
        counts=Counts(rows_read=250_000, items_emitted=250_000, items_written=250_000),
        segments=(
            SegmentState(Segment(0, None, None, None), Cursor(("9",)), done=True),
            SegmentState(Segment(1, None, None, None), Cursor(("12",)), done=False),
            SegmentState(Segment(2, None, None, None), None, done=False),
        ),
    )
    text = summary.status("orders", state, alive=True, directory=DIRECTORY)
    assert "orders: full run 20240115T100000Z-ab12, running" in text
    assert "250,000 of about 1,000,000 (25 %), about 24.0 s left" in text
    assert "[#+.]" in text
    assert "Next:" not in text


def test_rows_of_a_run_that_is_over_are_no_share_of_an_estimate() -> None:
    text = summary.status("orders", run_state(rows_expected=2_910_000), alive=False, directory=DIRECTORY)
    assert "of about" not in text
    report = run_report(outcome="interrupted", rows_expected=3)
    assert summary.progress(report) == "1,000,000, more than the 3 that were expected"


def test_status_of_a_killed_run_says_that_it_can_go_on() -> None:
    text = summary.status("orders", run_state(outcome=None), alive=False, directory=DIRECTORY)
    assert "interrupted" in text.splitlines()[0]
    assert "goes on from the checkpoint" in text


def test_many_segments_fit_a_screen_and_a_group_is_complete_only_whole() -> None:
    segments = [SegmentState(Segment(n, None, None, None), None, done=n != 999) for n in range(1_000)]
    bar = summary.segment_bar(segments)
    assert bar == "#" * 53 + "+"


def test_eta_is_unknown_without_figures() -> None:
    assert summary.eta_s(run_report(rows_expected=None)) is None
    assert summary.eta_s(run_report(counts=Counts())) is None
    assert summary.eta_s(run_report(effort=Effort())) is None
    assert summary.eta_s(run_report(rows_expected=10)) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (61, "1 min 01 s"),
        (3_599.7, "1 h 00 min 00 s"),
        (93_784, "1 d 2 h 03 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert summary.duration(seconds) == text
