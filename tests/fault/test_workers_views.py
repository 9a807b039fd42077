"""A worker of another host that can't read the run's snapshot leaves and reads nothing; the others go on."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support import own_postgres as own
from tests.support.afar import Hosts, hosts, job
from tests.support.pg import execute

pytestmark = pytest.mark.fault

ROWS = 3_000
TABLE = (
    "CREATE TABLE events (id bigint PRIMARY KEY, body text)",
    f"INSERT INTO events SELECT g, 'then' FROM generate_series(1, {ROWS}) g",
    "ANALYZE events",
)
HERE = "source: the run's snapshot can't be read from this host: its URL leads to another server"


@pytest.fixture(scope="module")
def server() -> Iterator[own.OwnPostgres]:
    with own.own_postgres(own.embedded_binaries(), "pgserver") as running:
        asyncio.run(execute(running.url(), *TABLE))
        yield running


@pytest.fixture
def scene(server: own.OwnPostgres, dynoxide: str, tmp_path: Path) -> Iterator[Hosts]:
    with hosts(tmp_path, server.url(), job(dynoxide, f"t-{uuid.uuid4().hex[:8]}", max_wcu=1_000)) as made:
        made.silence_s, made.margin_s = 3.0, -4.0  # this target applies at once what it takes
        made.create()
        yield made


def test_one_whose_url_leads_elsewhere_leaves_and_the_others_go_on(
    scene: Hosts, server: own.OwnPostgres, postgres_url: str
) -> None:
    asyncio.run(execute(postgres_url, *TABLE))
    with server.standby() as standby:
        caught_up(server, standby)
        runner = scene.run("--workers", "0", "--expect", "3")
        strays = {
            "another server or database answers at this address": scene.worker(1, SOURCE_URL=postgres_url),
            HERE: scene.worker(2, SOURCE_URL=standby.url()),
        }
        good = scene.worker(3)
        for sentence, worker in strays.items():
            ended = scene.ended(worker)
            assert (ended.code, sentence in ended.stderr) == (1, True), ended.stderr
            assert "Traceback" not in ended.stderr
        ended = scene.ended(runner)
        verified(scene, standby)
    assert (ended.code, scene.ended(good).code) == (0, 0), ended.stderr
    whole(scene, ended.report)
    left = [text for text in ended.report["notices"] if " has left: " in text]
    assert len(left) == 2, left
    assert all(any(sentence in text for text in left) for sentence in strays)


def test_one_that_comes_when_the_snapshot_is_gone_leaves_and_the_others_go_on(
    scene: Hosts, server: own.OwnPostgres
) -> None:
    scene.job["target"]["max_wcu"] = 400
    runner = scene.run("--workers", "1")
    asyncio.run(keeper_ended(server))
    ended = scene.ended(scene.worker(1))
    assert (ended.code, HERE in ended.stderr) == (1, True), ended.stderr
    ended = scene.ended(runner)
    assert ended.code == 0, ended.stderr
    whole(scene, ended.report)
    assert any(HERE in text for text in ended.report["notices"])


def whole(scene: Hosts, report: dict[str, Any]) -> None:
    assert (report["rows_read"], report["items_written"], report["outcome"]) == (ROWS, ROWS, "complete")
    items = scene.items()
    assert set(items) == {
        (json.dumps({"S": f"EVENT#{n}"}), json.dumps({"S": "ROW"})) for n in range(1, ROWS + 1)
    }
    assert {item["body"]["S"] for item in items.values()} == {"then"}


def verified(scene: Hosts, standby: own.OwnPostgres) -> None:
    """See that of a verification, too, nothing is read elsewhere."""
    scene.command = "verify"
    command = scene.run("--full", "--workers", "0", "--expect", "1")
    stray = scene.ended(scene.worker(4, SOURCE_URL=standby.url()))
    assert (stray.code, HERE in stray.stderr) == (1, True), stray.stderr
    good = scene.worker(5)
    ended = scene.ended(command)
    assert (ended.code, scene.ended(good).code) == (0, 0), ended.stderr
    assert ended.report["matched"] == ROWS
    assert any(f" has left: {HERE}" in text for text in ended.report["notices"])


def caught_up(server: own.OwnPostgres, standby: own.OwnPostgres) -> None:
    """Wait until a standby has all that its primary has, so that nothing else tells the two apart."""

    async def wait() -> None:
        primary, other = await asyncpg.connect(server.url()), await asyncpg.connect(standby.url())
        try:
            at = await primary.fetchval("SELECT pg_current_wal_lsn()::text")
            while not await other.fetchval(f"SELECT pg_last_wal_replay_lsn() >= '{at}'::pg_lsn"):
                await asyncio.sleep(0.02)
        finally:
            await primary.close()
            await other.close()

    asyncio.run(asyncio.wait_for(wait(), 120))


async def keeper_ended(server: own.OwnPostgres) -> None:
    """Wait until the run reads, then end the session that keeps its snapshot: its first one."""
    connection = await asyncpg.connect(server.url())
    sessions = (
        "SELECT pid, state FROM pg_stat_activity"
        " WHERE application_name = 'backfill' AND datname = current_database() ORDER BY backend_start"
    )
    try:
        until = time.monotonic() + 120
        found: list[Any] = []
        # The keeper's, which has nothing more to ask, and the two that read.
        while len(found) < 3 or found[0]["state"] != "idle in transaction":
            assert time.monotonic() < until, found
            await asyncio.sleep(0.02)
            found = await connection.fetch(sessions)
        await connection.execute(f"SELECT pg_terminate_backend({found[0]['pid']})")
    finally:
        await connection.close()
