"""Two runners of one job would undo each other's order: the lease has to hold, and to die with its holder."""

import fcntl
import os
import subprocess
import sys

import pytest

from engine.errors import JobError
from engine.state import lease


def test_the_refusal_says_who_holds_it(tmp_path):
    held = lease.take(tmp_path, "orders")
    with pytest.raises(
        JobError, match=rf"job orders is already being run by pid {os.getpid()} on .* since 20"
    ):
        lease.take(tmp_path, "orders")
    held.release()
    lease.take(tmp_path, "orders").release()


def test_a_worker_that_outlives_its_parent_keeps_it(tmp_path):
    held = lease.take(tmp_path, "orders")
    waits = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    orphan = subprocess.Popen(waits, stdin=subprocess.PIPE, pass_fds=(held.fd,))
    held.release()
    try:
        with pytest.raises(JobError, match="already being run"):
            lease.take(tmp_path, "orders")
    finally:
        orphan.communicate(timeout=100)
    lease.take(tmp_path, "orders").release()


def test_an_orphaned_lease_is_told_as_such(tmp_path):
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    held = lease.take(tmp_path, "orders")
    path = tmp_path / "orders" / lease.LOCK_NAME
    path.write_text(path.read_text().replace(f'"pid":{os.getpid()}', f'"pid":{int(gone.stdout)}'))
    with pytest.raises(JobError, match="it is gone, but its worker processes"):
        lease.take(tmp_path, "orders")
    held.release()


@pytest.mark.parametrize("text", ["", "not json", "{}", "[1]"])
def test_a_holder_that_left_no_word_is_still_a_holder(tmp_path, text):
    held = lease.take(tmp_path, "orders")
    (tmp_path / "orders" / lease.LOCK_NAME).write_text(text)
    with pytest.raises(JobError, match="already being run; wait for it to end"):
        lease.take(tmp_path, "orders")
    held.release()


def test_a_status_that_looks_for_an_instant_does_not_refuse_a_run(tmp_path, monkeypatch):
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / lease.LOCK_NAME).touch()
    looker = os.open(tmp_path / "orders" / lease.LOCK_NAME, os.O_RDWR)
    fcntl.flock(looker, fcntl.LOCK_SH)
    monkeypatch.setattr(lease.time, "sleep", lambda _: fcntl.flock(looker, fcntl.LOCK_UN))
    lease.take(tmp_path, "orders").release()
    os.close(looker)
