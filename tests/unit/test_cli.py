"""The command line: the exit codes of the contract, a sentence per fault, nothing but results on stdout."""

import importlib.metadata
import json
import logging
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import cli
from engine.cli.signals import BOTH
from engine.environment import cores
from engine.errors import BackfillError, JobError, PermanentError
from engine.events import Notice, RunEnded
from engine.job.model import Job
from engine.report import Report
from engine.show import logs
from tests.support.runs import run_report, run_started, tick, totals

SECRET = "tops3cret"
JOB = f"""
name: orders
source: {{type: postgres, url: "postgres://app:{SECRET}@127.0.0.1:1/shop", table: public.orders}}
target: {{type: dynamodb, table: app-data, region: us-east-1}}
items:
  - {{name: Order, key: {{PK: "ORDER#{{id}}"}}}}
"""
SEVERAL = f"""
target: {{type: dynamodb, table: app-data, region: us-east-1}}
jobs:
  - name: users
    source: {{type: postgres, url: "postgres://app:{SECRET}@127.0.0.1:1/shop", table: users}}
    items: [{{name: User, key: {{PK: "USER#{{id}}"}}}}]
  - name: orders
    source: {{type: postgres, url: "postgres://app:{SECRET}@127.0.0.1:1/shop", table: orders}}
    items: [{{name: Order, key: {{PK: "ORDER#{{id}}"}}}}]
"""

Answer = tuple[int, str, str]


@pytest.fixture(autouse=True)
def logging_and_signals_as_they_were() -> Iterator[None]:
    """Each call sets both up for a process of its own; the tests share one."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    handled = {number: signal.getsignal(number) for number in BOTH}
    yield
    for number, handler in handled.items():
        signal.signal(number, handler)
    root.handlers[:], root.level = handlers, level
    for package in logs.OWN:
        logging.getLogger(package).setLevel(logging.NOTSET)


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "orders.yaml"
    path.write_text(JOB)
    return path


@pytest.fixture
def several(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(SEVERAL)
    return path


@pytest.fixture
def backfill(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Run the program with these arguments; return its exit code, stdout and stderr."""
    monkeypatch.setattr("engine.cli.signals.atexit.register", lambda _: None)  # pytest ends as it likes

    def call(*arguments: object) -> Answer:
        with pytest.raises(SystemExit) as leave:
            cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert isinstance(leave.value.code, int)
        return leave.value.code, out, err

    return call


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A runner that reports what it is told to, and remembers what it was asked for."""
    fake = types.SimpleNamespace(outcomes=["complete"], fault=None, jobs=[], options=None)

    async def run(jobs: Sequence[Job], options: Any, observers: Sequence[Any]) -> list[Report]:
        fake.jobs, fake.options = list(jobs), options
        for event in (run_started(), Notice("a new snapshot"), tick(1.0, meter=totals())):
            for observer in observers:
                observer.on(event)
        if fake.fault is not None:
            raise fake.fault
        reports = [
            run_report(outcome, error="the table is gone" if outcome == "failed" else None)
            for outcome in fake.outcomes
        ]
        for observer in observers:
            observer.on(RunEnded(reports[-1]))
        return reports

    fake.RunOptions = types.SimpleNamespace
    fake.run = run
    monkeypatch.setitem(sys.modules, "engine.run.runner", fake)  # type: ignore[arg-type]
    monkeypatch.setattr("engine.run.runner", fake, raising=False)
    return fake


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
    assert [report["job"] for report in json.loads(out)["jobs"]] == ["orders", "orders"]
    runner.outcomes = ["complete"]
    _, out, _ = backfill("run", several, "--json", "--only", "users")
    assert json.loads(out)["job"] == "orders"
    assert [job.name for job in runner.jobs] == ["users"]


def test_options_reach_the_run(
    backfill: Callable[..., Answer], runner: Any, job_file: Path, tmp_path: Path
) -> None:
    options = ("--state", tmp_path / "s", "--workers", 3, "--fresh", "--set", "target.max_wcu=500")
    assert backfill("run", job_file, *options, "--metrics-port", "127.0.0.1:0")[0] == 0
    assert vars(runner.options) == {"state_dir": tmp_path / "s", "workers": 3, "fresh": True}
    assert runner.jobs[0].target.max_wcu == 500


def test_without_options_there_is_a_worker_per_core(
    backfill: Callable[..., Answer], runner: Any, job_file: Path
) -> None:
    backfill("run", job_file)
    assert vars(runner.options) == {"state_dir": Path(".backfill"), "workers": cores(), "fresh": False}


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
    assert (answer, out) == (code, "")
    assert err.splitlines()[-1] == f"backfill: error: {fault}"
    assert "Traceback" not in err


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


def test_status_of_a_job_that_never_ran(
    backfill: Callable[..., Answer], job_file: Path, tmp_path: Path
) -> None:
    code, out, _ = backfill("status", job_file, "--state", tmp_path)
    assert (code, out) == (0, f"orders: never run with this state ({tmp_path})\n")
    code, out, _ = backfill("status", job_file, "--state", tmp_path, "--json")
    assert (code, json.loads(out)) == (0, {"job": "orders", "outcome": None, "alive": False})


def test_the_schema_knows_the_jobs_keys(backfill: Callable[..., Answer]) -> None:
    code, out, _ = backfill("schema")
    assert code == 0
    assert "delete_when" in json.dumps(json.loads(out))


def test_the_version_is_the_packages(backfill: Callable[..., Answer]) -> None:
    assert backfill("--version")[:2] == (0, f"backfill, version {engine.__version__}\n")


def test_the_demo_says_what_it_lacks(
    backfill: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bench.demo", None)
    monkeypatch.delattr("bench.demo", raising=False)
    code, _, err = backfill("demo")
    assert code == 2
    assert "pip install 'backfill[demo]'" in err


def test_metrics_are_served_while_the_run_lasts(
    backfill: Callable[..., Answer], runner: Any, job_file: Path
) -> None:
    _, _, err = backfill("run", job_file, "--metrics-port", "127.0.0.1:0")
    assert "backfill: metrics on http://127.0.0.1:" in err


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom engine import cli\ntry: cli.main(['run', '--help'])\nfinally: print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.splitlines()[-1].split())
    heavy = {"polars", "pyarrow", "numpy", "pydantic", "yaml", "botocore", "aiobotocore", "asyncpg", "rich"}
    heavy |= {"prometheus_client", "uvloop", "sqlite3", "connectors", "bench"}
    assert loaded & heavy == set()
    assert "--fresh" in ended.stdout


def test_the_entry_point_is_this_main() -> None:
    assert importlib.metadata.entry_points(group="console_scripts")["backfill"].load() is cli.main
