"""What is settled of a run's keys is kept for that run, and for the version whose hashes it holds."""

from pathlib import Path

import numpy as np
import pytest

from engine.commands.run import settled_keys
from engine.commands.run.contest import NO_WINNERS, Winners
from engine.errors import JobError

SOME = Winners(np.array([1, 2], np.uint64), np.array([7, 8], np.uint64))


def test_what_is_kept_is_that_runs_alone(tmp_path: Path) -> None:
    settled_keys.save(tmp_path, "one", SOME)
    kept = settled_keys.load(tmp_path, "one")
    assert kept is not None
    assert (kept.keys.tolist(), kept.rows.tolist()) == ([1, 2], [7, 8])
    assert settled_keys.load(tmp_path, "other") is None


def test_hashes_of_another_version_settle_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled_keys.save(tmp_path, "one", SOME)
    settled_keys.save(tmp_path / "none", "one", NO_WINNERS)
    monkeypatch.setattr("polars.__version__", "another")
    with pytest.raises(JobError, match="go on with that one, or start over with --fresh"):
        settled_keys.load(tmp_path, "one")
    kept = settled_keys.load(tmp_path / "none", "one")
    assert kept is not None, "where nothing was contested no hash is kept"
    assert len(kept) == 0
