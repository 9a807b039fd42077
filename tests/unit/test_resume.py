from dataclasses import replace

import pytest

from engine.contracts.state import RunState
from engine.errors import JobError
from engine.state.resume import GoOn, NothingToDo, Start, decide

RUN = replace(RunState.begun("r1", "full", ()), watermark="2026-01-01T00:00:00Z")


WATCHED = ("source.watermark updated_at",)
MORE = (*WATCHED, "source.embed.items.watermark changed_at")
FULL = replace(RUN, outcome="complete", base="2026-01-01T00:00:00Z")
LATER = replace(FULL, kind="catch_up", watermark="2026-02-01T00:00:00Z", watched=WATCHED)


def test_the_first_run_is_a_full_one() -> None:
    assert decide(None, fresh=False, watched=WATCHED) == Start("full", None)


@pytest.mark.parametrize("outcome", [None, "failed", "interrupted"])
def test_an_unfinished_run_is_gone_on_with(outcome: str | None) -> None:
    run = replace(RUN, outcome=outcome)
    assert decide(run, fresh=False, watched=WATCHED) == GoOn(run)


@pytest.mark.parametrize("outcome", ["complete", "complete_with_dead_letters"])
def test_a_finished_run_is_caught_up_with_from_its_watermark(outcome: str) -> None:
    assert decide(replace(RUN, outcome=outcome), fresh=False, watched=WATCHED) == Start(
        "catch_up", RUN.watermark, RUN.watermark
    )


def test_a_finished_run_without_a_watermark_is_not_repeated_by_itself() -> None:
    run = replace(RUN, outcome="complete")
    assert decide(run, fresh=False, watched=()) == NothingToDo(run)


@pytest.mark.parametrize("outcome", [None, "failed", "complete"])
def test_fresh_starts_over_whatever_there_is(outcome: str | None) -> None:
    assert decide(replace(RUN, outcome=outcome), fresh=True, watched=WATCHED) == Start("full", None)


def test_a_watermark_that_is_gained_reads_from_the_full_run_on() -> None:
    """Its run kept the start of the oldest transaction, though nobody had asked for it yet."""
    kept = replace(FULL, watermark=None)
    assert decide(kept, fresh=False, watched=WATCHED) == Start("catch_up", FULL.base, FULL.base)
    assert decide(LATER, fresh=False, watched=MORE) == Start("catch_up", FULL.base, FULL.base)


@pytest.mark.parametrize("watched", [WATCHED, MORE])
def test_catching_up_by_what_it_went_by_before_goes_on_where_it_was(watched: tuple[str, ...]) -> None:
    latest = replace(LATER, watched=watched)
    assert decide(latest, fresh=False, watched=WATCHED) == Start("catch_up", LATER.watermark, FULL.base)


def test_another_column_reads_from_the_full_run_on() -> None:
    other = ("source.watermark seen_at",)
    assert decide(LATER, fresh=False, watched=other) == Start("catch_up", FULL.base, FULL.base)


def test_a_run_of_an_earlier_version_went_by_the_one_column() -> None:
    latest = replace(LATER, watched=(), base=None)
    assert decide(latest, fresh=False, watched=WATCHED) == Start("catch_up", LATER.watermark, None)
    assert decide(latest, fresh=False, watched=MORE) == Start("catch_up", None, None), "all is read again"


def test_an_unfinished_catch_up_run_goes_by_what_it_began_with() -> None:
    unfinished = replace(LATER, outcome="failed")
    assert decide(unfinished, fresh=False, watched=WATCHED) == GoOn(unfinished)
    with pytest.raises(
        JobError, match=r"goes by source.watermark updated_at, the job now by .*changed_at; put"
    ):
        decide(unfinished, fresh=False, watched=MORE)
    full = replace(FULL, outcome="failed")
    assert decide(full, fresh=False, watched=MORE) == GoOn(full), "a full run reads everything anyway"


LOGGED = ("source.catch_up.slot nightly",)
BY_LOG = replace(FULL, watched=LOGGED, watermark="0/10", base=None)


def test_a_run_by_the_log_follows_on_where_the_one_before_has_ended() -> None:
    assert decide(BY_LOG, fresh=False, watched=LOGGED) == Start("catch_up", "0/10")
    later = replace(BY_LOG, kind="catch_up", watermark="0/20")
    assert decide(later, fresh=False, watched=LOGGED) == Start("catch_up", "0/20")


@pytest.mark.parametrize("outcome", ["complete", "failed"])
@pytest.mark.parametrize(
    ("before", "now"),
    [(WATCHED, LOGGED), (LOGGED, WATCHED), ((), LOGGED), (LOGGED, ("source.catch_up.slot other",))],
)
def test_nobody_has_kept_what_lies_between_two_ways_to_catch_up(
    before: tuple[str, ...], now: tuple[str, ...], outcome: str
) -> None:
    with pytest.raises(JobError, match="--fresh"):
        decide(replace(FULL, watched=before, outcome=outcome), fresh=False, watched=now)
