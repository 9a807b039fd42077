"""verify --full with workers of other hosts finds what one process finds, whichever of them dies."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from bench import servers
from engine.commands import helpers_afar
from engine.commands.helpers_afar import HelperAfar
from engine.commands.verify import recheck, source_pass, target_pass
from engine.commands.verify.orders import ReadOrder, ScanOrder, ShareOrder
from engine.run import beats
from engine.run.wire import Language
from tests.integration.test_verify import ROWS, Loaded, job
from tests.integration.test_verify_workers import told
from tests.support import mongo_load
from tests.support.afar import SOON, TOKEN, Hosts, hosts
from tests.support.command import Command
from tests.support.helped import asked_of_all

OTHER_HASHES = "from engine.commands import hash_probe; hash_probe.probe = lambda: 'other'"


@pytest.fixture(autouse=True)
def many_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recheck, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(source_pass, "SEGMENT_ROWS", 100)
    monkeypatch.setattr(source_pass, "COMMIT_S", -1.0)
    monkeypatch.setattr(beats, "MARGIN_S", 0.2)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[HelperAfar[Any, Any], Any]]:
    """Who of other hosts has done what; nobody begins before all can who have come."""
    asked_of_all(monkeypatch, source_pass, target_pass)
    found: list[tuple[HelperAfar[Any, Any], Any]] = []
    ask = HelperAfar.ask

    async def noted(self, order):
        answer = await ask(self, order)
        found.append((self, order))
        return answer

    monkeypatch.setattr(HelperAfar, "ask", noted)
    return found


class Elsewhere:
    """A job that was loaded, its verification in this process, and workers that dial in to it."""

    def __init__(self, command: Command, scene: Hosts) -> None:
        self.command = command
        self.hosts = scene
        self.workers: list[subprocess.Popen[str]] = []

    def worker(self, **env: str) -> "subprocess.Popen[str]":
        self.workers.append(self.hosts.worker(len(self.workers), first=SOON, **env))
        return self.workers[-1]

    def verify(self, *arguments: str, code: int = 4) -> dict[str, Any]:
        ended = self.command.here("verify", "--full", "--json", *arguments)
        assert ended.code == code, (ended.stdout, ended.stderr)
        return ended.report

    def afar(self, count: int, *arguments: str, code: int = 4) -> dict[str, Any]:
        """Verify by so many workers, which dial in, and by nobody else."""
        for _ in range(count - len(self.workers)):
            self.worker()
        at = ("--workers", "0", "--listen", f"127.0.0.1:{self.hosts.port}", "--expect", str(count))
        return self.verify(*at, *arguments, code=code)

    def ended(self, *codes: int) -> None:
        """See how workers have ended."""
        found = [self.hosts.ended(worker) for worker in self.workers]
        assert [each.code for each in found] == [*codes], [each.stderr for each in found]


@pytest.fixture
def elsewhere(
    tmp_path, postgres_url, dynoxide, table_name, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Elsewhere]:
    """A table that was damaged, whose job has its URL from the environment."""
    monkeypatch.setenv("SOURCE_URL", postgres_url)
    monkeypatch.setenv("BACKFILL_WORKER_TOKEN", TOKEN)
    servers.execute(postgres_url, ROWS)
    loaded = Loaded(tmp_path, "${SOURCE_URL}", dynoxide, table_name).run()
    loaded.damage()
    with hosts(tmp_path, postgres_url, loaded.command.job) as scene:
        yield Elsewhere(loaded.command, scene)


def kinds(asked: list[tuple[HelperAfar[Any, Any], Any]]) -> set[type]:
    return {type(order) for _, order in asked}


def test_workers_of_other_hosts_find_what_one_process_finds(
    elsewhere: Elsewhere, asked: list[Any], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = elsewhere.verify("--workers", "1")
    said, written = list[bytes](), Language.written

    def heard(self, message):
        said.append(written(self, message))
        return said[-1]

    monkeypatch.setattr(Language, "written", heard)
    stranger = elsewhere.hosts.worker(9, first=SOON, BACKFILL_WORKER_TOKEN="x" * 40)
    other = elsewhere.hosts.worker(8, first=f"{SOON}; {OTHER_HASHES}")
    two = elsewhere.afar(2, "--expect", "3", "--max-rcu", "100000")
    assert told(two) == told(one)
    assert told(one)[:4] == (1993, 3, 3, 2)
    assert kinds(asked) == {ReadOrder, ScanOrder, ShareOrder}
    assert len({helper for helper, _ in asked}) == 2
    assert two["consumed_rcu"] == pytest.approx(one["consumed_rcu"], rel=0.1)
    assert list(elsewhere.command.state.glob("*/verify")) == []
    elsewhere.ended(0, 0)
    refused = elsewhere.hosts.ended(stranger)
    assert (refused.code, "BACKFILL_WORKER_TOKEN isn't the runner's" in refused.stderr) == (2, True)
    refused = elsewhere.hosts.ended(other)
    assert (refused.code, "processor is of another kind" in refused.stderr) == (2, True)
    assert any("has left: this host's processor" in text for text in two["notices"])
    assert not any(postgres_url.encode() in each for each in said), "no secret is on the wire"


@pytest.mark.parametrize("of", [ReadOrder, ScanOrder])
def test_one_that_is_killed_costs_its_part_only(
    elsewhere: Elsewhere, of: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, killed = HelperAfar.ask, list[str]()

    async def kills(self, order):
        if isinstance(order, of) and not killed:
            killed.append(self.how_gone())
            for worker in elsewhere.workers:
                if f":{worker.pid} " in killed[0]:
                    worker.kill()
                    worker.wait()
        return await ask(self, order)

    monkeypatch.setattr(HelperAfar, "ask", kills)
    report = elsewhere.afar(2)
    assert told(report)[:4] == (1993, 3, 3, 2)
    assert report["rows_read"] == 2000
    assert any("is lost: its connection has ended; what it was doing" in text for text in report["notices"])
    assert sorted(elsewhere.hosts.ended(worker).code for worker in elsewhere.workers) == [-signal.SIGKILL, 0]


def test_one_that_falls_asleep_holds_nothing_up_and_ends_when_it_wakes(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beats, "SILENCE_S", 3.0)
    asleep = elsewhere.worker()
    ask = HelperAfar.ask

    async def sleeps(self, order):
        if isinstance(order, ScanOrder) and f":{asleep.pid} " in self.how_gone():
            os.kill(asleep.pid, signal.SIGSTOP)
        return await ask(self, order)

    monkeypatch.setattr(HelperAfar, "ask", sleeps)
    report = elsewhere.afar(2, "--max-rcu", "100000")
    assert told(report)[:4] == (1993, 3, 3, 2)
    assert any("has said nothing for 3 s; what it was doing" in text for text in report["notices"])
    os.kill(asleep.pid, signal.SIGCONT)
    elsewhere.ended(1, 0)
    assert "lost its runner" in elsewhere.hosts.told(asleep)


def test_one_that_comes_late_takes_part(
    elsewhere: Elsewhere, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = HelperAfar.ask

    async def waits(self, order):
        if isinstance(order, ScanOrder) and len(elsewhere.workers) == 1:
            elsewhere.worker()
        answer = await ask(self, order)
        while isinstance(order, ScanOrder) and len({helper for helper, _ in asked}) < 2:
            await helpers_afar.sleep(0.05)
        return answer

    monkeypatch.setattr(HelperAfar, "ask", waits)
    monkeypatch.setattr(target_pass, "SCANS_IN_FLIGHT", 1)
    report = elsewhere.afar(1, "--max-rcu", "100000")
    assert told(report)[:4] == (1993, 3, 3, 2)
    first, late = {helper for helper, order in asked if isinstance(order, ScanOrder)}
    shares = [(helper is late, order.max_rcu) for helper, order in asked if isinstance(order, ShareOrder)]
    assert shares[0][1] == 100_000, "alone it has all"
    assert [units for _, units in shares[1:3]] == [50_000, 50_000]
    assert shares[1][0] != shares[2][0]
    assert first is not late
    elsewhere.ended(0, 0)


def test_one_that_can_not_read_leaves_and_others_do_what_it_had(
    elsewhere: Elsewhere, asked: list[Any], postgres_server: str
) -> None:
    name = f"t_{uuid.uuid4().hex[:12]}"
    servers.execute(postgres_server, f"CREATE DATABASE {name}")
    other = servers.database_url(postgres_server, name)
    servers.execute(other, f"{ROWS}; UPDATE orders SET email = 'of another'")
    elsewhere.worker(SOURCE_URL=other)
    report = elsewhere.afar(2)
    assert told(report)[:4] == (1993, 3, 3, 2)
    assert any("has left: source: cannot import a snapshot" in text for text in report["notices"])
    elsewhere.ended(1, 0)
    servers.execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


def test_a_command_that_is_killed_ends_its_workers(elsewhere: Elsewhere) -> None:
    elsewhere.hosts.command = "verify"
    command = elsewhere.hosts.run("--full", "--workers", "0", "--expect", "2")
    worker = elsewhere.worker()
    elsewhere.hosts.said(worker, "taking part in the verification")
    command.kill()
    ended = elsewhere.hosts.ended(worker)
    assert (ended.code, "lost its runner" in ended.stderr) == (1, True), ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("mode", ["put", "newer"])
def test_of_several_rows_with_one_key_the_same_one_counts(
    mode: str, elsewhere: Elsewhere, postgres_url: str, dynoxide, table_name, tmp_path
) -> None:
    servers.execute(postgres_url, "UPDATE orders SET v = 3000 - id, gone = false")
    changes = {"mode": "newer", "version": "v"} if mode == "newer" else {}
    loaded = Loaded(tmp_path, "${SOURCE_URL}", dynoxide, f"{table_name}-{mode}", **changes)
    loaded.command.job["source"] = {
        "type": "postgres",
        "url": "${SOURCE_URL}",
        "query": "SELECT id, id % 300 AS place, email, total, tags, gone, v FROM orders",
        "key": ["id"],
    }
    loaded.command.job["items"][0]["key"]["PK"] = "ORDER#{place}"
    loaded.run()
    loaded.set(7, email={"S": "changed"})
    loaded.delete(9)
    elsewhere.command = loaded.command
    one = elsewhere.verify("--workers", "1")
    assert told(elsewhere.afar(1)) == told(one)
    assert told(one)[:4] == (298, 1, 1, 0)


def test_jobs_that_share_a_table_are_held_against_it_together(elsewhere: Elsewhere) -> None:
    whole = elsewhere.command.job
    halves = [
        {"name": name, "source": {**whole["source"], "where": where}, "items": whole["items"]}
        for name, where in (("low", "id <= 1000"), ("high", "id > 1000"))
    ]
    elsewhere.command = Command(elsewhere.command.folder, {"target": whole["target"], "jobs": halves})
    one = elsewhere.verify("--workers", "1")
    assert told(elsewhere.afar(2)) == told(one)
    assert told(one)[:4] == (1993, 3, 3, 2)
    elsewhere.ended(0, 0)


def test_a_collection_is_verified_by_a_worker_of_another_host(
    mongodb_url, database, dynoxide, table_name, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_URL", mongodb_url)
    monkeypatch.setenv("BACKFILL_WORKER_TOKEN", TOKEN)
    loaded = mongo_load.Loaded(mongodb_url, database, dynoxide, table_name, tmp_path, "_id")
    loaded.command.job["source"]["url"] = "${SOURCE_URL}"
    loaded.fill(lambda n: n, 300)
    loaded.run()
    loaded.put("D#7", "T#000", x={"S": "y7"})
    loaded.delete("D#9", "T#001")
    loaded.put("D#9", "T#002", x={"S": "of no document"})
    with hosts(tmp_path, mongodb_url, loaded.command.job) as scene:
        elsewhere = Elsewhere(loaded.command, scene)
        one = elsewhere.verify("--workers", "1")
        assert told(elsewhere.afar(1)) == told(one)
        assert told(one)[:4] == (898, 1, 1, 1)
        elsewhere.ended(0)
    loaded.mongo.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("verify", "--listen", "127.0.0.1:0"), "--listen is about --full"),
        (("verify", "--full", "--read", "get", "--listen", "127.0.0.1:0"), "--read get, are one process's"),
        (("verify", "--full", "--expect", "2"), "add --listen"),
        (("verify", "--full", "--listen", "here"), "it must be HOST:PORT"),
        (("verify", "--full", "--listen", "192.0.2.1:7400"), "listens with TLS only"),
        (("verify", "--runner", "ray"), "--runner ray is about --full"),
        (("verify", "--full", "--ray-address", "local"), "add --runner ray"),
        (("plan", "--runner", "ray"), "--runner ray is about --full"),
        (("plan", "--listen", "127.0.0.1:0"), "--listen is about --full"),
        (("plan", "--full", "--tls-key", "key.pem"), "add --listen"),
    ],
)
def test_where_nobody_can_take_part_that_is_said(
    arguments: tuple[str, ...], sentence: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKFILL_WORKER_TOKEN", TOKEN)
    made = job("postgresql://nobody@127.0.0.1:9/none", "http://127.0.0.1:9", "none")
    ended = Command(tmp_path, made).here(*arguments)
    assert (ended.code, sentence in ended.stderr) == (2, True), ended.stderr
