"""What a kill or a stop costs before a target of any speed: seconds of writes, not batches."""

import asyncio
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench import servers
from tests.support import loads, wire_scan
from tests.support.command import Command, kill_group
from tests.support.pg import execute

ROWS = 12_000
"""Of a write unit each: one batch, or a few, whatever the target takes."""
END_S = 120.0
LEAVES_S = 15.0
"""A clean stop takes five seconds, more on a busy machine, and half a minute where it waits for a batch."""


@pytest.fixture
def source(postgres_url: str) -> str:
    rows = f"INSERT INTO t SELECT n, repeat('x', 200) FROM generate_series(1, {ROWS}) n"
    asyncio.run(execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY, v text)", rows, "ANALYZE t"))
    return postgres_url


@dataclass
class Slow:
    """A run before a slow target."""

    command: Command
    endpoint: str
    table: str

    def there(self) -> int:
        return len(wire_scan.scan(self.endpoint, self.table))

    def kept(self) -> int:
        status = self.command.here("status", "--json")
        return int(status.report.get("items_written", 0)) if status.stdout.startswith("{") else 0

    def run_until(self, happened: Callable[[], bool], *arguments: str) -> "subprocess.Popen[str]":
        process = self.command.start("run", "--json", *arguments)
        deadline = time.monotonic() + END_S
        try:
            while not happened():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline, "it took too long"
                time.sleep(0.1)
        except BaseException:
            kill_group(process)
            raise
        return process

    def left(self, process: "subprocess.Popen[str]") -> dict[str, Any]:
        try:
            stdout, stderr = process.communicate(timeout=LEAVES_S)
        except subprocess.TimeoutExpired:
            kill_group(process)
            raise AssertionError("a stop took longer than a user waits for it") from None
        assert process.returncode == 130, stderr
        report = json.loads(stdout)
        loads.assert_balanced(report)
        assert not report["notices"], "what was told while it stopped is no news any more"
        return dict(report)

    def control(self, what: str, **body: Any) -> None:
        request = urllib.request.Request(
            f"{self.endpoint}/_control/{what}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def assert_goes_on_whole(self) -> None:
        """Run to the end at full speed: every row is there once, and the counts balance."""
        self.command.job["target"].pop("max_wcu", None)
        ended = self.command.run("run", "--json", "--workers", "1")
        assert ended.code == 0, ended.stderr
        loads.assert_balanced(ended.report)
        assert ended.report["resumed"]
        assert ended.report["items_written"] == ended.report["rows_read"] == self.there() == ROWS


def slow(folder: Path, url: str, endpoint: str, table: str, **target: Any) -> Slow:
    loads.create_table(endpoint, table)
    return Slow(Command(folder, loads.job(url, endpoint, table, target=target)), endpoint, table)


@pytest.mark.parametrize(("wcu", "workers"), [(5, "1"), (50, "2"), (500, "1")])
def test_a_kill_costs_seconds_of_writes(
    source: str, simulator: str, tmp_path: Path, table_name: str, wcu: int, workers: str
) -> None:
    run = slow(tmp_path, source, simulator, table_name, max_wcu=wcu)
    process = run.run_until(lambda: run.there() >= 5 * wcu, "--workers", workers)
    kill_group(process)
    there, kept = run.there(), run.kept()
    assert there < ROWS
    assert kept >= there / 2, f"{there} items were written in some five seconds, and {kept} are kept"
    run.assert_goes_on_whole()


@pytest.mark.parametrize(
    ("wcu", "workers", "number"),
    [(20, "1", signal.SIGINT), (50, "2", signal.SIGTERM), (400, "1", signal.SIGINT)],
)
def test_a_stop_leaves_soon_and_keeps_what_was_acked(
    source: str, tmp_path: Path, table_name: str, wcu: int, workers: str, number: signal.Signals
) -> None:
    """The target's pace has to be found out, by rejections."""
    with servers.simulator("--wcu", str(wcu), "--rcu", "40000", "--burst-s", "1") as endpoint:
        run = slow(tmp_path, source, endpoint, table_name)
        process = run.run_until(lambda: run.there() >= 6 * wcu, "--workers", workers)
        process.send_signal(number)
        report = run.left(process)
        there = run.there()
        assert 0 < there - report["items_written"] + 1 <= 1 + 2 * wcu
        run.control("capacity", table=table_name, write=40_000)
        run.assert_goes_on_whole()


@pytest.mark.parametrize(
    ("fault", "workers", "number"),
    [("silent_before", "1", signal.SIGINT), ("throttled", "2", signal.SIGTERM)],
)
def test_a_stop_before_a_target_that_takes_nothing_any_more(
    source: str, tmp_path: Path, table_name: str, fault: str, workers: str, number: signal.Signals
) -> None:
    with servers.simulator("--unlimited") as endpoint:
        run = slow(tmp_path, source, endpoint, table_name, max_wcu=400)
        process = run.run_until(lambda: run.kept() > 0, "--workers", workers)
        run.control("faults", rates={fault: 1.0})
        process.send_signal(number)
        report = run.left(process)
        run.control("faults", rates={})
        assert 0 < report["items_written"] <= run.there()
