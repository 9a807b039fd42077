"""Figures of several processes add up to what they did together, and survive the way between them."""

import pickle
from itertools import pairwise

import pytest

from engine.meter import LATENCY_BOUNDS_S, Meter, MeterTotals, quantile
from tests.support.runs import totals


def test_a_snapshot_doesnt_change_when_the_meter_goes_on() -> None:
    meter = Meter()
    meter.answered("ok", 0.01)
    before = meter.snapshot()
    meter.answered("ok", 0.01)
    meter.consumed[""] += 25
    assert before.requests == {"ok": 1}
    assert before.consumed == {}


def test_totals_travel_between_processes() -> None:
    assert pickle.loads(pickle.dumps(totals())) == totals()


def test_workers_add_up_in_every_figure() -> None:
    both = totals() + totals()
    assert both.rows_read == 2 * totals().rows_read
    assert both.requests == {"ok": 4, "partial": 2}
    assert both.dead_lettered == {"key_null": 6}
    assert both.consumed == {"": 1001.0, "ByEmail": 500}
    assert both.requests_in_flight == 32
    assert both.rate_limit == 8_000.0


def test_nobody_is_the_neutral_element() -> None:
    assert MeterTotals() + totals() == totals() + MeterTotals() == totals()
    assert sum([totals()], MeterTotals()) == totals()


def test_one_worker_without_a_limit_makes_the_sum_limitless() -> None:
    assert (Meter(rate_limit=10.0).snapshot() + Meter().snapshot()).rate_limit == float("inf")


def test_quantile_of_nothing_is_unknown() -> None:
    assert quantile({}, 0.5) is None


@pytest.mark.parametrize("seconds", [0.0006, 0.004, 0.1, 30.0])
def test_quantile_lies_within_a_bucket_of_the_truth(seconds: float) -> None:
    meter = Meter()
    for _ in range(100):
        meter.answered("ok", seconds)
    for q in (0.01, 0.5, 0.99, 1.0):
        estimate = quantile(meter.latency, q)
        assert estimate is not None
        assert seconds / 1.26 <= estimate <= seconds * 1.26


def test_quantiles_rise_and_end_at_the_last_bound() -> None:
    latency = {3: 5, 20: 0, 30: 4, len(LATENCY_BOUNDS_S): 1}
    found = [quantile(latency, q / 100) for q in range(1, 101)]
    assert all(a <= b for a, b in pairwise(found) if a is not None and b is not None)
    assert found[-1] == LATENCY_BOUNDS_S[-1]
