"""The file of a verification under way."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.commands.verify import progress_store
from engine.commands.verify.progress_store import ProgressStore


def test_a_file_is_set_up_whole_or_not_at_all(tmp_path: Path) -> None:
    """A verification that was killed while it made its file keeps no later one from making it."""
    with pytest.MonkeyPatch.context() as patch:
        first_table, _ = progress_store._SCHEMA.split("states", 1)
        patch.setattr(progress_store, "_SCHEMA", first_table)
        with pytest.raises(sqlite3.OperationalError):
            ProgressStore(tmp_path)
    with closing(ProgressStore(tmp_path)) as store:
        assert store.segments(0) == []


def test_two_may_set_it_up_at_once(tmp_path: Path) -> None:
    with closing(ProgressStore(tmp_path)) as one, closing(ProgressStore(tmp_path)) as other:
        other._file.executescript(progress_store._SCHEMA)
        one.put("a", "b")
        assert other.get("a") == "b"
