"""300,000 rows over hosts of their own whose workers die, are cut off and sleep, and whose runner is killed.

Run by `make soak-hosts`; prints what it measured.
"""

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.campaign.history import Entry
from tests.campaign.stub import RUNNER, TABLE
from tests.campaign.target import Stub
from tests.fault.test_workers_hosts import held_to_one_writer
from tests.support import own_postgres as own
from tests.support.afar import Hosts, hosts, job
from tests.support.apart import net, server, stub
from tests.support.netns import Network
from tests.support.pg import execute
from tests.support.tls import certificates

__all__ = ["certificates", "net", "server", "stub"]
pytestmark = [pytest.mark.soak, pytest.mark.timeout(1_500)]

ROWS = 300_000
CAP = 2_500
WINDOW_S = 10
LEASE_S = 6.0


class Scene:
    """The runner's host, another one for the next runner, and two for workers."""

    def __init__(self, scene: Hosts, net: Network, certificates: Path) -> None:
        self.hosts, self.net, self.certificates = scene, net, certificates

    def runner(self, host: int, name: str, *arguments: str) -> "subprocess.Popen[str]":
        folder = self.certificates
        shown = ("--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"))
        self.hosts.head = self.net.hosts[host].address
        return self.hosts.run(
            *(*shown, *arguments),
            on=f"head-{host}",
            inside=self.net.hosts[host].namespace,
            AWS_ACCESS_KEY_ID=f"{RUNNER}-{name}",
        )

    def worker(self, host: int, number: int) -> "subprocess.Popen[str]":
        return self.hosts.worker(
            number, inside=self.net.hosts[host].namespace, AWS_ACCESS_KEY_ID=f"{RUNNER}-{number}"
        )


@pytest.fixture
def scene(
    net: Network, server: own.OwnPostgres, stub: Stub, certificates: Path, tmp_path: Path
) -> Iterator[Scene]:
    made = job(stub.endpoint.replace("127.0.0.1", net.gateway), TABLE, max_wcu=CAP, plain_http=True)
    made["source"] |= {"batch_rows": 5_000, "segments": 120}
    made["state"] = {
        "type": "dynamodb",
        "table": "state",
        "endpoint_url": made["target"]["endpoint_url"],
        "plain_http": True,
        "region": "us-east-1",
        "lease_s": LEASE_S,
    }
    url = server.url().replace("127.0.0.1", net.gateway)
    with hosts(tmp_path, url, made, view_kept_s=300.0) as scene:
        yield Scene(scene, net, certificates)


def test_300_000_rows_over_two_hosts_and_all_bad_days(
    scene: Scene, net: Network, server: own.OwnPostgres, stub: Stub
) -> None:
    fill(server.url(), ROWS)
    head, _, _, two = net.hosts
    first = scene.runner(0, "head", "--workers", "0", "--expect", "4")
    workers = {number: scene.worker(2 + number % 2, number) for number in range(4)}
    for worker in workers.values():
        scene.hosts.said(worker, "taking part")
    moments = Moments()
    until(stub, ROWS // 10)
    moments.note("worker 0 is killed")
    workers[0].kill()
    until(stub, ROWS // 5)
    moments.note("host two hears the runner no more; worker 4 joins on host one")
    head.drops(two)  # workers 1 and 3 are there
    workers[4] = scene.worker(2, 4)
    until(stub, 3 * ROWS // 10)
    kept_by = keeping(scene.hosts.told(first))
    asleep = next(number for number in (2, 4) if workers[number].pid != kept_by)  # a keeper would come again
    moments.note(f"worker {asleep} sleeps for 25 s")
    os.kill(workers[asleep].pid, signal.SIGSTOP)
    slept_s = time.monotonic()
    time.sleep(25.0)
    os.kill(workers[asleep].pid, signal.SIGCONT)
    assert scene.hosts.ended(workers[asleep]).code == 1
    head.sends(two)
    until(stub, ROWS // 2)
    moments.note("the runner is killed; the source moves on")
    first.kill()
    asyncio.run(execute(server.url(), *MOVES))
    time.sleep(LEASE_S * 7 / 6 + 1.0)
    moments.note("another runner on another host, and workers 5 and 6")
    again = scene.runner(1, "elsewhere", "--workers", "1")
    others = [scene.worker(2, 5), scene.worker(3, 6)]
    ended = scene.hosts.ended(again, 600)
    moments.note("it has ended")
    history = stub.history()
    show(moments, history, ended.report)
    assert ended.code == 0, ended.stderr
    assert "goes on in the very snapshot" in ended.stderr
    report = ended.report
    assert (report["rows_read"], report["items_written"], report["outcome"]) == (ROWS, ROWS, "complete")
    items = stub.items()
    assert len(items) == ROWS
    assert {item["body"]["S"] for item in items.values()} == {"then"}
    assert [scene.hosts.ended(each).code for each in others] == [0, 0]
    assert held_to_one_writer(history) > 0
    slept = [entry.arrived for entry in history if entry.runner == f"{RUNNER}-{asleep}"]
    assert max(slept) < slept_s + 1.0, "it wrote when it woke"
    assert max(windows(history)) <= CAP * WINDOW_S * 1.02


def test_10_000_segments_over_two_hosts(scene: Scene, server: own.OwnPostgres, stub: Stub) -> None:
    rows = 40_000
    fill(server.url(), rows)
    scene.hosts.job["source"]["segments"] = 10_000
    del scene.hosts.job["target"]["max_wcu"]
    runner = scene.runner(0, "head", "--workers", "0", "--expect", "2")
    workers = [scene.worker(2 + number, number) for number in range(2)]
    ended = scene.hosts.ended(runner, 600)
    assert ended.code == 0, ended.stderr
    report = ended.report
    assert (report["rows_read"], report["items_written"], report["outcome"]) == (rows, rows, "complete")
    assert report["segments"]["complete"] == report["segments"]["total"] > 9_900
    assert [scene.hosts.ended(each).code for each in workers] == [0, 0]
    assert len(stub.items()) == rows
    print(f"\n{report['segments']['total']:,} segments in {report['elapsed_s']:.0f} s")


MOVES = ("UPDATE events SET body = 'now'", "DELETE FROM events WHERE id % 10 = 0")


class Moments:
    """What was done when."""

    def __init__(self) -> None:
        self.noted: list[tuple[float, str]] = []

    def note(self, what: str) -> None:
        self.noted.append((time.monotonic(), what))


def fill(url: str, rows: int, body: str = "'then'") -> None:
    """Make a table of so many rows; `body` is SQL of the row's number, g."""
    asyncio.run(
        execute(
            url,
            "DROP TABLE IF EXISTS events",
            "CREATE TABLE events (id bigint PRIMARY KEY, body text)",
            f"INSERT INTO events SELECT g, {body} FROM generate_series(1, {rows}) g",
            "VACUUM ANALYZE events",
        )
    )


def keeping(told: str) -> int:
    """Return which worker keeps the view, by what a runner has told."""
    return int(re.findall(r"the worker \S+:(\d+) keeps", told)[-1])


def until(stub: Stub, applied: int) -> None:
    """Wait until so much is written."""
    deadline = time.monotonic() + 300
    while stub.counts()["applied"] < applied:
        assert time.monotonic() < deadline, "it goes on no further"
        time.sleep(0.1)


def windows(history: Sequence[Entry]) -> list[int]:
    """Return what was applied in each window of ten seconds, wherever it begins (a second apart)."""
    applied = [(entry.applied_at, len(entry.applied)) for entry in history if entry.applied_at is not None]
    begun = int(min(at for at, _ in applied))
    by_second = [0] * (int(max(at for at, _ in applied)) - begun + 1)
    for at, count in applied:
        by_second[int(at) - begun] += count
    return [sum(by_second[at : at + WINDOW_S]) for at in range(len(by_second))]


def show(moments: Moments, history: Sequence[Entry], report: dict[str, object]) -> None:
    begun = int(min(entry.arrived for entry in history))
    found = windows(history)
    print()
    for at, what in moments.noted:
        print(f"{at - begun:6.1f} s  {what}")
    print(f"in 10 s at most {max(found):,} of {CAP * WINDOW_S:,} ({100 * max(found) / CAP / WINDOW_S:.1f} %)")
    print("each 10 s:", *(f"{each:,}" for each in found[::WINDOW_S]))
    named = ("rows_read", "items_written", "requests", "elapsed_s", "outcome", "resumed")
    print({name: report[name] for name in named})
