"""Progress tells the truth about a run, and never harms it."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from engine.batch import Counts
from engine.contracts.feed import LogFigures
from engine.events import BrokenOff, Event, Notice, RunEnded, SegmentsPlanned
from engine.meter import MeterTotals
from engine.show import live_progress, progress
from tests.support.runs import run_report, run_started, tick, totals


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


def moment(at_s: float, rows: int) -> Event:
    return tick(
        at_s,
        meter=MeterTotals(
            rows_read=rows, items_written=rows, consumed={"": rows * 2.0}, rate_limit=float("inf")
        ),
        counts=Counts(rows_read=rows, items_emitted=rows, items_written=rows),
    )


def test_a_plain_line_every_ten_seconds() -> None:
    stream = io.StringIO()
    shown = progress.PlainProgress(stream)
    shown.on(run_started())
    shown.on(SegmentsPlanned(4, 1))
    for second in range(26):
        shown.on(moment(float(second), second * 10_000))
    shown.on(RunEnded(run_report()))
    assert stream.getvalue().splitlines() == [
        "orders: full run 20240115T100000Z-ab12 starts, public.orders to app-data, workers 2",
        "orders: 4 segments, 1 complete already",
        "orders: 100,000 of ~1,000,000 (10 %) rows, 10,000 items/s, WCU/s 20,000 (limit none), throttled 0, "
        "retries 0, segments 1/4, dead letters 0, ETA 1 min 30 s",
        "orders: 200,000 of ~1,000,000 (20 %) rows, 10,000 items/s, WCU/s 20,000 (limit none), throttled 0, "
        "retries 0, segments 1/4, dead letters 0, ETA 1 min 20 s",
        "orders: complete: 1,000,000 rows read, 999,000 items written, 500 deleted, 200 skipped, "
        "0 dead letters in 8.0 s",
    ]


def test_an_estimate_that_was_too_low_is_no_share() -> None:
    stream = io.StringIO()
    shown = progress.PlainProgress(stream)
    shown.on(run_started(rows_expected=3))
    shown.on(moment(0.0, 0))
    shown.on(moment(10.0, 22))
    assert "orders: 22 (~3 expected) rows" in stream.getvalue()


def test_speed_follows_what_happened_last() -> None:
    pace = progress.Speedometer()
    speeds = [pace.take(moment(float(s), 1_000 * min(s, 20)), None) for s in range(41)]  # type: ignore[arg-type]
    assert speeds[20].rows_per_s == 1_000
    assert speeds[40].rows_per_s == 0
    assert speeds[40].eta_s is None


def test_two_ticks_of_one_moment_have_no_speed() -> None:
    pace = progress.Speedometer()
    pace.take(moment(1.0, 10), 100)  # type: ignore[arg-type]
    assert pace.take(moment(1.0, 20), 100) == progress.Speeds(0, 0, 0, None)  # type: ignore[arg-type]


def test_a_resumed_run_goes_on_from_what_is_durable() -> None:
    stream = io.StringIO()
    shown = progress.PlainProgress(stream)
    shown.on(run_started(resumed=True, rows_expected=None))
    shown.on(tick(0.0, counts=Counts(rows_read=600)))
    shown.on(tick(10.0, counts=Counts(rows_read=700), meter=totals()))
    text = stream.getvalue()
    assert "goes on" in text
    assert "orders: 700 rows" in text
    assert "latency p50/p99" in text
    assert "ETA ?" in text


def test_notices_are_told_with_their_weight() -> None:
    stream = io.StringIO()
    shown = progress.PlainProgress(stream)
    shown.on(Notice("nothing to do"))
    shown.on(run_started())
    shown.on(Notice("a new snapshot", "warning"))
    assert stream.getvalue().splitlines()[0] == "backfill: nothing to do"
    assert stream.getvalue().splitlines()[-1] == "orders: warning: a new snapshot"


@pytest.mark.parametrize("kind", [progress.PlainProgress, live_progress.LiveProgress])
def test_what_is_told_of_the_next_job_doesnt_carry_the_name_of_the_one_before(kind: Any) -> None:
    stream = Terminal()
    shown = kind(stream)
    for event in (run_started(job="users"), RunEnded(run_report()), Notice("is looked at", job="orders")):
        shown.on(event)
    shown.on(BrokenOff("stopped at once", job="orders"))
    lines = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", stream.getvalue()).splitlines()
    assert "orders: is looked at" in lines
    assert lines[-1] == "orders: stopped at once"


@pytest.mark.parametrize("stream", [Closed(), io.TextIOWrapper(io.BytesIO(), encoding="ascii")])
@pytest.mark.parametrize("kind", [progress.PlainProgress, live_progress.LiveProgress])
def test_a_closed_or_ascii_stream_is_put_up_with(
    stream: io.StringIO, kind: type[progress.PlainProgress | live_progress.LiveProgress]
) -> None:
    shown = kind(stream)
    for event in (run_started(source="bücher"), Notice("größer"), moment(0.0, 1), moment(11.0, 2)):
        shown.on(event)
    shown.on(RunEnded(run_report()))
    shown.close()


@pytest.mark.parametrize("columns", ["8", "40", "200"])
@pytest.mark.parametrize("no_colour", [True, False])
def test_the_live_display_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: str, no_colour: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", "24")
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    shown = progress.observer(stream)
    assert isinstance(shown, live_progress.LiveProgress)
    for event in (run_started(), Notice("read [this]"), tick(1.0, meter=totals(), watermark_lag_s=61.0)):
        shown.on(event)
    shown.on(RunEnded(run_report()))
    text = stream.getvalue()
    assert "[this]" in text.replace("\n", "")
    assert "\x1b[?25l" not in text, "a killed run must not leave the terminal without a cursor"


def test_the_picture_holds_what_matters() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    now = tick(10.0, meter=totals(), counts=Counts(rows_read=250_000, items_dead_lettered=3))
    pace = progress.Speeds(1.0, 128_400.0, 2.0, 61.0)
    console.print(live_progress._picture([live_progress._Drawn(run_started(), speeds=pace, tick=now)], ""))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in (
        "250,000 of ~1,000,000 (25 %) rows, 128,400 items/s, ETA 1 min 01 s",
        "━━━",
        "WCU/s",
        "limit 4,000",
        "1/4",
        "16 requests",
    ):
        assert part in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert [line[:5] for line in plain.splitlines()][1:3] == ["━━━━━", "WCU/s"], (
        "the bar has a line of its own"
    )


def test_the_display_is_wiped_when_the_run_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    shown = progress.observer(stream)
    shown.on(run_started())
    shown.on(tick(1.0))
    shown.close()
    shown.close()
    shown.on(tick(2.0))
    assert stream.getvalue().endswith("\x1b[2K"), "what follows starts on a clean line"


def test_a_pipe_or_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress.observer(io.StringIO()), progress.PlainProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress.observer(Terminal()), progress.PlainProgress)


def test_the_time_left_follows_the_targets_pace_not_the_bursts_of_reading() -> None:
    counts = Counts(rows_read=1000, items_emitted=2000, items_written=2000)
    before = tick(at_s=10.0, counts=counts, meter=MeterTotals(rows_read=5000, items_written=2000))
    now = tick(at_s=20.0, counts=counts, meter=MeterTotals(rows_read=5000, items_written=4000))
    left = progress.speeds(before, now, rows_expected=11_000).eta_s
    assert left == 10_000 * 2 / 200


def test_what_is_read_and_not_acked_makes_no_time_left() -> None:
    """A target at 50 units a second: the window was filled at once, and then all waited for the table."""
    before = tick(at_s=0.0)
    now = tick(at_s=10.0, meter=MeterTotals(rows_read=20_000, items_written=500))
    assert progress.speeds(before, now, rows_expected=21_000).eta_s is None
    acked = tick(
        at_s=20.0,
        meter=MeterTotals(rows_read=20_000, items_written=1_000),
        counts=Counts(rows_read=1_000, items_emitted=1_000, items_written=1_000),
    )
    assert progress.speeds(before, acked, rows_expected=21_000).eta_s == 20_000 / 50


@pytest.mark.parametrize("kind", [progress.PlainProgress, live_progress.LiveProgress])
def test_a_run_that_is_broken_off_says_so_on_a_line_of_its_own(
    kind: type[progress.PlainProgress | live_progress.LiveProgress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    shown = kind(stream)
    shown.on(run_started())
    shown.on(tick(1.0, meter=totals()))
    shown.on(BrokenOff("stopped at once"))
    shown.on(tick(2.0, meter=totals()))
    assert re.sub(r"\x1b\[[\d;]*[A-Za-z]", "\n", stream.getvalue()).splitlines()[-1] == (
        "orders: stopped at once"
    )
    assert stream.getvalue().endswith("\n"), "the prompt begins on a line of its own"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_jobs_that_run_side_by_side_are_told_apart(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown = progress.observer(stream)
    for job in ("users", "orders"):
        shown.on(run_started(job=job, rows_expected=None))
    for second in (0.0, 12.0):
        shown.on(tick(second, job="orders", counts=Counts(rows_read=7), log=LogFigures(2.0, 5)))
        shown.on(tick(second, job="users", counts=Counts(rows_read=3), log=LogFigures(1.0, 5)))
    shown.on(Notice("look", job="users"))
    shown.on(RunEnded(replace(run_report(), job="users")))
    shown.on(tick(24.0, job="orders", counts=Counts(rows_read=9), log=LogFigures(4.0, 5)))
    shown.close()
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", stream.getvalue()).splitlines()
    for job, rows, behind in (("users", 3, 1), ("orders", 7, 2), ("orders", 9, 4)):
        assert [line for line in lines if f"{rows} rows" in line and f"behind {behind}.0 s" in line], lines
        assert any(line.startswith(job) and f"{rows} rows" in line for line in lines) or rows == 9, lines
    assert "users: look" in lines
