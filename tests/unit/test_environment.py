"""The process doesn't take more than it was given, and what the user has set wins."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from engine import environment


def test_a_containers_quota_bounds_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8), raising=False)
    limit = tmp_path / "cpu.max"
    found = {}
    for text in ("max 100000", "250000 100000", "50000 100000", "nonsense"):
        limit.write_text(text)
        found[text] = environment.cores(limit)
    assert found == {"max 100000": 8, "250000 100000": 2, "50000 100000": 1, "nonsense": 8}
    assert environment.cores(tmp_path / "absent") == 8


def test_the_users_own_setting_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_MAX_THREADS", "7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    environment.tune()
    import os

    assert os.environ["POLARS_MAX_THREADS"] == "7"
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_the_many_containers_of_a_start_are_hardly_collected() -> None:
    code = (
        "from engine.environment import tune; tune(); import engine.commands.run.runner, gc;"
        "print(sum(each['collections'] for each in gc.get_stats()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20  # by default some 180


def test_an_interpreter_that_ends_looks_through_nothing() -> None:
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count(), len(gc.get_objects())));"
        "from engine.environment import tune; tune()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    frozen, left = map(int, done.stdout.split())
    assert frozen > 1_000 > left


def test_a_process_of_a_run_collects_rarely() -> None:
    before = gc.get_threshold()
    try:
        environment.tune()
        assert gc.get_threshold()[0] == environment.COLLECT_AFTER
    finally:
        gc.set_threshold(*before)
