"""`backfill run`: options in, exit codes of the contract and nothing but results on stdout out."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import run_report
from tests.unit.cli.conftest import Answer


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("complete", 0), ("failed", 1), ("complete_with_dead_letters", 3), ("interrupted", 130)],
)
def test_the_outcome_is_the_exit_code(
    backfill: Callable[..., Answer], runner: Any, job_file: Path, outcome: str, code: int
) -> None:
    runner.outcomes = [outcome]
    assert backfill("run", job_file)[0] == code


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (["complete", "complete_with_dead_letters"], 3),
        (["complete_with_dead_letters", "failed"], 1),
        (["complete_with_dead_letters", "interrupted"], 130),
    ],
)
def test_the_worst_of_several_jobs_is_the_exit_code(
    backfill: Callable[..., Answer], runner: Any, several: Path, outcomes: list[str], code: int
) -> None:
    runner.outcomes = outcomes
    assert backfill("run", several)[0] == code


def test_a_run_shows_its_result_on_stdout_and_its_progress_on_stderr(
    backfill: Callable[..., Answer], runner: Any, job_file: Path
) -> None:
    _, out, err = backfill("run", job_file)
    assert out.startswith("orders: full run complete")
    assert "a new snapshot" in err
    assert "a new snapshot" not in out


def test_json_is_one_object_and_alone_on_stdout(
    backfill: Callable[..., Answer], runner: Any, job_file: Path, several: Path
) -> None:
    _, out, _ = backfill("run", job_file, "--json")
    assert json.loads(out) == run_report().as_json()
    runner.outcomes = ["complete", "complete"]
    _, out, _ = backfill("run", several, "--json")
    assert [report["job"] for report in json.loads(out)["jobs"]] == ["users", "orders"]
    runner.outcomes = ["complete"]
    _, out, _ = backfill("run", several, "--json", "--only", "users")
    assert json.loads(out)["job"] == "users"
    assert [job.name for job in runner.jobs] == ["users"]


def test_options_reach_the_run(
    backfill: Callable[..., Answer], runner: Any, job_file: Path, tmp_path: Path
) -> None:
    options = (
        "--state",
        tmp_path / "s",
        "--workers",
        3,
        "--fresh",
        "--follow",
        "--parallel-jobs",
        4,
        "--set",
        "target.max_wcu=500",
    )
    assert backfill("run", job_file, *options, "--metrics-port", "127.0.0.1:0")[0] == 0
    assert asdict(runner.options) == {
        "state_dir": tmp_path / "s",
        "workers": 3,
        "fresh": True,
        "follow": True,
        "abreast": 4,
        "listen": None,
        "ray": None,
    }
    assert runner.jobs[0].target.max_wcu == 500


@pytest.mark.parametrize("options", [(), ("--workers", "auto")])
def test_how_many_work_is_left_to_the_run_unless_it_is_said(
    backfill: Callable[..., Answer], runner: Any, job_file: Path, options: tuple[str, ...]
) -> None:
    backfill("run", job_file, *options)
    assert asdict(runner.options) == {
        "state_dir": Path(".backfill"),
        "workers": None,
        "fresh": False,
        "follow": False,
        "abreast": 1,
        "listen": None,
        "ray": None,
    }


def test_metrics_are_served_while_the_run_lasts(
    backfill: Callable[..., Answer], runner: Any, job_file: Path
) -> None:
    _, _, err = backfill("run", job_file, "--metrics-port", "127.0.0.1:0")
    assert "backfill: metrics on http://127.0.0.1:" in err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--workers", "0"), "--workers 0 leaves all to workers that dial in: add --listen"),
        (("--expect", "2"), "are about workers that dial in: add --listen"),
        (("--tls-key", "key.pem"), "are about workers that dial in: add --listen"),
        (("--listen", "7400"), "--listen: it must be HOST:PORT"),
        (("--listen", "127.0.0.1:0"), "--listen is about one job: name it with --only"),
        (("--listen", "127.0.0.1:0", "--only", "users"), "BACKFILL_WORKER_TOKEN must hold the token"),
    ],
    ids=" ".join,
)
def test_how_workers_of_other_hosts_take_part_is_checked_first(
    backfill: Callable[..., Answer],
    several: Path,
    options: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("BACKFILL_WORKER_TOKEN", raising=False)
    code, _, err = backfill("run", several, "--state", tmp_path / "state", *options)
    assert (code, sentence in err) == (2, True), err


@pytest.mark.parametrize("head", ["head", "head:", ":7400"])
def test_a_worker_is_told_whom_to_call(backfill: Callable[..., Answer], head: str) -> None:
    code, out, err = backfill("worker", head)
    assert (code, out, "HEAD:PORT: it must be HOST:PORT" in err) == (2, "", True), err
