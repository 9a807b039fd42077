"""A file that takes another one's place does so whole, and for its owner's eyes."""

import os
import stat
from pathlib import Path

import pytest

from engine.own_files import removed, replaced


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "kept"
    path.write_bytes(b"before")
    return path


def test_the_old_file_is_there_until_the_new_one_is_whole(path: Path) -> None:
    with replaced(path) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    def half() -> None:
        with replaced(path) as file:
            file.write(b"half")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        half()
    assert path.read_bytes() == b"before"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_kill_left_of_an_earlier_try_is_written_over(path: Path) -> None:
    (path.parent / ".kept.part").write_bytes(b"much longer than what follows")
    with replaced(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_file_and_folder_are_on_disk_before_it_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def note(fd: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")

    monkeypatch.setattr(os, "fsync", note)
    with replaced(path) as file:
        file.write(b"new")
    assert synced == ["file", "folder"]
    removed(path)
    assert synced[2:] == ["folder"]
    assert not path.exists()
