"""The demo, small: with Dynoxide, and on a machine without npm, where the simulator stands in for it."""

import json
from pathlib import Path

import pytest

from bench import demo


def test_the_demo_loads_and_finds_every_item_equal(capsys: pytest.CaptureFixture[str], dynoxide: str) -> None:
    assert demo.run(as_json=True, orders=300) == 0
    told = capsys.readouterr()
    comparison = json.loads(told.out)["comparison"]
    assert comparison["checked"] == comparison["matched"] == 300 + 300 // 5 + 1000
    assert "Dynoxide" in told.err
    assert "orders in one request" in told.err


def test_without_npm_the_simulator_stands_in_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("bench.servers.shutil.which", lambda name: None)
    assert demo.run(as_json=True, orders=100) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["comparison"]["extra"] == 0
    assert "npm is missing" in told.err
    assert "the simulator stands in" in told.err
