from dataclasses import replace

import pytest

from engine.batch import Counts, Effort
from engine.contracts import RunState
from engine.state.resume import GoOn, NothingToDo, Start, decide

RUN = RunState(
    run_id="r1",
    kind="full",
    started_at="2026-01-01T00:00:00Z",
    finished_at=None,
    outcome=None,
    fingerprint={},
    since=None,
    watermark="2026-01-01T00:00:00Z",
    interruptions=0,
    rows_expected=None,
    segments=(),
    counts=Counts(),
    dead_letters_by_reason={},
    effort=Effort(),
    error=None,
)


def test_the_first_run_is_a_full_one() -> None:
    assert decide(None, fresh=False, has_watermark=True) == Start("full", None)


@pytest.mark.parametrize("outcome", [None, "failed", "interrupted"])
def test_an_unfinished_run_is_gone_on_with(outcome: str | None) -> None:
    run = replace(RUN, outcome=outcome)
    assert decide(run, fresh=False, has_watermark=True) == GoOn(run)


@pytest.mark.parametrize("outcome", ["complete", "complete_with_dead_letters"])
def test_a_finished_run_is_caught_up_with_from_its_watermark(outcome: str) -> None:
    assert decide(replace(RUN, outcome=outcome), fresh=False, has_watermark=True) == Start(
        "catch_up", RUN.watermark
    )


def test_a_finished_run_without_a_watermark_is_not_repeated_by_itself() -> None:
    run = replace(RUN, outcome="complete")
    assert decide(run, fresh=False, has_watermark=False) == NothingToDo(run)


@pytest.mark.parametrize("outcome", [None, "failed", "complete"])
def test_fresh_starts_over_whatever_there_is(outcome: str | None) -> None:
    assert decide(replace(RUN, outcome=outcome), fresh=True, has_watermark=True) == Start("full", None)
