"""The gate widens and narrows with what the answers tell."""

from engine.throttle.gate import FLIGHT_MAX, FLIGHT_MIN, FLIGHT_START, Gate


def test_the_gate_widens_while_requests_wait_and_answers_stay_quick():
    gate = Gate(0.0)
    for step in range(5000):
        gate.wanted()
        gate.answered(0.005, step * 0.001)
    assert gate.limit == FLIGHT_MAX


def test_the_gate_stays_where_it_is_when_nobody_waits():
    gate = Gate(0.0)
    for step in range(5000):
        gate.answered(0.005, step * 0.001)
    assert gate.limit == FLIGHT_START


def test_the_gate_narrows_when_answers_become_slow_and_when_they_fail():
    gate = Gate(0.0)
    gate.answered(0.005, 0.0)
    for step in range(1000):
        gate.wanted()
        gate.answered(0.5, step * 0.001)
    assert gate.limit == FLIGHT_MIN
    gate = Gate(0.0, FLIGHT_MAX)
    for _ in range(1000):
        gate.failed()
    assert gate.limit == FLIGHT_MIN


def test_the_gate_takes_a_failure_now_and_then_lightly():
    gate = Gate(0.0)
    for step in range(10_000):
        gate.wanted()
        if step % 50:
            gate.answered(0.005, step * 0.001)
        else:
            gate.failed()
    assert gate.limit > FLIGHT_MAX / 2


def test_the_gate_forgets_a_best_latency_that_is_long_gone():
    gate = Gate(0.0)
    gate.answered(0.001, 0.0)
    for step in range(4000):
        gate.wanted()
        gate.answered(0.2, 1.0 + step * 0.01)
    assert gate.limit == FLIGHT_MAX
