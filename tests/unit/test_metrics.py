"""A dashboard finds the contract's metrics, with true figures, from the first scrape on."""

import urllib.request
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from engine.batch import Counts
from engine.errors import JobError
from engine.events import RunEnded, SegmentsPlanned, SegmentTally
from engine.meter import LATENCY_BOUNDS_S
from engine.show.metrics import Metrics, buckets, parse_address, serve
from tests.support.runs import run_report, run_started, tick, totals

CONTRACT = {
    "backfill_rows_read_total": set(),
    "backfill_rows_acked_total": set(),
    "backfill_items_written_total": set(),
    "backfill_items_deleted_total": set(),
    "backfill_items_skipped_total": set(),
    "backfill_items_unprocessed_total": set(),
    "backfill_items_dead_lettered_total": {"reason"},
    "backfill_requests_total": {"outcome"},
    "backfill_requests_throttled_total": {"cause"},
    "backfill_request_duration_seconds_bucket": {"le"},
    "backfill_request_duration_seconds_count": set(),
    "backfill_request_duration_seconds_sum": set(),
    "backfill_consumed_write_units_total": {"index"},
    "backfill_write_rate_limit_units": set(),
    "backfill_requests_in_flight": set(),
    "backfill_stage_seconds_total": {"stage"},
    "backfill_segments": {"state"},
    "backfill_rows_expected": set(),
    "backfill_checkpoint_age_seconds": set(),
    "backfill_watermark_lag_seconds": set(),
}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return Metrics(clock)


def scrape(metrics: Metrics) -> Samples:
    registry = CollectorRegistry()
    registry.register(metrics)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
    assert len(found) == len(samples), "Prometheus refuses a scrape with a doubled sample"
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return scrape(metrics).get((name, tuple(sorted({"job": "orders", **labels}.items()))))


def test_names_and_labels_are_the_contracts(metrics: Metrics) -> None:
    metrics.on(run_started())
    metrics.on(tick(meter=totals(), watermark_lag_s=3.0))
    found: dict[str, set[str]] = {}
    for name, labels in scrape(metrics):
        found.setdefault(name, set()).update(dict(labels))
    assert found == {name: labels | {"job"} for name, labels in CONTRACT.items()}


def test_every_figure_lands_where_it_belongs(metrics: Metrics) -> None:
    metrics.on(run_started())
    metrics.on(tick(100.0, meter=totals(), segments=SegmentTally(7, 4, 2, 1), watermark_lag_s=3.0))
    for name, expected in {
        "backfill_rows_read_total": 101,
        "backfill_items_written_total": 102,
        "backfill_items_deleted_total": 103,
        "backfill_items_skipped_total": 104,
        "backfill_items_unprocessed_total": 106,
        "backfill_write_rate_limit_units": 4_000,
        "backfill_requests_in_flight": 16,
        "backfill_rows_expected": 1_000_000,
        "backfill_checkpoint_age_seconds": 0.4,
        "backfill_watermark_lag_seconds": 3.0,
        "backfill_request_duration_seconds_count": 3,
    }.items():
        assert value(metrics, name) == expected, name
    assert value(metrics, "backfill_items_dead_lettered_total", reason="key_null") == 3
    assert value(metrics, "backfill_requests_total", outcome="ok") == 2
    assert value(metrics, "backfill_requests_throttled_total", cause="partition") == 4
    assert value(metrics, "backfill_consumed_write_units_total", index="table") == 500.5
    assert value(metrics, "backfill_consumed_write_units_total", index="ByEmail") == 250
    assert value(metrics, "backfill_stage_seconds_total", stage="encode") == 1.5
    assert [value(metrics, "backfill_segments", state=s) for s in ("pending", "running", "complete")] == [
        4,
        2,
        1,
    ]


def test_counters_are_there_before_they_count(metrics: Metrics) -> None:
    metrics.on(run_started())
    metrics.on(SegmentsPlanned(8, 3))
    assert value(metrics, "backfill_items_dead_lettered_total", reason="rejected_by_target") == 0
    assert value(metrics, "backfill_requests_total", outcome="throttled") == 0
    assert value(metrics, "backfill_consumed_write_units_total", index="table") == 0
    assert value(metrics, "backfill_segments", state="pending") == 5


def test_what_is_unknown_is_left_out(metrics: Metrics) -> None:
    metrics.on(run_started(rows_expected=None))
    metrics.on(tick())
    assert value(metrics, "backfill_rows_expected") is None
    assert value(metrics, "backfill_watermark_lag_seconds") is None


def test_a_run_that_hangs_doesnt_look_fresh(metrics: Metrics, clock: Clock) -> None:
    metrics.on(run_started())
    metrics.on(tick(100.0))
    clock.now = 160.0
    assert value(metrics, "backfill_checkpoint_age_seconds") == pytest.approx(60.4)
    metrics.on(RunEnded(run_report()))
    assert value(metrics, "backfill_checkpoint_age_seconds") is None


def test_a_limitless_rate_is_infinite(metrics: Metrics) -> None:
    metrics.on(run_started())
    metrics.on(tick(meter=replace(totals(), rate_limit=float("inf"))))
    assert value(metrics, "backfill_write_rate_limit_units") == float("inf")


def test_the_jobs_of_a_file_stay_apart(metrics: Metrics) -> None:
    metrics.on(run_started(job="users"))
    metrics.on(tick(meter=totals()))
    metrics.on(RunEnded(run_report()))
    metrics.on(run_started())
    metrics.on(tick(meter=totals() + totals()))
    assert scrape(metrics)[("backfill_rows_read_total", (("job", "users"),))] == 101
    assert value(metrics, "backfill_rows_read_total") == 202


def test_an_index_called_table_is_added_to_the_table(metrics: Metrics) -> None:
    metrics.on(run_started())
    metrics.on(tick(meter=replace(totals(), consumed={"": 1.0, "table": 2.0})))
    assert value(metrics, "backfill_consumed_write_units_total", index="table") == 3.0


def test_ticks_before_a_run_show_nothing(metrics: Metrics) -> None:
    metrics.on(tick())
    assert scrape(metrics) == {}


def test_histogram_buckets_are_cumulative_and_lose_no_request() -> None:
    latency = {0: 1, 4: 2, 40: 3, 55: 4, len(LATENCY_BOUNDS_S): 5}
    found = buckets(latency)
    counts = [count for _, count in found]
    assert counts == sorted(counts)
    assert found[0] == ("0.0005", 1)
    assert found[2] == (str(LATENCY_BOUNDS_S[6]), 3)
    assert found[-1] == ("+Inf", 15)
    assert len(found) == 20


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("0.0.0.0", 9464)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:9464", ("::1", 9464)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "x", ":9464", "-1", "host:", "65536", "9464x", "٣"])
def test_addresses_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(JobError, match="neither PORT nor HOST:PORT"):
        parse_address(text)


def test_a_scrape_over_http(metrics: Metrics) -> None:
    metrics.on(run_started())
    metrics.on(tick(meter=totals()))
    server, url = serve(metrics, "127.0.0.1:0")
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert b'backfill_rows_read_total{job="orders"} 101.0' in answer.read()
        with pytest.raises(JobError, match=r"can't listen there .*; choose another port"):
            serve(metrics, f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def test_acked_rows_are_what_this_process_has_added_to_the_checkpoint(metrics: Metrics) -> None:
    metrics.on(run_started(resumed=True, counts=Counts(rows_read=600)))
    assert value(metrics, "backfill_rows_acked_total") == 0
    metrics.on(tick(100.0, meter=totals(), counts=Counts(rows_read=640)))
    assert (value(metrics, "backfill_rows_read_total"), value(metrics, "backfill_rows_acked_total")) == (
        101,
        40,
    )
