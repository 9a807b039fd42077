"""Every fault ends as one sentence on stderr and an exit code of the contract."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BackfillError, JobError, PermanentError
from tests.unit.cli.conftest import SECRET, Answer


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (JobError("source.table: there is no table public.orders"), 2),
        (PermanentError("the table app-data is gone"), 1),
        (BackfillError("the disk is full"), 1),
    ],
)
def test_a_fault_is_one_sentence(
    backfill: Callable[..., Answer], runner: Any, job_file: Path, fault: BackfillError, code: int
) -> None:
    runner.fault = fault
    answer, out, err = backfill("run", job_file, "--json")
    assert (answer, json.loads(out)) == (code, {"error": str(fault)})
    assert err.splitlines()[-1] == f"backfill: error: {fault}"
    assert "Traceback" not in err
    assert backfill("run", job_file)[:2] == (code, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--json"),
        ("frobnicate", "--json"),
        *((command, "absent.yaml", "--json") for command in ("plan", "status", "verify", "redrive", "bench")),
        ("verify", "JOB", "--json", "--delete-extra"),
        ("plan", "--json", "JOB", "--nope"),
        ("demo", "--json", "--source", "oracle"),
        ("table", "create", "absent.yaml", "--json"),
        ("run", "JOB", "--json", "--metrics-port", "x"),
    ],
)
def test_programs_read_of_what_doesnt_fit_as_json(
    backfill: Callable[..., Answer], runner: Any, job_file: Path, arguments: tuple[str, ...]
) -> None:
    code, out, err = backfill(*(job_file if part == "JOB" else part for part in arguments))
    assert code == 2
    assert (
        f"backfill: error: {json.loads(out)['error']}"
        == err.removesuffix("\n").split("\n", err.count("backfill: error") - 1)[-1]
    )


def test_what_was_done_before_a_fault_is_told(
    backfill: Callable[..., Answer], runner: Any, several: Path
) -> None:
    runner.late_fault = JobError("orders: source.table: there is no table orders")
    code, out, _ = backfill("run", several, "--json")
    told = json.loads(out)
    assert (code, told["error"]) == (2, str(runner.late_fault))
    assert [job["rows_read"] for job in told["jobs"]] == [1_000_000]
    code, out, _ = backfill("run", several)
    assert code == 2
    assert "orders        not begun" in out


def test_a_bug_is_an_object_too(backfill: Callable[..., Answer], runner: Any, job_file: Path) -> None:
    runner.fault = KeyError("segment")
    code, out, _ = backfill("run", job_file, "--json")
    assert code == 1
    assert json.loads(out)["error"].startswith("internal error: KeyError")


def test_a_failed_runs_cause_is_told_on_stderr(
    backfill: Callable[..., Answer], runner: Any, job_file: Path
) -> None:
    runner.outcomes = ["failed"]
    code, out, err = backfill("run", job_file, "--json")
    assert (code, json.loads(out)["error"]) == (1, "the table is gone")
    assert err.splitlines()[-1] == "backfill: error: the table is gone"


class Panic(BaseException):
    """As Polars panics: its class is no Exception."""


@pytest.mark.parametrize("fault", [KeyError("segment"), Panic("'segment'")])
def test_a_bug_is_a_sentence_too_and_v_shows_where(
    backfill: Callable[..., Answer], runner: Any, job_file: Path, fault: BaseException
) -> None:
    runner.fault = fault
    code, _, err = backfill("run", job_file)
    assert code == 1
    kind = type(fault).__name__
    assert f"backfill: error: internal error: {kind}: 'segment'; please report this" in err
    assert "Traceback" not in err
    code, _, err = backfill("run", job_file, "-v")
    assert code == 1
    assert "Traceback" in err


def test_no_secret_is_told_even_by_a_bug(
    backfill: Callable[..., Answer], runner: Any, job_file: Path
) -> None:
    runner.fault = OSError(f"connect postgres://app:{SECRET}@127.0.0.1/shop")
    _, out, err = backfill("run", job_file, "-v")
    assert "127.0.0.1/shop" in err
    assert SECRET not in out + err


def test_ctrl_c_outside_a_run_is_an_interruption(
    backfill: Callable[..., Answer], runner: Any, job_file: Path
) -> None:
    runner.fault = KeyboardInterrupt()
    code, _, err = backfill("run", job_file)
    assert (code, err.splitlines()[-1]) == (130, "backfill: interrupted; run the same command again")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("frobnicate",),
        ("run", "absent.yaml"),
        ("run", "JOB", "--workers", "0"),
        ("run", "JOB", "--nope"),
        ("run", "JOB", "--set", "target.tabel=x"),
        ("run", "JOB", "--only", "nobody"),
        ("run", "JOB", "--metrics-port", "x"),
        ("table", "create", "JOB"),
        ("status", "absent.yaml"),
    ],
)
def test_what_doesnt_fit_exits_2_with_a_sentence(
    backfill: Callable[..., Answer], runner: Any, job_file: Path, arguments: tuple[str, ...]
) -> None:
    code, out, err = backfill(*(job_file if part == "JOB" else part for part in arguments))
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("backfill: error: ")
    assert SECRET not in err
    assert runner.jobs == []


@pytest.mark.parametrize("verb", ["run", "plan", "status", "verify", "redrive", "bench", "table create"])
@pytest.mark.parametrize("asked", [("--log-format", "json"), ("--log-format=json", "--nope")])
def test_of_every_command_an_error_is_a_line_of_json_if_so_asked(
    backfill: Callable[..., Answer], verb: str, asked: tuple[str, ...]
) -> None:
    code, out, err = backfill(*verb.split(), "absent.yaml", *asked)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["event"]) == ("error", "error")
    assert "absent.yaml" in told["message"] or "--nope" in told["message"]
