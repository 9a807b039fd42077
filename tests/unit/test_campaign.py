"""The campaign's checks find what they are for, and its plans are the same whenever they are made."""

from typing import Any

import pytest

from tests.campaign import answers, checks
from tests.campaign.faults import BODY_TOO_LARGE, ENDING, KINDS, PASSING, Faults, fault_of
from tests.campaign.history import Entry, Write, dump, load
from tests.campaign.plan import MOVES, plan_of
from tests.campaign.rows import Expected, expected, preloaded, rows_of


def entry(number: int, arrived: float, applied_at: float | None, version: int, **changes: Any) -> Entry:
    given: dict[str, Any] = {"runner": "run-1", "answered": applied_at, "key": "K|k", **changes}
    writes = [Write(given.pop("key"), version)]
    applied = (0,) if applied_at is not None else ()
    return Entry(
        number, given.pop("runner"), 1, "BatchWriteItem", writes, arrived,
        applied_at=applied_at, applied=applied, **given,
    )  # fmt: skip


IN_ORDER = [entry(1, 0.0, 1.0, 1), entry(2, 1.5, 2.0, 2), entry(3, 0.5, 2.5, 7, key="other")]
CHECKS = (checks.in_flight, checks.client_in_flight, checks.going_back, checks.two_runners)


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_in_order_is_no_failure(check: Any) -> None:
    assert check(IN_ORDER) == []
    assert check([]) == []


def test_two_values_of_a_key_with_the_server_together() -> None:
    (told,) = checks.in_flight([entry(1, 0.0, 2.0, 1), entry(2, 1.0, 3.0, 2)])
    assert "row 1" in told
    assert "row 2" in told
    assert checks.in_flight([entry(1, 0.0, 2.0, 1), entry(2, 1.0, 3.0, 1)]) == []


def test_a_value_that_is_sent_before_the_other_one_is_answered() -> None:
    never_applied = entry(1, 0.0, None, 1, ended=5.0, answered=None)
    assert checks.client_in_flight([never_applied, entry(2, 1.0, 3.0, 2)])
    assert checks.client_in_flight([never_applied, entry(2, 5.5, 6.0, 2)]) == []
    assert checks.client_in_flight([never_applied, entry(2, 1.0, 3.0, 1)]) == []


def test_a_key_that_goes_back() -> None:
    back = [entry(1, 0.0, 1.0, 5), entry(2, 2.0, 3.0, 4)]
    assert checks.going_back(back)
    later_run = [entry(1, 0.0, 1.0, 5), entry(2, 2.0, 3.0, 4, runner="run-2")]
    assert checks.going_back(later_run) == []


def test_a_stray_is_counted_and_not_held_against_the_client() -> None:
    stray = entry(1, 0.0, 4.0, 1, answered=None, ended=0.5)
    entries = [stray, entry(2, 1.0, 2.0, 2)]
    assert checks.strays(entries) == 1
    assert checks.in_flight(entries) == checks.going_back(entries) == []
    assert "left older" in checks.left_by_strays(entries)[0]
    assert checks.left_by_strays(entries[1:]) == []


def test_a_runner_that_writes_behind_the_next_one() -> None:
    both = [entry(1, 0.0, 1.0, 1), entry(2, 2.0, 3.0, 2, runner="run-2"), entry(3, 4.0, 5.0, 3)]
    assert checks.two_runners(both)
    assert checks.two_runners(both[:2]) == []


def test_a_pace_that_does_not_come_back() -> None:
    slow = [entry(n, float(n), n + 0.1, n) for n in range(40)]
    assert checks.pace(slow, 1.0, {"run-1": [(0.0, 40.0)]})
    assert checks.pace(slow, None, {"run-1": [(0.0, 40.0)]}) == []
    assert checks.pace(slow, 1.0, {"run-1": [(0.0, 9.0)]}) == []
    fast = [entry(n, n / 50, n / 50 + 0.1, n) for n in range(2_000)]
    assert checks.pace(fast, 1.0, {"run-1": [(0.0, 40.0)]}) == []


def test_items_that_are_lost_foreign_or_altered() -> None:
    there = {"a|k": {"n": {"N": "1.50"}}}
    assert checks.end_state(there, {"a|k": {"n": {"N": "1.5"}}}) == []
    assert "missing" in checks.end_state(there, {})[0]
    assert "foreign" in checks.end_state({}, there)[0]
    assert "differ" in checks.end_state(there, {"a|k": {"n": {"N": "1.51"}}})[0]


def test_counts_and_letters() -> None:
    report = dict.fromkeys(checks.FATES, 0) | {"items_emitted": 2, "rows_read": 2, "items_written": 2}
    whole = Expected({}, 2, ())
    assert checks.balance(report, whole, 2) == []
    assert checks.balance(report | {"items_written": 1}, whole, 2)
    assert checks.balance(report, whole, 3)
    letter = {"source_key": {"id": "7"}}
    assert checks.dead_letters(Expected({}, 2, (7,)), [letter]) == []
    assert checks.dead_letters(Expected({}, 2, (7,)), [letter, letter])


def test_a_history_survives_its_way() -> None:
    there = load(dump(IN_ORDER))
    assert [each.writes for each in there] == [each.writes for each in IN_ORDER]
    assert load(dump(there)) == there


def test_a_seed_is_the_same_plan_and_the_same_rows() -> None:
    for seed in range(40):
        plan = plan_of(seed)
        assert plan == plan_of(seed)
    assert rows_of(plan) == rows_of(plan)
    assert expected(plan, rows_of(plan), preloaded(plan)) == expected(plan, rows_of(plan), preloaded(plan))


def test_two_hundred_seeds_meet_everything() -> None:
    plans = [plan_of(seed) for seed in range(1, 201)]
    assert {name for plan in plans for name in plan.faults.rates} == set(PASSING)
    assert {name for plan in plans for name in plan.faults.ending_at.values()} == set(ENDING)
    assert any(plan.faults.body_max for plan in plans)
    moves = {(plan.source, plan.move.name) for plan in plans if plan.move is not None}
    every = {(source, name) for source, names in MOVES.items() for name in names}
    assert len(every - moves) <= 1
    assert {(p.source, p.move.name) for p in map(plan_of, range(600)) if p.move is not None} == every
    blows = {event.blow for plan in plans for event in plan.events}
    assert blows == {"kill_runner", "kill_all", "kill_worker", "pause", "sigint", "sigterm"}
    assert {(plan.mode, plan.workers) for plan in plans} == {
        (mode, workers) for mode in ("put", "insert", "newer") for workers in (1, 2)
    }


def test_faults_come_by_number_and_end() -> None:
    faults = Faults(seed=3, rates={"slow": 0.5}, lasts_s=2.0, ending_at={4: "html_403"}, body_max=100)
    first = [fault_of(faults, number, 0.0, 10) for number in range(1, 200)]
    assert first == [fault_of(faults, number, 1.0, 10) for number in range(1, 200)]
    assert first[3] == "html_403"
    assert 50 < first.count("slow") < 150
    assert {fault_of(faults, number, 3.0, 10) for number in range(5, 200)} == {None}
    assert fault_of(faults, 1, 3.0, 101) == BODY_TOO_LARGE


@pytest.mark.parametrize("fault", [None, *KINDS, BODY_TOO_LARGE])
def test_every_fault_has_an_answer_of_its_own(fault: str | None) -> None:
    body = b'{"UnprocessedItems":{}}'
    sent, well = answers.sent(fault, 200, body, 17.0), answers.sent(None, 200, body, 17.0)
    usual = fault in (None, "unprocessed")
    assert (sent == well) is usual
    assert well.pieces[0].endswith(body)
