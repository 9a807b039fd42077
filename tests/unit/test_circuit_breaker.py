"""A target that is away is probed and waited for, and given up in time; the user hears of it twice."""

from random import Random

import pytest

from connectors.dynamodb.writing.circuit_breaker import (
    AWAY_S,
    AWAY_SOON_S,
    FAILURES_MANY,
    FAILURES_MIN,
    PROBES,
    CircuitBreaker,
)
from engine.errors import RetriesExhausted


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def breaker(notices) -> CircuitBreaker:
    return CircuitBreaker("orders", 60.0, notices.append, Random(1))


def fail_until(breaker: CircuitBreaker, until: float) -> float:
    now = 0.0
    while now < until:
        breaker.failed("refused", now)
        now = max(now + 0.01, breaker.probe_at)
    return now


def test_a_few_failures_are_no_outage(breaker, notices):
    for _ in range(FAILURES_MIN - 1):
        breaker.failed("refused", 1.0)
    assert not breaker.open
    breaker.succeeded(60.0)
    for _ in range(FAILURES_MIN - 1):
        breaker.failed("refused", 2.0)
    assert not breaker.open
    assert notices == []


def test_probes_become_rare_but_not_too_rare(breaker):
    fail_until(breaker, 40.0)
    assert breaker.open
    assert 40.0 <= breaker.probe_at <= 40.0 + 2 * PROBES.cap_s


def test_there_is_one_notice_each_way(breaker, notices):
    fail_until(breaker, 30.0)
    breaker.succeeded(60.0)
    breaker.succeeded(60.0)
    assert len(notices) == 2
    assert "orders" in notices[0]
    assert not breaker.open
    assert breaker.probe_at == 0.0


def test_it_is_given_up_when_the_patience_is_over_and_says_what_to_do(breaker):
    with pytest.raises(RetriesExhausted, match=r"orders.*60 s.*give_up_after_s.*refused.*run again"):
        fail_until(breaker, 100.0)
    assert breaker.probe_at <= 60.0, "the last probe is not behind the end of the patience"


def test_a_success_renews_the_patience(breaker):
    fail_until(breaker, 50.0)
    breaker.succeeded(60.0)
    breaker.failed("refused", 70.0)


def test_a_row_of_failures_by_chance_is_no_outage(breaker, notices):
    """Where a third fails, ten in a row are seen every hour, and failing may be quicker than writing."""
    for number in range(FAILURES_MANY - 1):
        breaker.failed("refused", number * AWAY_S / FAILURES_MANY)
    breaker.succeeded(60.0)
    for _ in range(10 * FAILURES_MANY):
        breaker.failed("refused", 2.0)
    assert not breaker.open
    assert notices == []
    breaker.failed("refused", 2.0 + AWAY_SOON_S)
    assert breaker.open


def test_a_few_failures_that_go_on_are_an_outage(breaker, notices):
    for number in range(FAILURES_MIN):
        breaker.failed("refused", number * AWAY_S)
    assert breaker.open
    assert len(notices) == 1


def test_what_was_out_already_does_not_put_the_probe_off(breaker):
    for number in range(FAILURES_MIN):
        breaker.failed("refused", number * AWAY_S)
    probe_at = breaker.probe_at
    for _ in range(100):
        breaker.failed("refused", FAILURES_MIN * AWAY_S - AWAY_S)
    assert breaker.probe_at == probe_at
