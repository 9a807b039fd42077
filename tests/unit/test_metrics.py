"""A dashboard finds the contract's metrics, with true figures, from the first scrape on."""

import contextlib
import socket
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from engine.batch import Counts
from engine.contracts.feed import LogFigures
from engine.errors import JobError
from engine.events import RunEnded, SegmentsPlanned, SegmentTally
from engine.meter import LATENCY_BOUNDS_S, MeterTotals
from engine.show.metrics import Metrics, buckets, parse_address, serve
from engine.show.metrics_file import MetricsFile
from engine.show.metrics_server import CONNECTIONS_MAX, answering
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
    "backfill_cost_usd_total": set(),
    "backfill_write_rate_limit_units": set(),
    "backfill_requests_in_flight": set(),
    "backfill_stage_seconds_total": {"stage"},
    "backfill_segments": {"state"},
    "backfill_rows_expected": set(),
    "backfill_checkpoint_age_seconds": set(),
    "backfill_watermark_lag_seconds": set(),
    "backfill_log_retained_bytes": set(),
    "backfill_catch_up_lag_seconds": set(),
    "backfill_target_up": set(),
    "backfill_last_success_timestamp_seconds": set(),
    "backfill_run_active": set(),
    "backfill_updated_timestamp_seconds": set(),
    "backfill_hot_partition_keys": set(),
    "backfill_dead_letters_open": set(),
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
    metrics.on(run_started(last_success="2024-01-15T10:00:00Z"))
    metrics.on(tick(meter=totals(), watermark_lag_s=3.0, log=LogFigures(2.0, 7)))
    found: dict[str, set[str]] = {}
    for name, labels in scrape(metrics):
        found.setdefault(name, set()).update(dict(labels))
    assert found == {name: labels | {"job"} for name, labels in CONTRACT.items()}


def test_every_figure_lands_where_it_belongs(metrics: Metrics) -> None:
    metrics.on(run_started(unit_usd=0.5))
    metrics.on(
        tick(
            100.0,
            meter=totals(),
            segments=SegmentTally(7, 4, 2, 1),
            watermark_lag_s=3.0,
            log=LogFigures(2.0, 7),
        )
    )
    for name, expected in {
        "backfill_rows_read_total": 101,
        "backfill_items_written_total": 102,
        "backfill_items_deleted_total": 103,
        "backfill_items_skipped_total": 104,
        "backfill_items_unprocessed_total": 106,
        "backfill_cost_usd_total": (500.5 + 250) / 2,
        "backfill_write_rate_limit_units": 4_000,
        "backfill_requests_in_flight": 16,
        "backfill_rows_expected": 1_000_000,
        "backfill_checkpoint_age_seconds": 0.4,
        "backfill_watermark_lag_seconds": 3.0,
        "backfill_log_retained_bytes": 7.0,
        "backfill_catch_up_lag_seconds": 2.0,
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


def asked(errors: int = 0, answered: int = 0, in_flight: int = 1) -> MeterTotals:
    return MeterTotals(requests={"ok": answered, "error": errors}, requests_in_flight=in_flight)


def test_a_target_that_answers_nothing_isnt_up(metrics: Metrics, clock: Clock) -> None:
    metrics.on(run_started())
    for second, (meter, up) in enumerate(
        [
            (asked(in_flight=0), 1),
            (asked(), 1),
            *[(asked(), 1)] * 9,
            (asked(), 0),
            (asked(errors=3, in_flight=0), 0),
            (asked(errors=3, answered=1), 1),
            *[(asked(errors=3, answered=2, in_flight=0), 1)] * 20,
        ]
    ):
        clock.now = 100.0 + second
        metrics.on(tick(clock.now, meter=meter))
        assert value(metrics, "backfill_target_up") == up, second
    metrics.on(tick(200.0, meter=asked(errors=4, answered=2, in_flight=0)))
    clock.now = 211.0
    assert value(metrics, "backfill_target_up") == 0, "no tick is needed for that"
    metrics.on(RunEnded(run_report("failed")))
    assert value(metrics, "backfill_target_up") is None


def test_letters_and_the_last_success_are_those_of_all_runs(metrics: Metrics) -> None:
    started = Counts(items_dead_lettered=2)
    metrics.on(run_started(counts=started, letters_open=75, last_success="2024-01-15T10:00:00Z"))
    assert value(metrics, "backfill_dead_letters_open") == 75
    assert value(metrics, "backfill_last_success_timestamp_seconds") == 1705312800
    metrics.on(tick(100.0, counts=Counts(items_dead_lettered=3)))
    assert value(metrics, "backfill_dead_letters_open") == 76
    assert value(metrics, "backfill_run_active") == 1
    metrics.on(RunEnded(run_report("failed", letters_open=76)))
    assert value(metrics, "backfill_last_success_timestamp_seconds") == 1705312800
    metrics.on(RunEnded(run_report(letters_open=0)))
    assert value(metrics, "backfill_dead_letters_open") == 0
    assert value(metrics, "backfill_run_active") == 0
    now = value(metrics, "backfill_last_success_timestamp_seconds")
    assert now is not None
    assert now > 1.7e9


def test_a_job_with_nothing_to_do_has_succeeded_and_touches_no_other(metrics: Metrics) -> None:
    metrics.on(run_started(job="users"))
    metrics.on(RunEnded(run_report()))
    found = scrape(metrics)
    assert found[("backfill_run_active", (("job", "users"),))] == 1
    assert value(metrics, "backfill_run_active") == 0
    assert value(metrics, "backfill_last_success_timestamp_seconds") is not None


def test_probes_say_how_the_run_is(metrics: Metrics, clock: Clock) -> None:
    def probe(path: str) -> tuple[str, bytes]:
        said: list[str] = []
        app = answering(None, metrics, clock)
        (body,) = app({"PATH_INFO": path}, lambda status, _headers: said.append(status[:3]))
        return said[0], body

    assert probe("/healthz") == ("200", b"ok\n")
    assert probe("/readyz") == ("503", b"no run has begun yet\n")
    metrics.on(run_started())
    metrics.on(tick(100.0, meter=asked()))
    assert probe("/readyz") == ("200", b"ok\n")
    clock.now = 111.0
    assert probe("/healthz") == ("200", b"ok\n")
    assert probe("/readyz") == ("503", b"the target doesn't answer\n")
    clock.now = 401.0
    assert probe("/healthz") == ("503", b"the run hangs: it has said nothing for minutes\n")
    metrics.on(RunEnded(run_report()))
    assert probe("/healthz") == ("200", b"ok\n")


def test_jobs_that_run_side_by_side_each_have_their_figures_and_all_have_to_be_well(
    metrics: Metrics, clock: Clock
) -> None:
    for job in ("orders", "users"):
        metrics.on(run_started(job=job))
        metrics.on(SegmentsPlanned(1, 0, job))
    metrics.on(tick(100.0, job="orders", meter=asked(), counts=Counts(rows_read=7)))
    metrics.on(tick(111.0, job="users", counts=Counts(rows_read=3)))
    clock.now = 111.0
    text = generate_latest(collector(metrics)).decode()
    for job, rows in (("orders", 7), ("users", 3)):
        assert f'backfill_rows_acked_total{{job="{job}"}} {rows}.0' in text
    said: list[str] = []
    app = answering(None, metrics, clock)
    app({"PATH_INFO": "/readyz"}, lambda status, _headers: said.append(status[:3]))
    assert said == ["503"], "the target of the first doesn't answer"


def collector(metrics: Metrics) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    return registry


def test_the_end_stays_until_it_was_scraped(metrics: Metrics) -> None:
    metrics.on(run_started())
    metrics.on(RunEnded(run_report()))
    metrics.linger(None)  # nobody has scraped: nobody is waited for
    server, url = serve(metrics, "127.0.0.1:0")
    try:
        stays = threading.Thread(target=metrics.linger, args=(60.0,))
        stays.start()
        with urllib.request.urlopen(url.replace("/metrics", "/healthz"), timeout=100) as answer:
            assert answer.read() == b"ok\n"
        assert stays.is_alive(), "a probe is no scrape"
        with urllib.request.urlopen(url, timeout=100) as answer:
            assert b'backfill_run_active{job="orders"} 0.0' in answer.read()
        stays.join(timeout=100)
        assert not stays.is_alive()
        metrics.linger(None)  # it has been scraped as it is
    finally:
        server.shutdown()
        server.server_close()


def test_a_file_has_the_last_state_whole_and_is_anybodys_to_read(metrics: Metrics, tmp_path: Path) -> None:
    path, said = tmp_path / "orders.prom", []
    file = MetricsFile(metrics, path, said.append)
    file.check()
    for event in (run_started(), tick(100.0), tick(100.5, meter=totals()), RunEnded(run_report())):
        metrics.on(event)
        file.on(event)
    assert 'backfill_run_active{job="orders"} 0.0' in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["orders.prom"]
    gone = MetricsFile(metrics, tmp_path / "no" / "orders.prom", said.append)
    gone.on(tick(200.0))
    gone.on(tick(220.0))
    assert len(said) == 1, "one sentence, and the run goes on"
    for wrong in (tmp_path / "no" / "orders.prom", tmp_path / "orders.txt"):
        with pytest.raises(JobError, match="--metrics-textfile"):
            MetricsFile(metrics, wrong, said.append).check()


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
        ("9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
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
        with urllib.request.urlopen(url, timeout=100) as answer:
            assert b'backfill_rows_read_total{job="orders"} 101.0' in answer.read()
        with pytest.raises(JobError, match=r"can't listen there .*; choose another port"):
            serve(metrics, f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def test_connections_that_say_nothing_leave_room_for_a_scrape(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.show.metrics_server._Handler.timeout", 0.2)
    server, url = serve(metrics, "127.0.0.1:0")
    idle = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(3 * CONNECTIONS_MAX)]
    try:
        for each in idle:  # hung up on: at once for want of room, or for its silence
            each.settimeout(100)
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(1) == b""
        monkeypatch.setattr("engine.show.metrics_server._Handler.timeout", 100.0)
        with urllib.request.urlopen(url, timeout=100) as answer:
            assert answer.status == 200
    finally:
        for each in idle:
            each.close()
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
