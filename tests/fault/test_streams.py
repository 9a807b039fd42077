"""Streams that are closed, full or gone: a load that is complete ends as one, whoever could read of it."""

import asyncio
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

pytestmark = pytest.mark.fault

ROWS = 300
END_S = 120.0


@pytest.fixture
def command(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    fill = f"INSERT INTO t SELECT n FROM generate_series(1, {ROWS}) n"
    asyncio.run(execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)", fill))
    loads.create_table(dynoxide, table_name)
    return Command(tmp_path, loads.job(postgres_url, dynoxide, table_name))


def in_shell(command: Command, line: str) -> "subprocess.CompletedProcess[str]":
    """Run `backfill …` with a shell's redirections."""
    path = command.write_job()
    program = f"{shlex.quote(sys.executable)} -m engine"
    line = line.replace("backfill", program).replace("JOB", path.name)
    return subprocess.run(
        ["bash", "-c", line],
        cwd=command.folder,
        capture_output=True,
        text=True,
        timeout=END_S,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def loaded(command: Command) -> int:
    target = command.job["target"]
    return len(loads.items(target["endpoint_url"], target["table"]))


REDIRECTIONS = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full", "2> /dev/full", "> /dev/full 2>&1"]


@pytest.mark.parametrize(
    ("redirections", "workers"), [*((each, 1) for each in REDIRECTIONS), ("<&- >&- 2>&-", 2)]
)
def test_a_complete_load_ends_with_0(command: Command, redirections: str, workers: int) -> None:
    command.job["source"]["segments"] = 2
    ended = in_shell(command, f"backfill run JOB --workers {workers} {redirections}")
    assert ended.returncode == 0, ended
    assert loaded(command) == ROWS
    assert "internal error" not in ended.stderr
    assert "Exception" not in ended.stderr
    told = "backfill: error: the output can't be written to stdout (no space left on device)\n"
    assert ended.stderr.endswith(told) == (redirections == "> /dev/full"), ended.stderr


def test_a_reader_that_leaves_changes_no_outcome_and_is_told_nothing(command: Command) -> None:
    ended = in_shell(command, 'backfill run JOB --json | true; echo "${PIPESTATUS[0]}"')
    assert ended.stdout == "0\n", ended
    assert loaded(command) == ROWS
    assert "error" not in ended.stderr


def test_a_failed_load_keeps_its_code_too(command: Command) -> None:
    command.job["target"]["table"] = "there-is-none"
    assert in_shell(command, "backfill run JOB > /dev/full 2> /dev/full").returncode == 2


@pytest.mark.parametrize("redirections", ["> /dev/full", "> /dev/full 2>&1"])
def test_a_command_that_only_tells_fails_where_it_cant(command: Command, redirections: str) -> None:
    ended = in_shell(command, f"backfill status JOB {redirections}")
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stderr


def in_terminal(command: Command, *before: str) -> tuple[int, int]:
    """Start a run on a terminal of its own; return its pid and the terminal's other end."""
    path = command.write_job()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(command.folder)
        arguments = [*before, sys.executable, "-m", "engine", "run", path.name, "--workers", "1"]
        os.execvpe(arguments[0], arguments, {**os.environ, "PYTHONWARNINGS": "ignore", "TERM": "xterm"})
    return pid, terminal


def until_it_says(terminal: int, word: bytes) -> bytes:
    seen = b""
    while word not in seen:
        seen += os.read(terminal, 65_536)
    return seen


def ended(pid: int) -> int:
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("it went on for ever")


def test_with_nohup_a_closed_terminal_stops_nothing(command: Command) -> None:
    # nohup itself sends output to a file where it is a terminal: only the signal is of interest here.
    command.job["target"]["max_wcu"] = 150
    ignoring = ["bash", "-c", 'trap "" HUP; exec "$@"', "bash"]
    pid, terminal = in_terminal(command, *ignoring)
    until_it_says(terminal, b"starts")
    os.close(terminal)
    assert ended(pid) == 0
    assert loaded(command) == ROWS


def test_a_closed_terminal_ends_a_run_with_a_checkpoint(command: Command) -> None:
    command.job["target"]["max_wcu"] = 20
    pid, terminal = in_terminal(command)
    until_it_says(terminal, b"starts")
    os.close(terminal)
    assert ended(pid) == 130
    del command.job["target"]["max_wcu"]
    assert command.here("run", "--workers", "1").code == 0
    assert loaded(command) == ROWS
