"""Bad days: whatever goes away, is cut, killed or full, a run waits or stops resumable, and ends whole."""

import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench import servers
from tests.support import loads, wire_scan
from tests.support.command import Command, Ended, kill_group
from tests.support.own_postgres import OwnPostgres, embedded_binaries, own_postgres
from tests.support.pg import execute

pytestmark = pytest.mark.fault

ROWS = 3_000
PACE_WCU = 1_000
"""At a unit a row a run takes some three seconds: time to break something in the middle."""
BAD_EVERY = 250
MUCH_BYTES, MUCH_WCU = 25_000, 15_000
"""So large are rows that don't all fit into two processes' memory, and so fast a run of five seconds."""
END_S = 90.0

TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, v text, k text NOT NULL)",
    f"INSERT INTO t SELECT n, repeat(md5(n::text), 10), CASE WHEN n % {BAD_EVERY} = 0 THEN '' ELSE 'k' END"
    f" FROM generate_series(1, {ROWS}) n",
    "ANALYZE t",
)


@dataclass
class Load:
    """A paced load in a process of its own, which is broken in the middle."""

    command: Command

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        process = self.command.start("run", "--json", *arguments)
        try:
            self.wait(process, lambda: self.status().get("items_written", 0) > 0)
        except BaseException:
            kill_group(process)
            raise
        return process

    def status(self) -> dict[str, Any]:
        return self.command.here("status", "--json").report

    @staticmethod
    def wait(process: "subprocess.Popen[str]", happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + END_S
        while not happened():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.05)

    @staticmethod
    def end(process: "subprocess.Popen[str]", timeout_s: float = END_S) -> Ended:
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            kill_group(process)
            raise
        return Ended(process.returncode, stdout, stderr)

    def resume(self) -> Ended:
        """Run again, at full speed; wait for what a killed run has left to end by itself."""
        self.command.job["target"].pop("max_wcu", None)
        deadline = time.monotonic() + 30
        while True:
            ended = self.command.here("run", "--json", "--workers", "1")
            if "already being run" not in ended.stderr or time.monotonic() > deadline:
                return ended
            time.sleep(0.2)

    def assert_whole(self, ended: Ended, *, resumed: bool) -> None:
        """The target holds every row once, the dead letters are whole, the counts balance."""
        assert ended.code == 3, ended.stderr
        assert "Traceback" not in ended.stderr
        report = ended.report
        assert report["resumed"] is resumed
        dead = ROWS // BAD_EVERY
        assert (report["rows_read"], report["items_emitted"]) == (ROWS, ROWS)
        assert (report["items_written"], report["items_dead_lettered"]) == (ROWS - dead, dead)
        loads.assert_balanced(report)
        target = self.command.job["target"]
        items = wire_scan.scan(target["endpoint_url"], target["table"])
        found = {int(item["id"]["N"]) for item in items.values()}
        assert found == {n for n in range(1, ROWS + 1) if n % BAD_EVERY}
        letters = [int(letter["source_key"]["id"]) for letter in self.command.dead_letters()]
        assert sorted(letters) == list(range(BAD_EVERY, ROWS + 1, BAD_EVERY))


def load_of(folder: Path, url: str, endpoint: str, table: str, **target: Any) -> Load:
    loads.create_table(endpoint, table)
    rule = {"name": "Row", "key": {"PK": "ROW#{id}", "SK": "{k}"}, "include": ["id", "v"]}
    job = loads.job(
        url,
        endpoint,
        table,
        source={"batch_rows": 200, "segments": 4},
        target={"max_wcu": PACE_WCU, **target},
        items=[rule],
    )
    return Load(Command(folder, job))


@pytest.fixture
def load(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Load:
    asyncio.run(execute(postgres_url, *TABLE))
    return load_of(tmp_path, postgres_url, dynoxide, table_name)


class OwnTarget:
    """A Dynoxide that keeps its tables in a file, to be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "dynoxide.db"
        self._port = servers.free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        binary = servers.dynoxide_binary()
        command = [str(binary), "serve", "--port", str(self._port), "--db-path", str(self._file)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        servers._wait_for_port(self._process, self._port, "dynoxide")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def own_target(dynoxide: str, tmp_path: Path) -> Iterator[OwnTarget]:
    target = OwnTarget(tmp_path)
    target.start()
    try:
        yield target
    finally:
        target.kill()


def test_a_target_that_is_gone_for_seconds_is_waited_for(
    postgres_url: str, own_target: OwnTarget, table_name: str, tmp_path: Path
) -> None:
    asyncio.run(execute(postgres_url, *TABLE))
    load = load_of(tmp_path, postgres_url, own_target.endpoint, table_name)
    process = load.begin("--workers", "2")
    own_target.kill()
    time.sleep(2)
    assert process.poll() is None
    own_target.start()
    ended = load.end(process)
    load.assert_whole(ended, resumed=False)
    assert "can't be reached" in ended.stderr
    assert "is back" in ended.stderr


def test_a_target_that_stays_away_ends_the_run_which_then_goes_on(
    postgres_url: str, own_target: OwnTarget, table_name: str, tmp_path: Path
) -> None:
    asyncio.run(execute(postgres_url, *TABLE))
    load = load_of(tmp_path, postgres_url, own_target.endpoint, table_name, give_up_after_s=1.5)
    process = load.begin("--workers", "2")
    own_target.kill()
    ended = load.end(process)
    assert ended.code == 1, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert re.search(r"error: .*was away for 1.5 s \(target.give_up_after_s\).*run again", last), last
    assert (ended.report["outcome"], load.status()["outcome"]) == ("failed", "failed")
    loads.assert_balanced(ended.report)
    own_target.start()
    load.assert_whole(load.resume(), resumed=True)


@pytest.fixture
def own_source(postgres_server: str) -> Iterator[OwnPostgres]:
    with own_postgres(embedded_binaries(), "pgserver") as server:
        asyncio.run(execute(server.url(), *TABLE))
        yield server


def test_a_source_that_crashes_and_starts_again_loses_and_skips_no_row(
    own_source: OwnPostgres, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    load = load_of(tmp_path, own_source.url(), dynoxide, table_name)
    load.command.job["source"]["segments"] = 40
    process = load.begin("--workers", "2")
    own_source.stop(signal.SIGQUIT)
    time.sleep(1)
    own_source.start()
    ended = load.end(process)
    load.assert_whole(ended, resumed=False)
    assert "snapshot is gone" in ended.stderr


def test_ctrl_c_while_the_source_is_gone_ends_soon_and_clean(
    own_source: OwnPostgres, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    load = load_of(tmp_path, own_source.url(), dynoxide, table_name)
    load.command.job["source"]["segments"] = 40
    process = load.begin("--workers", "1")
    own_source.stop()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    ended = load.end(process, timeout_s=20)
    assert ended.code == 130, ended.stderr
    loads.assert_balanced(ended.report)
    own_source.start()
    load.assert_whole(load.resume(), resumed=True)


def test_sessions_that_an_administrator_ends_are_opened_again(load: Load) -> None:
    process = load.begin("--workers", "2")
    for _ in range(3):
        asyncio.run(
            execute(
                load.command.job["source"]["url"],
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'backfill' AND datname = current_database()",
            )
        )
        time.sleep(0.3)
    load.assert_whole(load.end(process), resumed=False)


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
    written = ended.report["items_written"]
    target = load.command.job["target"]
    assert len(wire_scan.scan(target["endpoint_url"], target["table"])) == written < ROWS
    load.assert_whole(load.resume(), resumed=True)


def test_ctrl_c_twice_ends_at_once(
    postgres_url: str, own_target: OwnTarget, table_name: str, tmp_path: Path
) -> None:
    asyncio.run(execute(postgres_url, *TABLE))
    load = load_of(tmp_path, postgres_url, own_target.endpoint, table_name)
    process = load.begin("--workers", "2")
    own_target.kill()  # so that there is something to wait for
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    ended = load.end(process, timeout_s=5)
    assert ended.code == 130
    assert "once more stops at once" in ended.stderr
    own_target.start()
    load.assert_whole(load.resume(), resumed=True)


def test_a_worker_that_is_killed_ends_the_run_resumable(load: Load) -> None:
    process = load.begin("--workers", "2")
    workers = children(process.pid)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    ended = load.end(process)
    assert ended.code == 1, ended.stderr
    assert "a worker process died" in ended.stderr.splitlines()[-1]
    loads.assert_balanced(ended.report)
    load.assert_whole(load.resume(), resumed=True)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    return [int(line) for line in found.stdout.split()]


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Let processes that start in here write no larger files: as good as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("size", "workers"), [(20_000, "1"), (60_000, "2")])
def test_a_full_disk_stops_the_run_and_nothing_counts_that_isnt_safe(
    load: Load, size: int, workers: str
) -> None:
    load.command.job["items"].append(
        {"name": "Large", "key": {"PK": "{v}", "SK": "{none}"}, "when": "id % 20 = 0", "include": ["v"]}
    )
    load.command.job["source"] |= {"query": "SELECT *, NULL::text AS none FROM t", "key": ["id"]}
    del load.command.job["source"]["table"]
    load.command.write_job()
    with files_no_larger_than(size):
        process = load.command.start("run", "--json", "--workers", workers)
    ended = load.end(process)
    assert ended.code == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "can't be written" in ended.stderr.splitlines()[-1], ended.stderr
    now = load.status()
    if now["outcome"] is not None:  # the disk may have been full before the first row
        loads.assert_balanced(now)
    large = ROWS // 20
    ended = load.resume()
    assert ended.code == 3, ended.stderr
    report = ended.report
    assert (report["rows_read"], report["items_dead_lettered"]) == (ROWS, ROWS // BAD_EVERY + large)
    loads.assert_balanced(report)
    letters = sorted(
        (letter["rule"], int(letter["source_key"]["id"])) for letter in load.command.dead_letters()
    )
    assert letters == sorted(
        [("Row", n) for n in range(BAD_EVERY, ROWS + 1, BAD_EVERY)]
        + [("Large", n) for n in range(20, ROWS + 1, 20)]
    )
    target = load.command.job["target"]
    assert len(wire_scan.scan(target["endpoint_url"], target["table"])) == ROWS - ROWS // BAD_EVERY


def test_a_damaged_checkpoint_is_refused_and_told_what_to_do(load: Load) -> None:
    process = load.begin("--workers", "1")
    process.send_signal(signal.SIGINT)
    assert load.end(process).code == 130
    folder = load.command.state / "load"
    path = folder / "state.sqlite"
    for name in ("state.sqlite-wal", "state.sqlite-shm"):
        (folder / name).unlink(missing_ok=True)
    whole = path.read_bytes()
    letters = folder / "dead-letters.jsonl"
    letters.rename(letters.with_suffix(".aside"))
    assert_refused(load.command.here("run"), "dead-letters.jsonl")
    letters.with_suffix(".aside").rename(letters)
    for damaged in (
        whole[: len(whole) // 2],
        whole[:4096] + bytes(byte ^ 0x5A for byte in whole[4096:]),
        b"",
        b'{"a": 1}' * 500,
    ):
        path.write_bytes(damaged)
        assert_refused(load.command.here("run"), "state.sqlite")
        assert_refused(load.command.here("status"), "state.sqlite")
    load.command.job["target"].pop("max_wcu")
    load.assert_whole(load.command.here("run", "--json", "--workers", "1", "--fresh"), resumed=False)


def assert_refused(ended: Ended, what: str) -> None:
    assert ended.code == 2, ended.stderr
    assert what in ended.stderr
    assert "--fresh" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


FAULTS = {
    "500": 0.05, "503": 0.05, "reset_before": 0.03, "reset_after": 0.03, "truncated": 0.03,
    "unprocessed": 0.01,
}  # fmt: skip


@pytest.mark.parametrize(
    "how",
    [
        ["--wcu=400", "--burst-s=0"],
        ["--unlimited", *(f"--fault={fault}={rate}" for fault, rate in FAULTS.items())],
    ],
    ids=["throttles", "fails"],
)
def test_a_target_that_throttles_or_fails_loses_nothing(
    postgres_url: str, table_name: str, tmp_path: Path, how: list[str]
) -> None:
    asyncio.run(execute(postgres_url, *TABLE))
    port = servers.free_port()
    command = [sys.executable, "-m", "engine", "simulator", "--port", str(port), *how]
    with servers.running(command, port=port):
        load = load_of(tmp_path, postgres_url, f"http://127.0.0.1:{port}", table_name)
        del load.command.job["target"]["max_wcu"]
        ended = load.command.here("run", "--json", "--workers", "1")
        heal = urllib.request.Request(f"http://127.0.0.1:{port}/_control/faults", b'{"rates": {}}')
        urllib.request.urlopen(heal, timeout=10).close()
        load.assert_whole(ended, resumed=False)
        report = ended.report
        assert report["items_unprocessed"] > 0
        assert report["retries"] > 0
