"""The limit widens and narrows with what the answers tell."""

from random import Random

import pytest

from engine.throttle.concurrency import FLIGHT_MAX, FLIGHT_MIN, FLIGHT_START, ConcurrencyLimit


def test_the_gate_widens_while_requests_wait_and_answers_stay_quick():
    limit = ConcurrencyLimit(0.0)
    for step in range(5000):
        limit.wanted()
        limit.answered(0.005, step * 0.001)
    assert limit.limit == FLIGHT_MAX


def test_the_gate_stays_where_it_is_when_nobody_waits():
    limit = ConcurrencyLimit(0.0)
    for step in range(5000):
        limit.answered(0.005, step * 0.001)
    assert limit.limit == FLIGHT_START


def test_the_gate_narrows_when_answers_become_slow_and_when_they_fail():
    limit = ConcurrencyLimit(0.0)
    limit.answered(0.005, 0.0)
    for step in range(1000):
        limit.wanted()
        limit.answered(0.5, step * 0.001)
    assert limit.limit == FLIGHT_MIN
    limit = ConcurrencyLimit(0.0, FLIGHT_MAX)
    for _ in range(1000):
        limit.failed()
    assert limit.limit == FLIGHT_MIN


def test_the_gate_takes_a_failure_now_and_then_lightly():
    limit = ConcurrencyLimit(0.0)
    for step in range(10_000):
        limit.wanted()
        if step % 50:
            limit.answered(0.005, step * 0.001)
        else:
            limit.failed()
    assert limit.limit > FLIGHT_MAX / 2


def test_the_gate_forgets_a_best_latency_that_is_long_gone():
    limit = ConcurrencyLimit(0.0)
    limit.answered(0.001, 0.0)
    for step in range(4000):
        limit.wanted()
        limit.answered(0.2, 1.0 + step * 0.01)
    assert limit.limit == FLIGHT_MAX


@pytest.mark.parametrize("share", [0.2, 0.33, 0.4])
def test_failures_that_do_not_depend_on_the_width_leave_it(share):
    limit, random = ConcurrencyLimit(0.0), Random(2)
    limits = []
    for step in range(20_000):
        limit.wanted()
        if random.random() < share:
            limit.failed()
        else:
            limit.answered(0.005, step * 0.001)
        limits.append(limit.limit)
    assert sum(limits[5_000:]) / len(limits[5_000:]) > FLIGHT_MAX / 2


def test_failures_that_come_of_the_width_narrow_it():
    """The target serves forty at a time and turns the others away."""
    limit, random = ConcurrencyLimit(0.0, FLIGHT_MAX), Random(2)
    limits = []
    for step in range(20_000):
        limit.wanted()
        if random.random() * limit.limit > 40:
            limit.failed()
        else:
            limit.answered(0.005, step * 0.001)
        limits.append(limit.limit)
    assert 30 < sum(limits[5_000:]) / len(limits[5_000:]) < 60


def test_a_late_answer_now_and_then_does_not_narrow_the_gate():
    limit = ConcurrencyLimit(0.0)
    for step in range(5_000):
        limit.wanted()
        limit.answered(0.005 if step % 12 else 4.0, step * 0.001)
    assert limit.limit == FLIGHT_MAX
