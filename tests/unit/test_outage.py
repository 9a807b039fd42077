"""A target that is away is probed and waited for, and given up in time; the user hears of it twice."""

from random import Random

import pytest

from connectors.dynamodb.writing.outage import (
    AWAY_S,
    AWAY_SOON_S,
    FAILURES_MANY,
    FAILURES_MIN,
    PROBE_CAP_S,
    Outage,
)
from engine.errors import RetriesExhausted


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def outage(notices) -> Outage:
    return Outage("orders", 60.0, notices.append, Random(1))


def fail_until(outage: Outage, until: float) -> float:
    now = 0.0
    while now < until:
        outage.failed("refused", now)
        now = max(now + 0.01, outage.probe_at)
    return now


def test_a_few_failures_are_no_outage(outage, notices):
    for _ in range(FAILURES_MIN - 1):
        outage.failed("refused", 1.0)
    assert not outage.away
    outage.succeeded()
    for _ in range(FAILURES_MIN - 1):
        outage.failed("refused", 2.0)
    assert not outage.away
    assert notices == []


def test_probes_become_rare_but_not_too_rare(outage):
    fail_until(outage, 40.0)
    assert outage.away
    assert 40.0 <= outage.probe_at <= 40.0 + 2 * PROBE_CAP_S


def test_there_is_one_notice_each_way(outage, notices):
    fail_until(outage, 30.0)
    outage.succeeded()
    outage.succeeded()
    assert len(notices) == 2
    assert "orders" in notices[0]
    assert not outage.away
    assert outage.probe_at == 0.0


def test_it_is_given_up_when_the_patience_is_over_and_says_what_to_do(outage):
    with pytest.raises(RetriesExhausted, match=r"orders.*60 s.*give_up_after_s.*refused.*run again"):
        fail_until(outage, 100.0)
    assert outage.probe_at <= 60.0, "the last probe is not behind the end of the patience"


def test_a_success_renews_the_patience(outage):
    fail_until(outage, 50.0)
    outage.succeeded()
    outage.failed("refused", 70.0)


def test_a_row_of_failures_by_chance_is_no_outage(outage, notices):
    """Where a third fails, ten in a row are seen every hour, and failing may be quicker than writing."""
    for number in range(FAILURES_MANY - 1):
        outage.failed("refused", number * AWAY_S / FAILURES_MANY)
    outage.succeeded()
    for _ in range(10 * FAILURES_MANY):
        outage.failed("refused", 2.0)
    assert not outage.away
    assert notices == []
    outage.failed("refused", 2.0 + AWAY_SOON_S)
    assert outage.away


def test_a_few_failures_that_go_on_are_an_outage(outage, notices):
    for number in range(FAILURES_MIN):
        outage.failed("refused", number * AWAY_S)
    assert outage.away
    assert len(notices) == 1
