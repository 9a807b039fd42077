"""The report holds the contract's figures, and replaces the old file whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from engine import report as reports
from engine.batch import Counts, Effort
from engine.errors import PermanentError
from tests.support.runs import run_report

CONTRACT = [
    "job",
    "run_id",
    "kind",
    "outcome",
    "started_at",
    "finished_at",
    "resumed",
    "rows_read",
    "rows_expected",
    "items_emitted",
    "items_written",
    "items_deleted",
    "items_skipped",
    "items_coalesced",
    "items_dead_lettered",
    "requests",
    "items_unprocessed",
    "requests_throttled",
    "retries",
    "consumed_wcu",
    "elapsed_s",
    "items_per_s",
    "cpu_s",
    "cpu_us_per_item",
    "peak_rss_mb",
    "write_latency_ms",
    "segments",
    "watermark",
    "error",
]


def test_the_contracts_fields_come_in_its_order() -> None:
    assert list(run_report().as_json())[: len(CONTRACT)] == CONTRACT


def test_every_figure_comes_from_the_checkpoint() -> None:
    found = run_report(since="2024-01-01", watermark="2024-01-15", interruptions=1).as_json()
    assert found["resumed"] is True
    assert found["consumed_wcu"] == {"table": 1_000_000.0, "gsi": {"ByEmail": 500_000.0}}
    assert found["items_per_s"] == 124_962.5  # 999,700 answered by the target in 8 s
    assert found["cpu_us_per_item"] == 7.4
    assert found["peak_rss_mb"] == 310.4
    assert found["segments"] == {"total": 4, "complete": 4}
    assert found["watermark"] == {"from": "2024-01-01", "to": "2024-01-15"}
    assert list(found["write_latency_ms"]) == ["p50", "p95", "p99"]
    assert 4.6 < found["write_latency_ms"]["p50"] < found["write_latency_ms"]["p99"] <= 5.83


def test_no_secret_gets_into_the_report() -> None:
    assert run_report("failed", error="can't reach postgres://app:secret@db/shop").error == (
        "can't reach postgres://app:***@db/shop"
    )


def test_a_run_without_items_has_no_figures_per_item() -> None:
    empty = run_report(counts=Counts(), effort=Effort())
    assert (empty.items_per_s, empty.cpu_us_per_item) == (0.0, None)
    assert empty.write_latency_ms == {"p50": None, "p95": None, "p99": None}


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("complete", 0), ("failed", 1), ("complete_with_dead_letters", 3), ("interrupted", 130)],
)
def test_each_outcome_has_its_exit_code(outcome: str, code: int) -> None:
    assert run_report(outcome).exit_code == code


def test_the_file_is_what_the_report_says(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("an old one")
    reports.write(run_report(), path)
    assert json.loads(path.read_text()) == run_report().as_json()
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    path.write_text("an old one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PermanentError, match=r"No space left on device; .* report on stdout"):
        reports.write(run_report(), path)
    assert path.read_text() == "an old one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
