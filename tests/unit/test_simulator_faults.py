"""Faults come at their rate, and the same again for the same seed; latency has the median it was told."""

from random import Random
from statistics import median, quantiles

import pytest

from bench.simulator.faults import FAULTS, NOT_APPLIED, UNPROCESSED, FaultPlan, Rates, RequestFate
from bench.simulator.latency import Latency

SOME = Rates({"500": 0.1, "reset_after": 0.05, UNPROCESSED: 0.2})


def fates(
    plan: FaultPlan, requests: int = 2_000, items: int = 3
) -> list[tuple[str | None, tuple[bool, ...]]]:
    found: list[RequestFate] = [plan.next() for _ in range(requests)]
    return [(fate.fault, tuple(fate.leave() for _ in range(3))) for fate in found]


def test_a_seed_gives_the_same_fates_again_and_another_others() -> None:
    assert fates(FaultPlan(SOME, 7)) == fates(FaultPlan(SOME, 7))
    assert fates(FaultPlan(SOME, 7)) != fates(FaultPlan(SOME, 8))


def test_a_requests_fate_depends_on_its_number_only() -> None:
    plan, other = FaultPlan(SOME, 7), FaultPlan(SOME, 7)
    for _ in range(50):
        mine, its = plan.next(), other.next()
        for _ in range(25):
            its.leave()  # a request with items draws more
        assert mine.fault == its.fault


def test_faults_come_at_their_rates() -> None:
    drawn = fates(FaultPlan(SOME, 1), 20_000)
    hit = [fault for fault, _ in drawn]
    assert hit.count("500") / len(hit) == pytest.approx(0.1, abs=0.01)
    assert hit.count("reset_after") / len(hit) == pytest.approx(0.05, abs=0.01)
    left = [each for fault, leaves in drawn if fault is None for each in leaves]
    assert sum(left) / len(left) == pytest.approx(0.2, abs=0.01)
    assert set(hit) == {None, "500", "reset_after"}


def test_without_rates_nothing_goes_wrong() -> None:
    assert set(fates(FaultPlan(Rates(), 1))) == {(None, (False, False, False))}


def test_every_fault_can_be_asked_for() -> None:
    for fault in FAULTS:
        assert {each for each, _ in fates(FaultPlan(Rates({fault: 1.0}), 3), 10)} == {fault}
    assert set(FAULTS) >= NOT_APPLIED


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"meteor": 0.1}, "there is no fault meteor; there are throttled"),
        ({"500": 1.5}, "goes from 0 to 1"),
        ({"500": 0.6, "503": 0.6}, "over 1 together"),
    ],
)
def test_rates_that_make_no_sense_are_refused(rates: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Rates(rates)


def test_latency_has_its_median_and_its_tail() -> None:
    random = Random(5)
    drawn = [Latency.of_ms(4, 12).draw(random) for _ in range(20_000)]
    assert median(drawn) == pytest.approx(0.004, rel=0.03)
    assert quantiles(drawn, n=100)[98] == pytest.approx(0.012, rel=0.08)


def test_no_latency_is_none() -> None:
    assert Latency.of_ms(0).draw(Random(0)) == 0
    assert Latency.of_ms(5, 5).draw(Random(0)) == pytest.approx(0.005)
