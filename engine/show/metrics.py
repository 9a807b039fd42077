"""Prometheus metrics over HTTP: the contract's names, filled from the latest tick at the moment of a scrape.

Invariant: a counter is what this process has done since it started, so a restart is an ordinary counter reset
and nothing is counted twice. Everything that can count is there with 0 from the first scrape on, so that its
first increase is seen. prometheus_client is imported here only.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.errors import JobError
from engine.events import Event, JobsPlanned, RunEnded
from engine.meter import LATENCY_BOUNDS_S, STAGES, TABLE, MeterTotals
from engine.show.job_figures import JobFigures, Now, after
from engine.show.metrics_server import MetricsServer, answering, started
from engine.state.dead_letters import REASONS

ADDRESS_DEFAULT = "127.0.0.1"
"""Whoever is to be scraped from elsewhere says so: nothing here asks who is there."""
OUTCOMES = ("ok", "partial", "throttled", "refused", "error")
LINGER_S = 20.0
"""How long the last figures stay to be scraped: a usual interval of 15 s, and a scrape's own time."""

CAUSES = ("table", "index", "partition", "account", "unknown")
TABLE_LABEL = "table"

BUCKETS = tuple(range(0, len(LATENCY_BOUNDS_S), 3))
"""The meter's buckets that end a bucket of the histogram; each is about twice the one before."""

Value = float | None
Labelled = Mapping[str, float]


class Metrics(Collector):
    """An observer that a Prometheus registry can collect from; the scrape comes in on another thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs: Mapping[str, JobFigures] = {}
        self._job = ""
        self._seen: Mapping[str, JobFigures] | None = None
        self._scraped = threading.Condition()

    def on(self, event: Event) -> None:
        """Take note of one event."""
        if isinstance(event, JobsPlanned):
            return
        job = event.report.job if isinstance(event, RunEnded) else event.job
        self._job = job = job or self._job
        figures = after(self._jobs.get(job), event, Now(self._clock(), time.time()))
        if figures is not None:
            # A new mapping each time: a scrape that has begun goes on with the one it took.
            self._jobs = {**self._jobs, job: figures}

    def linger(self, most_s: float | None) -> None:
        """Wait until somebody has scraped how it ended, at most so long.

        None: LINGER_S, and only where somebody has been scraping.
        """
        if most_s is None and self._seen is None:
            return
        with self._scraped:
            self._scraped.wait_for(lambda: self._seen is self._jobs, LINGER_S if most_s is None else most_s)

    @property
    def shown(self) -> Mapping[str, JobFigures]:
        """What a scrape that begins now gives, or what is newer."""
        return self._jobs

    def scraped(self, shown: Mapping[str, JobFigures]) -> None:
        """Take note that somebody was given what was shown then."""
        with self._scraped:
            self._seen = shown
            self._scraped.notify_all()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of every job that this process has run."""
        jobs = self._jobs
        now_s = self._clock()
        for name, words, read in COUNTERS:
            yield _counter(name, words, (), ((job, {"": read(f)}) for job, f in jobs.items()))
        for name, words, label, read_labelled in LABELLED_COUNTERS:
            yield _counter(
                name, words, (label,), ((job, read_labelled(f.tick.meter)) for job, f in jobs.items())
            )
        for name, words, read_gauge in GAUGES:
            gauge = GaugeMetricFamily(name, words, labels=("job",))
            for job, figures in jobs.items():
                if (value := read_gauge(figures, now_s)) is not None:
                    gauge.add_metric((job,), value)
            yield gauge
        segments = GaugeMetricFamily("backfill_segments", "Segments by state.", labels=("job", "state"))
        for job, figures in jobs.items():
            tally = figures.tick.segments
            for state in ("pending", "running", "complete"):
                segments.add_metric((job, state), getattr(tally, state))
        yield segments
        latency = HistogramMetricFamily(
            "backfill_request_duration_seconds", "Time until a request was answered.", labels=("job",)
        )
        for job, figures in jobs.items():
            meter = figures.tick.meter
            latency.add_metric((job,), buckets(meter.latency), sum_value=meter.latency_sum_s)
        yield latency


def _counter(
    name: str, words: str, label: tuple[str, ...], values: Iterable[tuple[str, Labelled]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, words, labels=("job", *label))
    for job, by_label in values:
        for value_of_label, value in by_label.items():
            family.add_metric((job, value_of_label) if label else (job,), value)
    return family


def buckets(latency: Mapping[int, int]) -> list[tuple[str, float]]:
    """Condense the meter's histogram to cumulative Prometheus buckets."""
    rest = sorted(latency.items())
    condensed: list[tuple[str, float]] = []
    below = 0
    for last in BUCKETS:
        while rest and rest[0][0] <= last:
            below += rest.pop(0)[1]
        condensed.append((str(LATENCY_BOUNDS_S[last]), below))
    condensed.append(("+Inf", below + sum(count for _, count in rest)))
    return condensed


def _with_zeros(known: Iterable[str], values: Labelled) -> Labelled:
    return dict.fromkeys(known, 0) | dict(values)


def _by_index(meter: MeterTotals) -> Labelled:
    units = {TABLE_LABEL: 0.0}
    for index, consumed in meter.consumed.items():
        label = TABLE_LABEL if index == TABLE else index
        units[label] = units.get(label, 0.0) + consumed
    return units


def _checkpoint_age_s(figures: JobFigures, now_s: float) -> Value:
    # Counted on from the tick: a run that hangs stops ticking, and must not look fresh.
    return None if figures.ended else figures.tick.checkpoint_age_s + max(0.0, now_s - figures.tick.at_s)


def _catch_up_lag_s(figures: JobFigures, now_s: float) -> Value:
    lag_s = figures.tick.log.lag_s
    return None if figures.ended or lag_s is None else lag_s + max(0.0, now_s - figures.tick.at_s)


def _target_up(figures: JobFigures, now_s: float) -> Value:
    return None if figures.ended else float(figures.target_up(now_s))


COUNTERS: tuple[tuple[str, str, Callable[[JobFigures], float]], ...] = (
    ("backfill_rows_read_total", "Rows read from the source.", lambda f: f.tick.meter.rows_read),
    (
        "backfill_rows_acked_total",
        "Rows of which every item is accounted for in the checkpoint.",
        lambda f: f.tick.counts.rows_read - f.rows_before,
    ),
    ("backfill_items_written_total", "Items written.", lambda f: f.tick.meter.items_written),
    ("backfill_items_deleted_total", "Items deleted.", lambda f: f.tick.meter.items_deleted),
    (
        "backfill_items_skipped_total",
        "Items rightly left as they were.",
        lambda f: f.tick.meter.items_skipped,
    ),
    (
        "backfill_items_unprocessed_total",
        "Items that the target handed back to be sent again.",
        lambda f: f.tick.meter.items_unprocessed,
    ),
    (
        "backfill_cost_usd_total",
        "US dollars that the consumed write units have cost, by the packaged price list.",
        lambda f: f.cost_usd,
    ),
)
LABELLED_COUNTERS: tuple[tuple[str, str, str, Callable[[MeterTotals], Labelled]], ...] = (
    (
        "backfill_items_dead_lettered_total",
        "Items that can't be written, by reason.",
        "reason",
        lambda m: _with_zeros(sorted(REASONS), m.dead_lettered),
    ),
    (
        "backfill_requests_total",
        "Requests answered, by outcome.",
        "outcome",
        lambda m: _with_zeros(OUTCOMES, m.requests),
    ),
    (
        "backfill_requests_throttled_total",
        "Requests throttled, by cause.",
        "cause",
        lambda m: _with_zeros(CAUSES, m.throttled),
    ),
    (
        "backfill_consumed_write_units_total",
        "Write units consumed, by the table and each of its indexes.",
        "index",
        _by_index,
    ),
    (
        "backfill_stage_seconds_total",
        "Time spent inside each stage, over all batches.",
        "stage",
        lambda m: _with_zeros(STAGES, m.stage_s),
    ),
)
GAUGES: tuple[tuple[str, str, Callable[[JobFigures, float], Value]], ...] = (
    (
        "backfill_write_rate_limit_units",
        "Write units per second that may be used now; +Inf: nothing limits.",
        lambda figures, _: figures.tick.meter.rate_limit,
    ),
    (
        "backfill_requests_in_flight",
        "Requests sent and not yet answered.",
        lambda figures, _: figures.tick.meter.requests_in_flight,
    ),
    (
        "backfill_rows_expected",
        "Estimate of the rows that the whole run reads.",
        lambda figures, _: figures.rows_expected,
    ),
    (
        "backfill_checkpoint_age_seconds",
        "Time since the checkpoint last advanced, while the run goes on.",
        _checkpoint_age_s,
    ),
    (
        "backfill_watermark_lag_seconds",
        "How far the watermark that is covered lies behind now.",
        lambda figures, _: figures.tick.watermark_lag_s,
    ),
    (
        "backfill_log_retained_bytes",
        "How much of its log the source keeps for this job.",
        lambda figures, _: figures.tick.log.held_back_bytes,
    ),
    (
        "backfill_catch_up_lag_seconds",
        "How long ago what has been read of the log, and is durable in the target, was all there was.",
        _catch_up_lag_s,
    ),
    (
        "backfill_run_active",
        "1 while a run goes on, 0 once it is over.",
        lambda figures, _: float(not figures.ended),
    ),
    (
        "backfill_updated_timestamp_seconds",
        "When the run last said how it stands, in seconds since 1970.",
        lambda figures, _: figures.said_s,
    ),
    (
        "backfill_target_up",
        "1 while the target answers, 0 when it is asked and doesn't.",
        _target_up,
    ),
    (
        "backfill_hot_partition_keys",
        "Partition keys whose items are held back because their partition takes no more.",
        lambda figures, _: figures.tick.meter.hot_keys,
    ),
    (
        "backfill_dead_letters_open",
        "Dead letters that are kept and not settled, those of earlier runs too.",
        lambda figures, _: figures.letters_open,
    ),
    (
        "backfill_last_success_timestamp_seconds",
        "When a run of the job last went to its end, in seconds since 1970.",
        lambda figures, _: figures.success_s,
    ),
)


def parse_address(text: str) -> tuple[str, int]:
    """Read `PORT`, `HOST:PORT` or `[IPV6]:PORT`. Raises: JobError."""
    host, colon, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65_535 or (colon and not host):
        raise JobError(f"--metrics-port {text!r} is neither PORT nor HOST:PORT; try --metrics-port 9464")
    return host.removeprefix("[").removesuffix("]") or ADDRESS_DEFAULT, int(port)


def serve(metrics: Metrics, address: str) -> tuple[MetricsServer, str]:
    """Answer scrapes and probes from a thread of their own; return the server and where it listens.

    Raises: JobError when the address can't be listened on.
    """
    host, port = parse_address(address)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    try:
        server = started(answering(make_wsgi_app(registry), metrics), host, port)
    except OSError as error:
        raise JobError(
            f"--metrics-port {address}: can't listen there ({error.strerror}); choose another port"
        ) from error
    return server, f"http://{host}:{server.server_port}/metrics"
