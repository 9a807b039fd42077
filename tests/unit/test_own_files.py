"""A state directory is used only if nobody else can put anything there, and no link in it is followed."""

import os
from pathlib import Path

import pytest

from engine import own_files
from engine.errors import BackfillError, JobError
from engine.own_files import replaced
from engine.state import lease
from engine.state.checkpoint import open_store
from engine.state.dead_letters import DeadLetterFile, read
from engine.state.file import STATE_NAME, read_state
from engine.state.local import held

KEEP = b"a file of somebody else's"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "foreign"
    path.write_bytes(KEEP)
    path.chmod(0o644)
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return own_files.made(tmp_path / "state", "orders")


@pytest.mark.parametrize("name", ["lock", "dead-letters.jsonl", STATE_NAME, "report.json", "anything"])
def test_a_link_in_a_jobs_directory_is_refused_and_leads_nowhere(
    directory: Path, foreign: Path, name: str
) -> None:
    (directory / name).symlink_to(foreign)
    with pytest.raises(JobError, match=f"{name} is a link, .*: remove it, or .* --state"):
        open_store(directory.parent, "orders")
    assert foreign.read_bytes() == KEEP


def test_nor_is_a_link_followed_that_came_later(directory: Path, foreign: Path) -> None:
    """Each file is opened as what it is, whatever was seen of its directory."""
    for name in ("lock", "dead-letters.jsonl", ".report.json.part", f"{STATE_NAME}.new", STATE_NAME):
        (directory / name).symlink_to(foreign)
    letters = DeadLetterFile(directory / "dead-letters.jsonl")
    for follow in (
        lambda: letters.append(b"{}\n", 0),
        lambda: letters.cut(1),
        lambda: list(read(letters.path)),
        lambda: letters.settle_end(),
        lambda: letters.copy_aside("r1"),
        lambda: held(directory / "lock"),
        lambda: read_state(directory.parent, "orders"),
    ):
        with pytest.raises(BackfillError, match="is a link"):
            follow()
    with replaced(directory / "report.json") as file:
        file.write(b"{}")
    assert foreign.read_bytes() == KEEP
    assert foreign.stat().st_mode & 0o777 == 0o644


def test_a_pipe_of_that_name_is_not_waited_for(directory: Path) -> None:
    os.mkfifo(directory / "dead-letters.jsonl")
    with pytest.raises(JobError, match="remove it"):
        list(read(directory / "dead-letters.jsonl"))
    with pytest.raises(JobError, match="remove it"):
        DeadLetterFile(directory / "dead-letters.jsonl").append(b"{}\n", 0)


def test_a_linked_directory_of_a_job_is_refused(tmp_path: Path) -> None:
    own_files.made(tmp_path / "state")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state" / "orders").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JobError, match="orders is a link"):
        lease.take(tmp_path / "state", "orders")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("mode", [0o707, 0o777, 0o702])
@pytest.mark.parametrize("which", ["state", "state/orders"])
def test_where_others_may_write_nothing_is_trusted(tmp_path: Path, which: str, mode: int) -> None:
    own_files.made(tmp_path / "state", "orders")
    (tmp_path / which).chmod(mode)
    with pytest.raises(JobError, match=f"others may write in .*{which} .mode {mode:o}.: chmod go-w"):
        lease.take(tmp_path / "state", "orders")


def test_a_sticky_directory_such_as_tmp_may_hold_one_that_is_ours(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o1777)
    lease.take(tmp_path / "state", "orders").release()


def test_the_processs_own_group_may_write_as_it_does_in_kubernetes(tmp_path: Path) -> None:
    own_files.made(tmp_path / "state", "orders")
    for path in (tmp_path / "state", tmp_path / "state" / "orders"):
        path.chmod(0o2770)
    lease.take(tmp_path / "state", "orders").release()


@pytest.mark.parametrize("which", ["state", "state/orders"])
def test_somebody_elses_directory_is_refused(
    tmp_path: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_files.made(tmp_path / "state", "orders")
    about = (tmp_path / which).stat()
    if os.geteuid() == 0:
        os.chown(tmp_path / which, 12345, -1)
        owner = 12345
    else:
        owner = about.st_uid
        monkeypatch.setattr("os.geteuid", lambda: owner + 1)
        which = "state"
    with pytest.raises(JobError, match=f"{which} belongs to user {owner}, .*: run as that user"):
        lease.take(tmp_path / "state", "orders")


def test_what_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = own_files.made(tmp_path / "state", "orders", "verify")
        with own_files.created(directory / "part") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "part").stat().st_mode & 0o777 == 0o600
