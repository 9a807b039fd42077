"""Progress on stderr: a live display on a terminal, a plain line now and then elsewhere.

Invariant: showing progress never harms the run: a closed, narrow or colourless terminal is put up with. Time
is the ticks' own, so nothing here reads a clock.
"""

import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol, TextIO

from engine.amounts import counted, duration, number, share
from engine.batch import Counts
from engine.events import BrokenOff, Event, Notice, Observer, RunEnded, RunStarted, SegmentsPlanned, Tick
from engine.frozen import dataclass
from engine.meter import TABLE, quantile
from engine.show import lines
from engine.show.overall import Overall
from engine.show.summary import KINDS, PASSED, behind, written

PLAIN_EVERY_S = 10.0
"""Seconds between two plain lines."""

SMOOTH_OVER_S = 10.0
"""Seconds over which speeds are averaged."""

TICKS_KEPT_MAX = 120

PROGRAM = "backfill"
"""Whose lines they are that are about no job, or all."""


class Progress(Observer, Protocol):
    """An observer that holds a terminal."""

    def close(self) -> None:
        """Give the terminal back as it was, however the run ended."""


def observer(stream: TextIO | None = None) -> Progress:
    """Return the progress that suits the stream: live on a capable terminal, else plain."""
    stream = sys.stderr if stream is None else stream
    lives = stream.isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}
    if lives and lines.style == lines.Style():
        from engine.show.live_progress import LiveProgress  # brings rich

        return LiveProgress(stream)
    return PlainProgress(stream)


@dataclass(frozen=True, slots=True)
class Speeds:
    """What changed per second between two ticks, and what follows from it. `rows_per_s` counts acked rows."""

    rows_per_s: float
    items_per_s: float
    wcu_per_s: float
    eta_s: float | None


def speeds(before: Tick, now: Tick, rows_expected: int | None) -> Speeds:
    """Compare two ticks. Pure."""
    passed_s = now.at_s - before.at_s
    if passed_s <= 0:
        return Speeds(0.0, 0.0, 0.0, None)
    rows = (now.counts.rows_read - before.counts.rows_read) / passed_s
    items = (_answered(now) - _answered(before)) / passed_s
    wcu = (now.meter.consumed.get(TABLE, 0.0) - before.meter.consumed.get(TABLE, 0.0)) / passed_s
    return Speeds(rows, items, wcu, _eta_s(now.counts, rows, items, rows_expected))


def _eta_s(counts: Counts, rows_per_s: float, items_per_s: float, rows_expected: int | None) -> float | None:
    """Estimate what is left: by the target's pace once it is known how many items a row makes.

    What is read and not acked says nothing: a slow target is minutes behind.
    """
    if rows_expected is None:
        return None
    left = max(0, rows_expected - counts.rows_read)
    if counts.rows_read and counts.items_emitted and items_per_s > 0:
        return left * counts.items_emitted / counts.rows_read / items_per_s
    return left / rows_per_s if rows_per_s > 0 else None


def _answered(tick: Tick) -> int:
    return tick.meter.items_written + tick.meter.items_deleted + tick.meter.items_skipped


class Speedometer:
    """The last seconds of ticks, from which speeds are read."""

    def __init__(self) -> None:
        self._ticks: deque[Tick] = deque(maxlen=TICKS_KEPT_MAX)

    def take(self, tick: Tick, rows_expected: int | None) -> Speeds:
        """Add a tick and return the speeds over the last seconds."""
        self._ticks.append(tick)
        while len(self._ticks) > 2 and tick.at_s - self._ticks[1].at_s >= SMOOTH_OVER_S:
            self._ticks.popleft()
        return speeds(self._ticks[0], tick, rows_expected)


@dataclass(slots=True)
class Showing:
    """A run that is shown. `said_at_s`: when the last line was said of it, by the ticks' time."""

    started: RunStarted
    pace: Speedometer = field(default_factory=Speedometer)
    speeds: Speeds = Speeds(0.0, 0.0, 0.0, None)
    said_at_s: float | None = None


def title(started: RunStarted) -> str:
    """Say in one line what runs."""
    verb = "goes on" if started.resumed else "starts"
    return (
        f"{KINDS[started.kind]} {started.run_id} {verb}, "
        f"{started.source} to {started.target}, workers {started.workers}"
    )


def which(jobs: Overall) -> str:
    """Say which of a file's jobs has just begun; of one alone nothing."""
    return "" if jobs.total == 1 else f", job {number(jobs.begun)} of {number(jobs.total)}"


def plain_line(started: RunStarted, tick: Tick, pace: Speeds) -> str:
    """Say in one line how far the run is."""
    parts = [
        f"{rows(tick, started.rows_expected)} rows",
        f"{number(pace.items_per_s)} items/s",
        *(f"{name} {text}" for name, text in cells(tick, pace).items()),
        to_do(tick, pace),
    ]
    return ", ".join(parts)


def figures(started: RunStarted, tick: Tick, pace: Speeds) -> Mapping[str, Any]:
    """Return what a line of progress says, for a program."""
    meter, limited = tick.meter, tick.meter.rate_limit != float("inf")
    return {
        "rows_read": tick.counts.rows_read,
        "rows_expected": started.rows_expected,
        "items_per_s": round(pace.items_per_s, 1),
        "write_units_per_s": round(pace.wcu_per_s, 1),
        "write_units_limit": meter.rate_limit if limited else None,
        "requests_throttled": sum(meter.throttled.values()),
        "retries": meter.retries,
        "segments_complete": tick.segments.complete,
        "segments_total": tick.segments.total,
        "dead_letters": tick.counts.items_dead_lettered,
        "eta_s": None if pace.eta_s is None else round(pace.eta_s, 1),
    } | {"catch_up_lag_s": tick.log.lag_s, "log_retained_bytes": tick.log.held_back_bytes}


STARTED = ("run_id", "kind", "resumed", "rows_expected", "source", "target", "workers")
ENDED = (
    *("run_id", "kind", "outcome", "rows_read", "items_written", "items_deleted", "items_skipped"),
    *("items_dead_lettered", "elapsed_s"),
)


def told_of(value: object, names: Sequence[str]) -> Mapping[str, Any]:
    """Return some fields of a value."""
    return {name: getattr(value, name) for name in names}


def rows(tick: Tick, rows_expected: int | None) -> str:
    """Say how many rows are done, of how many."""
    if rows_expected is None:
        return number(tick.counts.rows_read)
    done = tick.counts.rows_read
    if done > rows_expected:  # an estimate that was too low says nothing of what is left
        return f"{number(done)} (~{number(rows_expected)} expected)"
    return f"{number(done)} of ~{number(rows_expected)} ({share(done, rows_expected)})"


def to_do(tick: Tick, pace: Speeds) -> str:
    """Say when it will be over; of a log that is read, how far behind it is."""
    if tick.log.lag_s is not None:
        return f"behind {behind(tick.log)}"
    return "ETA " + ("?" if pace.eta_s is None else duration(pace.eta_s))


def cells(tick: Tick, pace: Speeds) -> Mapping[str, str]:
    """Return what else there is to see, each with its name."""
    meter, segments = tick.meter, tick.segments
    limit = "none" if meter.rate_limit == float("inf") else number(meter.rate_limit)
    p50, p99 = quantile(meter.latency, 0.5), quantile(meter.latency, 0.99)
    told = {
        "WCU/s": f"{number(pace.wcu_per_s)} (limit {limit})",
        "throttled": number(sum(meter.throttled.values())),
        "retries": number(meter.retries),
        "segments": f"{number(segments.complete)}/{number(segments.total)}",
        "dead letters": number(tick.counts.items_dead_lettered),
    }
    if p50 is not None and p99 is not None:
        told["latency p50/p99"] = f"{p50 * 1e3:.1f}/{p99 * 1e3:.1f} ms"
    return told


class PlainProgress:
    """A line when something begins, ends or is to be told, and one every 10 s between."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._runs: dict[str, Showing] = {}
        self._all = Overall()
        self._last = PROGRAM

    def on(self, event: Event) -> None:
        """Take note of one event."""
        self._all.take(event)
        match event:
            case RunStarted(job):
                self._runs[job], self._last = Showing(event), job
                said = title(event) + which(self._all)
                self._say(said, "run_started", job=job, fields=told_of(event, STARTED))
            case SegmentsPlanned(total, complete, job):
                said = f"{counted(total, 'segment')}, {number(complete)} complete already"
                fields = {"total": total, "complete": complete}
                self._say(said, "segments_planned", job=job, fields=fields)
            case Notice(text, level, job):
                self._say(text, "notice", level, job)
            case Tick():
                self._tick(event)
            case BrokenOff(text, job):
                self._say(text, "broken_off", "error", job, weight="")
            case RunEnded(report):
                said = (
                    f"{PASSED[report.outcome]}: {counted(report.rows_read, 'row')} read, {written(report)}, "
                    f"{counted(report.items_dead_lettered, 'dead letter')} in {duration(report.elapsed_s)}"
                )
                self._say(said, "run_ended", job=report.job, fields=told_of(report, ENDED))
                self._runs.pop(report.job, None)
            case _:
                pass

    def _tick(self, tick: Tick) -> None:
        run = self._runs.get(tick.job or self._last)
        if run is None:
            return
        run.speeds = pace = run.pace.take(tick, run.started.rows_expected)
        if self._all.due(tick.at_s):
            together = sum(each.speeds.items_per_s for each in self._runs.values())
            said, fields = self._all.line(together, tick.at_s), self._all.figures(together, tick.at_s)
            self._say(said, "progress_of_all", job=PROGRAM, fields=fields)
        if run.said_at_s is None:
            run.said_at_s = tick.at_s
        elif tick.at_s - run.said_at_s >= PLAIN_EVERY_S:
            run.said_at_s = tick.at_s
            said, fields = plain_line(run.started, tick, pace), figures(run.started, tick, pace)
            self._say(said, "progress", job=run.started.job, fields=fields)

    def close(self) -> None:
        """Nothing to give back."""

    def _say(
        self,
        said: str,
        event: str,
        level: lines.Level = "info",
        job: str = "",
        *,
        fields: Mapping[str, Any] | None = None,
        weight: str | None = None,
    ) -> None:
        job = job or self._last
        weight = ("" if level == "info" else f"{level}: ") if weight is None else weight
        text = f"{job}: {weight}{said}"
        lines.tell(said, text=text, level=level, job=job, event=event, fields=fields, stream=self._stream)
