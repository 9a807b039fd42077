"""The program called in this process, with a runner that only reports."""

import logging
import signal
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import cli
from engine.cli.signals import ENDING
from engine.events import Notice, RunEnded
from engine.job.model import Job
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
    handled = {number: signal.getsignal(number) for number in ENDING}
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
    fake = types.SimpleNamespace(outcomes=["complete"], fault=None, late_fault=None, jobs=[], options=None)

    async def run(jobs: Sequence[Job], options: Any, observers: Sequence[Any]) -> None:
        fake.jobs, fake.options = list(jobs), options
        for event in (run_started(), Notice("a new snapshot"), tick(1.0, meter=totals())):
            for observer in observers:
                observer.on(event)
        if fake.fault is not None:
            raise fake.fault
        gone = "the table is gone"
        reports = [
            replace(run_report(outcome, error=gone if outcome == "failed" else None), job=job.name)
            for job, outcome in zip(jobs, fake.outcomes, strict=False)
        ]
        for report in reports:
            for observer in observers:
                observer.on(RunEnded(report))
        if fake.late_fault is not None:
            raise fake.late_fault

    fake.run = run
    monkeypatch.setitem(sys.modules, "engine.commands.run.several", fake)  # type: ignore[arg-type]
    monkeypatch.setattr("engine.commands.run.several", fake, raising=False)
    return fake
