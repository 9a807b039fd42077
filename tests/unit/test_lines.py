"""Lines on stderr: of one shape as JSON, without what a terminal obeys or what is secret; few if so asked."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from engine.batch import Counts
from engine.events import BrokenOff, Notice, RunEnded, SegmentsPlanned
from engine.meter import MeterTotals
from engine.show import lines, logs, progress
from tests.support.runs import run_report, run_started, tick

SAYS = "\x1b]0;x\x07 postgres://me:s3cr3t@h/db \u2028 ü"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    lines.setup()


def said(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_masking_and_control_characters_are_those_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for as_json in (False, True):
        lines.setup(as_json=as_json)
        logs.setup(verbose=False)
        stderr = io.StringIO()
        monkeypatch.setattr("sys.stderr", stderr)
        lines.tell(SAYS, fields={"words": SAYS, "count": 3, "none": None})
        logging.getLogger("engine").warning(SAYS)
        assert "s3cr3t" not in stderr.getvalue()
        assert not set("\x1b\x07\u2028") & set(stderr.getvalue())
        if as_json:
            told, logged = said(stderr)
            assert told["message"] == logged["message"] == "\\x1b]0;x\\x07 postgres://me:***@h/db \\u2028 ü"
            assert told["fields"] == {"words": told["message"], "count": 3, "none": None}
            assert (logged["level"], logged["event"]) == ("warning", "log")


def test_a_library_error_in_a_log_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines.setup(as_json=True)
    for verbose in (False, True):
        logs.setup(verbose=verbose)
        stderr = io.StringIO()
        monkeypatch.setattr("sys.stderr", stderr)
        try:
            int("no\nway")
        except ValueError:
            logging.getLogger("botocore").warning("refresh failed", exc_info=True)
        (line,) = said(stderr)
        fields = line["fields"]
        assert isinstance(fields, dict)
        assert ("Traceback" in str(fields.get("traceback"))) == verbose


def test_progress_as_json_carries_its_figures() -> None:
    lines.setup(as_json=True)
    stream = io.StringIO()
    shown = progress.observer(stream)
    for event in (run_started(), SegmentsPlanned(4, 1), Notice("look", "warning", "orders")):
        shown.on(event)
    for second in (0.0, 10.0):
        rows = int(second) * 1_000
        counts = Counts(rows_read=rows, items_emitted=rows, items_written=rows)
        shown.on(tick(second, meter=MeterTotals(items_written=rows, rate_limit=float("inf")), counts=counts))
    shown.on(BrokenOff("left at once", "orders"))
    shown.on(RunEnded(run_report()))
    told = said(stream)
    assert [(line["event"], line["level"]) for line in told] == [
        ("run_started", "info"),
        ("segments_planned", "info"),
        ("notice", "warning"),
        ("progress", "info"),
        ("broken_off", "error"),
        ("run_ended", "info"),
    ]
    assert {line["job"] for line in told} == {"orders"}
    figures = told[3]["fields"]
    assert isinstance(figures, dict)
    assert (figures["rows_read"], figures["rows_expected"], figures["items_per_s"]) == (
        10_000,
        1_000_000,
        1_000,
    )


def test_quiet_keeps_warnings_and_what_broke_off() -> None:
    lines.setup(quiet=True)
    stream = io.StringIO()
    shown = progress.observer(stream)
    for event in (run_started(), SegmentsPlanned(4, 1), Notice("fine"), Notice("look", "warning")):
        shown.on(event)
    shown.on(BrokenOff("left at once"))
    assert stream.getvalue().splitlines() == ["orders: warning: look", "orders: left at once"]
