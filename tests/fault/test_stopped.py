"""A run that is stopped, or loses a worker: the run waits or stops resumable, and ends whole."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from engine.commands.run.crew import REPLACED_MAX
from tests.support import loads, wire_scan
from tests.support.paced_load import GOES_ON_WCU, ROWS, TABLE, Load, OwnTarget, load_of
from tests.support.pg import execute

pytestmark = pytest.mark.fault
REQUEST_ITEMS = 25
MUCH_BYTES, MUCH_WCU = 25_000, 1_500
"""So large are rows that don't all fit into two processes' memory, and so fast a run of fifty seconds."""


def test_ctrl_c_leaves_a_clean_checkpoint(load: Load) -> None:
    url = load.command.job["source"]["url"]
    asyncio.run(execute(url, f"UPDATE t SET v = repeat('x', {MUCH_BYTES})"))
    load.command.job["target"]["max_wcu"] = MUCH_WCU
    process = load.begin("--workers", "2")
    process.send_signal(signal.SIGINT)
    ended = load.end(process)
    assert ended.code == 130, ended.stderr
    loads.assert_balanced(ended.report)
    assert ended.report["outcome"] == "interrupted"
    assert not any("stopping" in notice for notice in ended.report["notices"])
    written = ended.report["items_written"]
    target = load.command.job["target"]
    there = len(wire_scan.scan(target["endpoint_url"], target["table"]))
    assert written <= there <= written + 2 * REQUEST_ITEMS, "a busy machine may cut a last request off"
    assert there < ROWS
    load.assert_whole(load.resume(), resumed=True)


def test_ctrl_c_twice_ends_at_once(
    postgres_url: str, own_target: OwnTarget, table_name: str, tmp_path: Path
) -> None:
    asyncio.run(execute(postgres_url, *TABLE))
    load = load_of(tmp_path, postgres_url, own_target.endpoint, table_name)
    process = load.begin("--workers", "2")
    own_target.kill()  # so that there is something to wait for
    load.wait_said(process, "can't be reached")
    process.send_signal(signal.SIGINT)
    load.wait_said(process, "once more stops at once")
    process.send_signal(signal.SIGINT)
    ended = load.end(process)
    assert ended.code == 130
    assert ended.stderr.splitlines()[-1] == "load: stopped at once; run again to go on from the checkpoint"
    own_target.start()
    load.assert_whole(load.resume(), resumed=True)


def test_a_worker_that_is_killed_is_replaced_and_all_is_written(load: Load) -> None:
    load.command.job["target"]["max_wcu"] = GOES_ON_WCU
    process = load.begin("--workers", "2")
    kill_one(load, process)
    load.wait_said(process, "another one takes its place (1 of 3)")
    ended = load.end(process)
    load.assert_whole(ended, resumed=False)
    assert any("killed by SIGKILL" in notice for notice in ended.report["notices"])


def test_what_a_killed_worker_noted_of_unique_keys_is_found_out_again(load: Load) -> None:
    load.command.job["target"]["max_wcu"] = GOES_ON_WCU
    load.command.job["source"]["unique"] = True
    load.command.job["items"][0]["key"]["PK"] = "V#{v}"
    process = load.begin("--workers", "2")
    kill_one(load, process)
    ended = load.end(process)
    load.assert_whole(ended, resumed=False)
    assert "or lost a worker, so whether keys are unique is seen by looking at all of them" in ended.stderr


def test_a_worker_that_is_killed_again_and_again_ends_the_run_resumable(load: Load) -> None:
    process = load.begin("--workers", "2")
    for number in range(1, REPLACED_MAX + 1):
        kill_one(load, process)
        load.wait_said(process, f"({number} of {REPLACED_MAX})")
    kill_one(load, process)
    ended = load.end(process)
    assert ended.code == 1, ended.stderr
    assert "a worker process died" in ended.stderr.splitlines()[-1]
    loads.assert_balanced(ended.report)
    load.assert_whole(load.resume(), resumed=True)


def kill_one(load: Load, process: "subprocess.Popen[str]") -> None:
    """Kill the worker that is a process of its own, once there is one."""
    load.wait(process, lambda: bool(children(process.pid)))
    (worker,) = children(process.pid)
    os.kill(worker, signal.SIGKILL)
    load.wait(process, lambda: worker not in children(process.pid))


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in found.stdout.split()]
