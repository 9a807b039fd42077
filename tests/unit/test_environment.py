"""The process doesn't take more than it was given, and what the user has set wins."""

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
