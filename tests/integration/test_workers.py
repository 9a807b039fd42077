"""Workers that dial in to a run: together they load all of it, and a host's bad days lose nothing."""

import asyncio
import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.support.afar import HELD_BACK, IMPATIENT, OTHER_VERSION, Hosts, Valve, events, hosts, job
from tests.support.command import Ended
from tests.support.pg import execute
from tests.support.tls import certificates

__all__ = ["certificates"]

ROWS = 12_000


@pytest.fixture(scope="module")
def source_url(postgres_server: str) -> Iterator[str]:
    """A database with one table of rows."""
    with events(postgres_server, ROWS) as url:
        yield url


@pytest.fixture
def scene(source_url: str, dynoxide: str, tmp_path: Path) -> Iterator[Hosts]:
    with hosts(tmp_path, source_url, job(dynoxide, f"t-{uuid.uuid4().hex[:8]}")) as made:
        made.create()
        yield made


def whole() -> dict[tuple[str, ...], Any]:
    return {
        (json.dumps({"S": f"EVENT#{n}"}), json.dumps({"S": "ROW"})): {
            "PK": {"S": f"EVENT#{n}"},
            "SK": {"S": "ROW"},
            "id": {"N": str(n)},
            "body": {"S": "x" * (n % 50)},
        }
        for n in range(1, ROWS + 1)
    }


def slow(scene: Hosts, units_per_s: int) -> None:
    """Have a load last, so that something can happen in the middle of it."""
    scene.job["target"]["max_wcu"] = units_per_s
    scene.silence_s, scene.margin_s = 5.0, 1.0


def held_to_all(scene: Hosts, ended: Ended) -> None:
    """See that a run is complete, and that what it wrote is what its source has."""
    assert ended.code == 0, ended.stderr
    report = ended.report
    assert (report["rows_read"], report["items_written"], report["outcome"]) == (ROWS, ROWS, "complete")
    assert scene.items() == whole()
    assert not list(scene.folder.rglob("workers-elsewhere")), "it has ended cleanly"


def test_workers_that_dial_in_load_all_of_it(scene: Hosts, certificates: Path) -> None:
    shown = ("--tls-cert", str(certificates / "cert.pem"), "--tls-key", str(certificates / "key.pem"))
    runner = scene.run("--workers", "0", "--expect", "2", *shown)
    workers = [scene.worker(number, "--ca", str(certificates / "ca.pem")) for number in (1, 2)]
    ended = scene.ended(runner)
    held_to_all(scene, ended)
    assert [scene.ended(each).code for each in workers] == [0, 0]
    assert ended.stderr.count(" joins") == 2, ended.stderr
    assert scene.url not in ended.stderr + ended.stdout


def test_workers_die_sleep_and_join_late_and_nothing_is_lost(scene: Hosts) -> None:
    slow(scene, 700)
    runner = scene.run("--workers", "1", "--expect", "2")
    killed, asleep = (scene.worker(number) for number in (1, 2))
    for each in (killed, asleep):
        scene.said(each, "taking part")
    time.sleep(2.0)  # into their segments
    killed.kill()
    os.kill(asleep.pid, signal.SIGSTOP)
    late = scene.worker(3)
    scene.said(runner, "has said nothing for 5 s")
    os.kill(asleep.pid, signal.SIGCONT)
    woken = scene.ended(asleep)
    assert (woken.code, "lost its runner" in woken.stderr) == (1, True), woken.stderr
    ended = scene.ended(runner)
    held_to_all(scene, ended)
    assert any("is lost: its connection has ended; what" in text for text in ended.report["notices"]), (
        ended.report["notices"]
    )
    assert scene.ended(late).code == 0


def test_workers_that_are_cut_off_from_the_runner_alone_stop_sending(scene: Hosts) -> None:
    slow(scene, 700)
    runner = scene.run("--workers", "1", "--expect", "3")
    scene.said(runner, "listening")
    valves = [Valve(scene.port) for _ in range(3)]
    try:
        workers = [scene.worker(number, port=valve.port) for number, valve in enumerate(valves)]
        for each in workers:
            scene.said(each, "taking part")
        time.sleep(2.0)  # into their segments
        for cut in (valves[0].to_head, valves[0].from_head, valves[1].to_head, valves[2].from_head):
            cut.set()
        for each in workers:
            ended = scene.ended(each)
            assert (ended.code, "lost its runner" in ended.stderr) == (1, True), ended.stderr
        ended = scene.ended(runner)
        held_to_all(scene, ended)
        assert sum(" is lost: " in text or " has left: " in text for text in ended.report["notices"]) == 3
    finally:
        for valve in valves:
            valve.close()


def test_one_that_joins_during_the_last_segments_waits_and_reads_on_what_comes_back(scene: Hosts) -> None:
    slow(scene, 1_500)
    scene.margin_s = -4.0  # this target applies at once what it takes
    scene.job["source"]["segments"] = 2
    runner = scene.run("--workers", "0", "--expect", "1")
    late, first = scene.worker(2, first=HELD_BACK), scene.worker(1)
    scene.said(first, "taking part")
    (scene.folder / "host-2" / "go").touch()
    scene.said(late, "taking part")
    time.sleep(0.5)  # it has asked, and there is nothing left to be given
    assert late.poll() is None, "nobody is sent home while a segment may come back"
    first.kill()
    ended = scene.ended(runner)
    held_to_all(scene, ended)
    assert "is lost: its connection has ended; what it was reading" in ended.stderr
    assert scene.ended(late).code == 0


def test_a_new_runner_waits_for_the_workers_of_one_that_was_killed(scene: Hosts) -> None:
    slow(scene, 700)
    first = scene.run("--workers", "1", "--expect", "1")
    worker = scene.worker(1)
    scene.said(worker, "taking part")
    time.sleep(2.0)  # into its segments
    first.kill()
    again = scene.run("--workers", "1")
    orphan = scene.ended(worker)
    assert (orphan.code, "its connection has ended" in orphan.stderr) == (1, True), orphan.stderr
    scene.said(again, "waiting for 11 s")
    held_to_all(scene, scene.ended(again))


MOVING = 6_000


@pytest.fixture
def moving(scene: Hosts) -> Hosts:
    """A scene whose state is in a table, and whose source doesn't stay as it is once `moves_on`."""
    asyncio.run(
        execute(
            scene.url,
            "DROP TABLE IF EXISTS moving",
            "CREATE TABLE moving (id bigint PRIMARY KEY, body text)",
            f"INSERT INTO moving SELECT g, 'then' FROM generate_series(1, {MOVING}) g",
            "ANALYZE moving",
        )
    )
    target = scene.job["target"]
    scene.job["source"]["table"] = "moving"
    scene.job["state"] = {
        "type": "dynamodb",
        "table": f"s-{uuid.uuid4().hex[:8]}",
        "endpoint_url": target["endpoint_url"],
        "region": "us-east-1",
        "lease_s": 2.0,
    }
    slow(scene, 900)
    scene.silence_s, scene.margin_s = 2.0, -4.0  # this target applies at once what it takes
    scene.view_kept_s = 60.0
    return scene


def moves_on(scene: Hosts) -> None:
    asyncio.run(
        execute(
            scene.url,
            "UPDATE moving SET body = 'now'",
            "DELETE FROM moving WHERE id % 10 = 0",
            "INSERT INTO moving SELECT -g, 'now' FROM generate_series(1, 50) g",
        )
    )


def as_it_was_then(scene: Hosts) -> bool:
    items = scene.items().values()
    return len(items) == MOVING and {item["body"]["S"] for item in items} == {"then"}


def test_a_runner_elsewhere_goes_on_in_the_view_that_a_worker_has_kept(moving: Hosts) -> None:
    first = moving.run("--workers", "1", "--expect", "1")
    worker = moving.worker(1)
    moving.said(first, "keeps the run's view of the source, too")
    time.sleep(1.5)  # into its segments
    first.kill()
    moving.said(worker, "keeps the run's view of the source for up to 60 s")
    moves_on(moving)
    time.sleep(2.5)  # the lease of the first is over
    again = moving.run("--workers", "1", on="another")
    ended = moving.ended(again)
    assert ended.code == 0, ended.stderr
    assert "goes on in the very snapshot" in ended.stderr
    assert 0 < ended.report["rows_read"] == ended.report["items_written"] == MOVING
    assert as_it_was_then(moving)
    joined = moving.ended(worker)
    assert joined.code == 0, joined.stderr
    assert joined.stderr.count("taking part") == 2


def test_a_second_keeper_that_leaves_is_followed_by_another_which_keeps_no_longer_than_it_may(
    moving: Hosts,
) -> None:
    moving.job["target"]["max_wcu"] = 100
    first = moving.run("--workers", "0", "--expect", "1")
    holder = moving.worker(1)
    moving.said(first, "keeps the run's view of the source, too")
    moving.view_kept_s = 0.4
    other = moving.worker(2)
    moving.said(other, "taking part")
    holder.terminate()
    assert moving.ended(holder).code == 130
    moving.said(first, "keeps the run's view of the source, too", times=2)
    first.kill()
    ended = moving.ended(other)
    assert (ended.code, "lost its runner" in ended.stderr) == (1, True), ended.stderr
    assert "for up to 0 s" in ended.stderr


def test_a_run_that_reads_nothing_itself_ends_in_time_where_nobody_dials_in(scene: Hosts) -> None:
    alone = scene.ended(scene.run("--workers", "0", first=IMPATIENT))
    assert alone.code == 1, alone.stderr
    assert f"waiting for one to dial in at 127.0.0.1:{scene.port}; in " in alone.stderr
    assert "no worker has been there for 2 s" in alone.stderr
    assert alone.report["outcome"] == "failed", "it can be gone on with"


def test_who_can_not_take_part_is_refused_with_one_sentence(scene: Hosts) -> None:
    (scene.folder / "hook.py").write_text("def same(rows):\n    return rows\n")
    scene.job["transform"] = {"hook": "hook:same", "keeps": ["id"]}
    slow(scene, 100)
    runner = scene.run("--workers", "1")
    scene.said(runner, "listening")
    other = scene.folder / "host-4"
    other.mkdir()
    (other / "hook.py").write_text("def same(rows):\n    return rows.filter(True)\n")
    refused = {
        "BACKFILL_WORKER_TOKEN isn't the runner's": scene.worker(1, BACKFILL_WORKER_TOKEN="x" * 40),
        "it has backfill 0.0.1 where the runner has": scene.worker(2, first=OTHER_VERSION),
        "there is no module hook": scene.worker(3),
        "its source here isn't the runner's": scene.worker(4),
        "SOURCE_URL isn't set": scene.worker(
            5, "--hooks", str(scene.folder), first="import os; del os.environ['SOURCE_URL']"
        ),
        "must hold the token": scene.worker(6, BACKFILL_WORKER_TOKEN="short"),
    }
    for sentence, worker in refused.items():
        ended = scene.ended(worker)
        assert (ended.code, sentence in ended.stderr) == (2, True), (sentence, ended.stderr)
        assert "Traceback" not in ended.stderr
    good = scene.worker(7, "--hooks", str(scene.folder))
    scene.said(good, "taking part")
    good.terminate()
    assert scene.ended(good).code == 130
    runner.terminate()
    ended = scene.ended(runner)
    assert ended.code == 130, ended.stderr
    assert ended.stderr.count("dialled in and was refused") == 1, "an address is told of once"
    assert scene.url not in ended.stderr + ended.stdout


def test_a_collection_is_loaded_by_a_worker_of_another_host(
    mongodb_url: str, dynoxide: str, tmp_path: Path
) -> None:
    made = job(dynoxide, f"t-{uuid.uuid4().hex[:8]}")
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        collection = client[f"d_{uuid.uuid4().hex[:8]}"].c
        collection.insert_many([{"_id": n, "body": "x" * (n % 50)} for n in range(6_000)])
        made["source"] = {
            "type": "mongodb",
            "url": "${SOURCE_URL}",
            "database": collection.database.name,
            "collection": "c",
            "segments": 6,
        }
        made["items"][0]["key"]["PK"] = "EVENT#{_id}"
        with hosts(tmp_path, mongodb_url, made) as scene:
            scene.create()
            runner = scene.run("--workers", "0", "--expect", "1")
            worker = scene.worker(1)
            ended = scene.ended(runner)
            assert (ended.code, scene.ended(worker).code) == (0, 0), ended.stderr
            loaded = {int(item["_id"]["N"]): item["body"]["S"] for item in scene.items().values()}
            assert loaded == {n: "x" * (n % 50) for n in range(6_000)}
