"""Workers on hosts of their own, and a network that fails: what was given to others is theirs alone.

The stub target writes down who has written what and when, so that a request which lands behind the move of
its segment shows.
"""

import asyncio
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.history import Entry, lives
from tests.campaign.stub import RUNNER, TABLE
from tests.campaign.target import Stub
from tests.support import own_postgres as own
from tests.support.afar import Hosts, hosts, job
from tests.support.apart import net, server, stub
from tests.support.netns import Network, cut
from tests.support.pg import execute
from tests.support.tls import certificates

__all__ = ["certificates", "net", "server", "stub"]
pytestmark = pytest.mark.fault

ROWS = 6_000
SILENCE_S, MARGIN_S = 3.0, 1.0
UNDER_WAY_S = 1.0
"""What was handed to the kernel before may arrive so much later, on a busy machine."""


@pytest.fixture
def scene(net: Network, server: own.OwnPostgres, stub: Stub, tmp_path: Path) -> Iterator[Hosts]:
    asyncio.run(
        execute(
            server.url(),
            "DROP TABLE IF EXISTS events",
            "CREATE TABLE events (id bigint PRIMARY KEY, body text)",
            f"INSERT INTO events SELECT g, repeat('x', (g % 50)::int) FROM generate_series(1, {ROWS}) g",
            "ANALYZE events",
        )
    )
    endpoint = stub.endpoint.replace("127.0.0.1", net.gateway)
    made = job(endpoint, TABLE, max_wcu=500, plain_http=True)
    url = server.url().replace("127.0.0.1", net.gateway)
    with hosts(
        tmp_path, url, made, silence_s=SILENCE_S, margin_s=MARGIN_S, head=net.hosts[0].address
    ) as scene:
        yield scene


def runner_on(
    scene: Hosts, net: Network, host: int, certificates: Path, *arguments: str
) -> "subprocess.Popen[str]":
    shown = ("--tls-cert", str(certificates / "cert.pem"), "--tls-key", str(certificates / "key.pem"))
    inside = net.hosts[host].namespace
    return scene.run(*shown, *arguments, inside=inside, AWS_ACCESS_KEY_ID=f"{RUNNER}-head")


def worker_on(scene: Hosts, net: Network, host: int) -> "subprocess.Popen[str]":
    return scene.worker(host, inside=net.hosts[host].namespace, AWS_ACCESS_KEY_ID=f"{RUNNER}-{host}")


def last_of(history: list[Entry], host: int) -> float:
    return max(entry.arrived for entry in history if entry.runner == f"{RUNNER}-{host}")


def held_to_one_writer(history: list[Entry]) -> int:
    """See that no key goes back to a writer from which it was taken; return how many keys were taken."""
    moved = 0
    for key, writes in lives(history).items():
        by = [life.entry.runner for life in writes]
        turns = [runner for at, runner in enumerate(by) if not at or runner != by[at - 1]]
        assert len(turns) == len(set(turns)), (key, by)
        moved += len(turns) > 1
        for before, after in itertools.pairwise(writes):
            if before.entry.runner != after.entry.runner:
                assert before.applied_at < after.arrived, (key, before, after)
    return moved


def test_who_is_cut_off_or_asleep_writes_nothing_behind_its_time(
    scene: Hosts, net: Network, stub: Stub, certificates: Path
) -> None:
    runner = runner_on(scene, net, 0, certificates, "--workers", "1", "--expect", "3")
    workers = {host: worker_on(scene, net, host) for host in (1, 2, 3)}
    for worker in workers.values():
        scene.said(worker, "taking part")
    time.sleep(2.0)  # into their segments
    head, both, one_way, _ = net.hosts
    cut(head, both)  # each still reaches source and target
    head.drops(one_way)  # whose beats come, and whose answers don't
    os.kill(workers[3].pid, signal.SIGSTOP)
    at_s = time.monotonic()
    try:
        for host in (1, 2):
            ended = scene.ended(workers[host])
            assert (ended.code, "lost its runner" in ended.stderr) == (1, True), ended.stderr
        scene.said(runner, " is lost: ", times=2)  # both that can't be heard; the other one has left
        os.kill(workers[3].pid, signal.SIGCONT)
        woken = scene.ended(workers[3])
        assert (woken.code, "lost its runner" in woken.stderr) == (1, True), woken.stderr
        ended = scene.ended(runner)
    finally:
        head.sends(both), both.sends(head), head.sends(one_way)
    assert ended.code == 0, ended.stderr
    report = ended.report
    assert (report["rows_read"], report["items_written"], report["outcome"]) == (ROWS, ROWS, "complete")
    assert {item["body"]["S"] for item in stub.items().values()} == {"x" * n for n in range(50)}
    assert len(stub.items()) == ROWS
    history = stub.history()
    for host in (1, 2):
        assert at_s < last_of(history, host) < at_s + SILENCE_S + UNDER_WAY_S
    assert last_of(history, 3) < at_s + UNDER_WAY_S, "it wrote when it woke"
    assert held_to_one_writer(history) > 0, "nothing that was under way was done again: the test says nothing"
