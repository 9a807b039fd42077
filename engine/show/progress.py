"""Progress on stderr: a live display on a terminal, a plain line now and then elsewhere.

Invariant: showing progress never harms the run: a closed, narrow or colourless terminal is put up with. Time
is the ticks' own, so nothing here reads a clock. rich is imported here only, and only for a live display.
"""

import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from engine.amounts import counted, duration, number, share
from engine.batch import Counts
from engine.events import BrokenOff, Event, Notice, Observer, RunEnded, RunStarted, SegmentsPlanned, Tick
from engine.masking import printable
from engine.meter import TABLE, quantile
from engine.show import lines
from engine.show.summary import KINDS, PASSED, behind

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

PLAIN_EVERY_S = 10.0
"""Seconds between two plain lines."""

SMOOTH_OVER_S = 10.0
"""Seconds over which speeds are averaged."""

TICKS_KEPT_MAX = 120


class Progress(Observer, Protocol):
    """An observer that holds a terminal."""

    def close(self) -> None:
        """Give the terminal back as it was, however the run ended."""


def observer(stream: TextIO | None = None) -> Progress:
    """Return the progress that suits the stream: live on a capable terminal, else plain."""
    stream = sys.stderr if stream is None else stream
    lives = stream.isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}
    if lives and lines.style == lines.Style():
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


def title(started: RunStarted) -> str:
    """Say in one line what runs."""
    verb = "goes on" if started.resumed else "starts"
    return (
        f"{KINDS[started.kind]} {started.run_id} {verb}, "
        f"{started.source} to {started.target}, workers {started.workers}"
    )


def plain_line(started: RunStarted, tick: Tick, pace: Speeds) -> str:
    """Say in one line how far the run is."""
    parts = [
        f"{_rows(tick, started.rows_expected)} rows",
        f"{number(pace.items_per_s)} items/s",
        *(f"{name} {text}" for name, text in _cells(tick, pace).items()),
        _to_do(tick, pace),
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
ENDED = ("run_id", "kind", "outcome", "rows_read", "items_written", "items_dead_lettered", "elapsed_s")


def told_of(value: object, names: Sequence[str]) -> Mapping[str, Any]:
    """Return some fields of a value."""
    return {name: getattr(value, name) for name in names}


def _rows(tick: Tick, rows_expected: int | None) -> str:
    if rows_expected is None:
        return number(tick.counts.rows_read)
    rows = tick.counts.rows_read
    if rows > rows_expected:  # an estimate that was too low says nothing of what is left
        return f"{number(rows)} (~{number(rows_expected)} expected)"
    return f"{number(rows)} of ~{number(rows_expected)} ({share(rows, rows_expected)})"


def _to_do(tick: Tick, pace: Speeds) -> str:
    """Say when it will be over; of a log that is read, how far behind it is."""
    if tick.log.lag_s is not None:
        return f"behind {behind(tick.log)}"
    return "ETA " + ("?" if pace.eta_s is None else duration(pace.eta_s))


def _cells(tick: Tick, pace: Speeds) -> Mapping[str, str]:
    meter, segments = tick.meter, tick.segments
    limit = "none" if meter.rate_limit == float("inf") else number(meter.rate_limit)
    p50, p99 = quantile(meter.latency, 0.5), quantile(meter.latency, 0.99)
    cells = {
        "WCU/s": f"{number(pace.wcu_per_s)} (limit {limit})",
        "throttled": number(sum(meter.throttled.values())),
        "retries": number(meter.retries),
        "segments": f"{number(segments.complete)}/{number(segments.total)}",
        "dead letters": number(tick.counts.items_dead_lettered),
    }
    if p50 is not None and p99 is not None:
        cells["latency p50/p99"] = f"{p50 * 1e3:.1f}/{p99 * 1e3:.1f} ms"
    return cells


class PlainProgress:
    """A line when something begins, ends or is to be told, and one every 10 s between."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started: RunStarted | None = None
        self._pace = Speedometer()
        self._said_at_s: float | None = None

    def on(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case RunStarted():
                self._started, self._pace, self._said_at_s = event, Speedometer(), None
                self._say(title(event), "run_started", fields=told_of(event, STARTED))
            case SegmentsPlanned(total, complete):
                said = f"{counted(total, 'segment')}, {number(complete)} complete already"
                self._say(said, "segments_planned", fields={"total": total, "complete": complete})
            case Notice(text, level, job):
                self._say(text, "notice", level, job)
            case Tick():
                self._tick(event)
            case BrokenOff(text, job):
                self._say(text, "broken_off", "error", job, weight="")
            case RunEnded(report):
                said = (
                    f"{PASSED[report.outcome]}: {number(report.rows_read)} rows read, "
                    f"{number(report.items_written)} items written, "
                    f"{number(report.items_dead_lettered)} dead letters in {duration(report.elapsed_s)}"
                )
                self._say(said, "run_ended", job=report.job, fields=told_of(report, ENDED))

    @property
    def _job(self) -> str:
        return self._started.job if self._started else "backfill"

    def _tick(self, tick: Tick) -> None:
        if self._started is None:
            return
        pace = self._pace.take(tick, self._started.rows_expected)
        if self._said_at_s is None:
            self._said_at_s = tick.at_s
        elif tick.at_s - self._said_at_s >= PLAIN_EVERY_S:
            self._said_at_s = tick.at_s
            said = plain_line(self._started, tick, pace)
            self._say(said, "progress", fields=figures(self._started, tick, pace))

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
        job = job or self._job
        weight = ("" if level == "info" else f"{level}: ") if weight is None else weight
        text = f"{job}: {weight}{said}"
        lines.tell(said, text=text, level=level, job=job, event=event, fields=fields, stream=self._stream)


class LiveProgress:
    """A few lines that are redrawn with every tick; notices stay above them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: Live | None = None
        self._started: RunStarted | None = None
        self._pace = Speedometer()

    def on(self, event: Event) -> None:
        """Take note of one event."""
        try:
            self._show(event)
        except (OSError, ValueError):
            self._live = None  # the terminal is gone; the run goes on

    def close(self) -> None:
        """Wipe the display."""
        try:
            self._stop()
        except (OSError, ValueError):
            return

    def _show(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._stop()
                self._started, self._pace = event, Speedometer()
                self._live = _start_live(self._stream)
                self._print(f"{event.job}: {title(event)}")
            case Notice(text, level, job):
                # A job that runs has its name above; one that is only looked at would seem to be the last.
                name = f"{job}: " if job and (self._started is None or job != self._started.job) else ""
                self._print(f"{name}{text}" if level == "info" else f"{name}{level}: {text}")
            case Tick() if self._live is not None and self._started is not None:
                pace = self._pace.take(event, self._started.rows_expected)
                self._live.update(_picture(self._started, event, pace), refresh=True)
            case BrokenOff(text, job):
                self._stop()
                job = job or (self._started.job if self._started else "backfill")
                self._stream.write(printable(f"{job}: {text}\n"))
                self._stream.flush()
            case RunEnded():
                self._stop()
            case _:
                pass

    def _print(self, text: str) -> None:
        text = printable(text)
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(text + "\n")

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def _start_live(stream: TextIO) -> "Live":
    from rich.console import Console
    from rich.live import Live

    class Display(Console):
        def on_broken_pipe(self) -> None:
            """Fall silent; rich's own way would end the process."""
            self.quiet = True

        def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002 - rich's signature
            """Leave the cursor be: hidden, it would stay so in the terminal after a kill."""
            return False

    # No refresh thread: ticks come often enough, and the run's process stays single-threaded here.
    live = Live(console=Display(file=stream), auto_refresh=False, transient=True, redirect_stdout=False)
    live.start()
    return live


def _picture(started: RunStarted, tick: Tick, pace: Speeds) -> "RenderableType":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    rows = _rows(tick, started.rows_expected)
    head = f"{rows} rows, {number(pace.items_per_s)} items/s, {_to_do(tick, pace)}"
    bar: dict[str, Any] = {"completed": tick.counts.rows_read}
    bar |= {"total": started.rows_expected} if started.rows_expected else {"pulse": True, "total": None}
    line = Table.grid(expand=True)  # a bar by itself doesn't end its line
    line.add_row(ProgressBar(**bar))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for name, text in _cells(tick, pace).items():
        grid.add_row(Text(name), Text(text))
    grid.add_row(Text("in flight"), Text(f"{number(tick.meter.requests_in_flight)} requests"))
    grid.add_row(Text("workers"), Text(number(started.workers)))
    grid.add_row(Text("checkpoint"), Text(f"{tick.checkpoint_age_s:.1f} s old"))
    if tick.watermark_lag_s is not None:
        grid.add_row(Text("watermark lag"), Text(duration(tick.watermark_lag_s)))
    return Group(Text(head, no_wrap=True, overflow="ellipsis"), line, grid)
