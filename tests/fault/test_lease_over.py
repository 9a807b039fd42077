"""A runner, or its workers, that were stopped for longer than the lease: nothing leaves them on waking."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.fault.test_stopped import REQUEST_ITEMS, children
from tests.support import wire_scan
from tests.support.command import Command, kill_group
from tests.support.paced_load import GOES_ON_WCU, TABLE, Load, load_of
from tests.support.pg import execute

pytestmark = pytest.mark.fault

LEASE_S = 2.0


@pytest.fixture
def load(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Load:
    asyncio.run(execute(postgres_url, *TABLE))
    here = tmp_path / "here"
    here.mkdir()
    load = load_of(here, postgres_url, dynoxide, table_name)
    table = {"table": f"{table_name}-state", "endpoint_url": dynoxide, "region": "us-east-1"}
    load.command.job["state"] = {"type": "dynamodb", **table, "lease_s": LEASE_S}
    return load


def stop(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def wake(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def elsewhere(load: Load) -> Load:
    """The same job on another machine: another state directory."""
    folder = load.command.folder.parent / "there"
    folder.mkdir()
    job = json.loads(json.dumps(load.command.job))
    del job["target"]["max_wcu"]
    return Load(Command(folder, job))


def take_over(load: Load) -> None:
    """Run the job from another machine, as soon as it may."""
    there = elsewhere(load)
    deadline = time.monotonic() + 120
    while True:
        ended = there.command.here("run", "--json", "--workers", "1")
        if "already being run" not in ended.stderr or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    there.assert_whole(ended, resumed=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_runner_that_was_taken_over_sends_nothing_on_waking(load: Load, workers: int) -> None:
    process = load.begin("--workers", str(workers))
    try:
        pids = [process.pid]  # with workers they stay awake: nobody tells them of an end
        stop(pids)
        take_over(load)
        target = load.command.job["target"]
        newer = mark_all(target)
        wake(pids)
        ended = load.end(process)
    finally:
        kill_group(process)
    assert ended.code == 1, ended.stderr
    assert "lost its lease" in ended.stderr.splitlines()[-1]
    found = wire_scan.scan(target["endpoint_url"], target["table"])
    went_back = [key for key in newer if "marked" not in found[key]]
    assert not went_back, f"{len(went_back)} of {len(newer)} items were written after waking"


def mark_all(target: dict) -> list[str]:
    """Change every item, as the application does after the takeover; return their keys."""
    items = wire_scan.scan(target["endpoint_url"], target["table"])
    puts = [{"PutRequest": {"Item": {**item, "marked": {"BOOL": True}}}} for item in items.values()]
    for at in range(0, len(puts), REQUEST_ITEMS):
        body = {"RequestItems": {target["table"]: puts[at : at + REQUEST_ITEMS]}}
        assert not wire_scan.call(target["endpoint_url"], "BatchWriteItem", body)["UnprocessedItems"]
    return list(items)


def test_a_runner_that_nobody_took_over_goes_on_once_its_lease_is_renewed(load: Load) -> None:
    load.command.job["target"]["max_wcu"] = GOES_ON_WCU
    process = load.begin("--workers", "2")
    try:
        pids = [process.pid, *children(process.pid)]
        stop(pids)
        time.sleep(LEASE_S + 1)
        wake(pids)
        load.assert_whole(load.end(process), resumed=False)
    finally:
        kill_group(process)
