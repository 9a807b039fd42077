"""How far all jobs of a file are."""

from dataclasses import replace

import pytest

from engine.batch import Counts
from engine.contracts.feed import LogFigures
from engine.events import JobsPlanned, RunEnded
from engine.show.overall import Overall
from tests.support.runs import run_report, run_started, tick


@pytest.fixture
def jobs() -> Overall:
    """One of ten jobs has ended here, one was complete before, and one is half done."""
    overall = Overall()
    for event in (
        JobsPlanned(10),
        RunEnded(replace(run_report("complete"), job="before", rows_read=7)),
        run_started(job="first"),
        tick(100.0, job="first"),
        RunEnded(replace(run_report("complete"), job="first", rows_read=1_000)),
        run_started(job="second", rows_expected=400),
        tick(130.0, job="second", counts=Counts(rows_read=200, items_dead_lettered=2)),
    ):
        overall.take(event)
    return overall


def test_sums_and_the_time_left_go_by_what_has_begun_here(jobs: Overall) -> None:
    told = jobs.figures(50.0, 130.0)
    letters = 2 * run_report("complete").items_dead_lettered + 2
    assert (told["jobs_ended"], told["jobs_going_on"], told["jobs_total"], jobs.begun) == (2, 1, 10, 2)
    assert (told["rows_read"], told["dead_letters"], told["items_per_s"]) == (1_207, letters, 50.0)
    assert told["eta_s"] == 150.0, "30 s for one job and a half, and seven and a half are left"
    assert jobs.line(50.0, 130.0) == (
        f"2 of 10 jobs ended, 1 going on: 1,207 rows, 50 items/s, dead letters {letters},"
        " ETA by jobs ~2 min 30 s"
    )


def test_a_job_that_goes_on_with_another_run_is_one(jobs: Overall) -> None:
    jobs.take(run_started(job="first"))
    assert (jobs.figures(0, 130.0)["jobs_ended"], jobs.begun) == (1, 2)


def test_it_says_something_now_and_then(jobs: Overall) -> None:
    assert [jobs.due(at_s) for at_s in (0.0, 9.0, 10.0, 11.0, 20.0)] == [False, False, True, False, True]


@pytest.mark.parametrize("alone", [True, False])
def test_nothing_is_said_of_one_job_or_of_jobs_without_an_end(jobs: Overall, alone: bool) -> None:
    jobs.take(JobsPlanned(1) if alone else tick(130.0, job="second", log=LogFigures(lag_s=0.1)))
    assert not any(jobs.due(at_s) for at_s in (0.0, 10.0, 20.0))


def test_before_anything_is_done_the_time_left_is_not_known() -> None:
    overall = Overall()
    overall.take(JobsPlanned(3))
    assert overall.line(0.0, 0.0).endswith("ETA by jobs ?")
