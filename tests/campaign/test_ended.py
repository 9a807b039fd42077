"""A campaign that is told to end takes with it all that it started."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.campaign.runner import children

END_S = 120.0
SEEDS = (3, 5, 12, 21)
"""All read PostgreSQL."""

SEED = "bf-campaign-*/seed-*"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that the server's own user may enter."""
    with tempfile.TemporaryDirectory(prefix="bf-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + END_S
    while not true():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def offspring(pid: int) -> set[int]:
    """Return the processes that a process has started, and theirs."""
    found = children(pid)
    return {*found, *(each for child in found for each in offspring(child))}


def alive(pids: set[int]) -> set[int]:
    """Return those that run; not those that are dead and that nobody has asked about yet."""
    listed = ",".join(map(str, pids))
    found = subprocess.run(
        ["ps", "-o", "pid=,stat=", "-p", listed], capture_output=True, text=True, check=False
    )
    return {int(pid) for pid, state in map(str.split, found.stdout.splitlines()) if not state.startswith("Z")}


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_campaign_that_is_told_to_end_leaves_no_process_behind(
    folder: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.campaign", *(f"--seed={seed}" for seed in SEEDS), "--at-once=1"],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started: set[int] = set()  # a run or two, its stub, its source's server

    def runs() -> bool:
        return any(folder.glob(SEED)) and len(offspring(process.pid)) >= 2

    try:
        until(lambda: runs() or process.poll() is not None)
        started = offspring(process.pid)
        begun = len(list(folder.glob(SEED)))
        (server,) = folder.glob("bf-campaign-*/postgres/postmaster.pid")
        started.add(int(server.read_text().split()[0]))
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=END_S)
        assert process.returncode == 130, stderr
        assert stdout.splitlines()[-1].startswith("interrupted"), stdout
        assert len(list(folder.glob(SEED))) <= begun + 1 < len(SEEDS), "no other is begun"
        until(lambda: not alive(started))
    finally:
        for pid in alive({process.pid, *started}):
            os.kill(pid, signal.SIGKILL)
        process.wait()
