"""SIGINT and SIGTERM at any moment of the real command: 130 and a sentence, no traceback."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import loads
from tests.support.command import Command, kill_group
from tests.support.pg import execute

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks at handlers through /proc"),
]

SENTENCE = "backfill: interrupted; run the same command again"
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
END_S = 60.0


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing: a command that asks it waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def stuck(silent_server: socket.socket, tmp_path: Path) -> Command:
    """A command that gets no further than to its first question."""
    server = f"127.0.0.1:{silent_server.getsockname()[1]}"
    job = loads.job(f"postgres://app@{server}/x", f"http://{server}", "some-table", target={"create": {}})
    return Command(tmp_path, job)


def until(process: "subprocess.Popen[str]", true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + END_S
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.005)


def accepted(server: socket.socket) -> list[socket.socket]:
    try:
        return [server.accept()[0]]
    except BlockingIOError:
        return []


def catches(process: "subprocess.Popen[str]", number: int) -> bool:
    """Whether a process has a handler for a signal: before its first line nobody can have one."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def assert_interrupted(process: "subprocess.Popen[str]") -> None:
    try:
        stdout, stderr = process.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        kill_group(process)
        raise
    assert (process.returncode, stdout) == (130, ""), stderr
    assert stderr.splitlines()[-1:] == [SENTENCE], stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.3, 0.6])
def test_at_its_start_a_run_is_interrupted(stuck: Command, number: signal.Signals, delay_s: float) -> None:
    """Between its first line and the first question to the target lies half a second of imports."""
    process = stuck.start("run")
    until(process, lambda: catches(process, signal.SIGTERM))
    time.sleep(delay_s)
    process.send_signal(number)
    assert_interrupted(process)


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
@pytest.mark.parametrize("place", ["streams._fill", "streams.Standard", "signals.held", "signals.hurry"])
def test_no_place_of_the_main_lets_a_signal_through(place: str, number: signal.Signals) -> None:
    """Before there are streams, while they are made, before the first import."""
    module, name = place.split(".")
    program = f"""
import os
from engine import cli
from engine.cli import signals, streams

real = {place}

def struck(*arguments):
    {module}.{name} = real
    os.kill(os.getpid(), {int(number)})
    return real(*arguments)

{module}.{name} = struck
cli.main(["--version"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=END_S, check=False
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines() == [SENTENCE]


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
@pytest.mark.parametrize("command", ["run", "plan", "table create", "verify --full"])
def test_while_it_waits_for_a_server_a_command_is_interrupted(
    stuck: Command, silent_server: socket.socket, command: str, number: signal.Signals
) -> None:
    process = stuck.start(command)
    silent_server.setblocking(False)
    taken: list[socket.socket] = []
    until(process, lambda: bool(taken.extend(accepted(silent_server)) or taken))
    with taken[0]:
        process.send_signal(number)
        assert_interrupted(process)


def test_ctrl_c_in_a_terminal_meets_workers_that_only_start(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    """The whole group gets it, so workers whose imports it breaks would look as if they had died."""
    fill = "INSERT INTO t SELECT n FROM generate_series(1, 2000) n"
    asyncio.run(execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)", fill))
    loads.create_table(dynoxide, table_name)
    job = loads.job(
        postgres_url, dynoxide, table_name, source={"segments": 4, "batch_rows": 50}, target={"max_wcu": 50}
    )
    command = Command(tmp_path, job)
    process = command.start("run", "--workers", "3")
    assert process.stderr is not None
    told = [next(line for line in process.stderr if "segments" in line)]
    until(process, lambda: len(catching_nothing(process.pid)) == 2)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=END_S)
    assert process.returncode == 130, (told, stderr)
    assert "interrupted" in stdout


def catching_nothing(pid: int) -> list[str]:
    """Return the children of a process that leave SIGINT alone."""
    found = subprocess.run(
        ["ps", "-o", "ignored=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [mask for mask in found.stdout.split() if int(mask, 16) >> (signal.SIGINT - 1) & 1]


def test_once_the_result_is_told_a_signal_makes_up_no_other_code(tmp_path: Path) -> None:
    """Python puts the default handlers back while it ends, and those would answer 143."""
    program = (
        "import os, sys\n"
        "class Late:\n"
        "    def __del__(self, kill=os.kill, pid=os.getpid()):\n"
        "        kill(pid, 15)\n"
        "sys.late = Late()\n"
        "from engine.cli import main\n"
        "main(['status', 'absent.yaml'])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "absent.yaml" in ended.stderr
