"""Servers that restart, cursors that are killed and targets that go while MongoDB's log is read."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from engine.batch import Cursor, Segment
from engine.contracts.feed import LogNeeds
from tests.support import loads
from tests.support.logged import items, run
from tests.support.mongo_source import opened
from tests.support.own_mongo import OwnMongo
from tests.support.streamed import streaming
from tests.support.switch_proxy import SwitchProxy

pytestmark = pytest.mark.fault

COUNT = 500
LOG = {"type": "log"}


def restart(own: OwnMongo) -> None:
    own.restart()


def kill_cursors(own: OwnMongo) -> None:
    with MongoClient[dict[str, Any]](own.url) as client:
        client.admin.command("killAllSessions", [])


@pytest.mark.parametrize("act", [restart, kill_cursors])
async def test_a_log_is_read_on_behind_what_was_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[OwnMongo], None]
) -> None:
    monkeypatch.setattr("connectors.mongodb.feed.PART_ROWS", 100)
    own = OwnMongo(tmp_path)
    own.start()
    try:
        with MongoClient[dict[str, Any]](own.url) as client:
            client.d.c.insert_many([{"_id": n, "n": 0} for n in range(COUNT)])
            first = await opened(own.url, "d", catch_up=LOG)
            since = first.watermark
            await first.close()
            for n in range(COUNT):
                client.d.c.update_one({"_id": n}, {"$set": {"n": n + 1}})
        source = await opened(own.url, "d", since=since, catch_up=LOG)
        whole = Segment(0, Cursor((since,)), Cursor((source.watermark,)), None)
        found: list[tuple[str, Any]] = []
        try:
            feed = source.abilities.feed
            await feed.check(LogNeeds(frozenset({"_id"})), since)
            async for batch in feed.read(whole, None):
                now = batch.rows.slice(batch.old)
                found += zip(now.column("_id").to_pylist(), now.column("n").to_pylist(), strict=True)
                if batch.sequence == 1:
                    await asyncio.to_thread(act, own)
        finally:
            await source.close()
        assert [(number, wire["wire"]) for number, wire in found] == [
            (f"{n}", f'{{"N":"{n + 1}"}}') for n in range(COUNT)
        ]
    finally:
        own.stop()


def test_a_target_that_goes_while_the_log_is_read_gets_all_of_it_later(
    mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    with (
        SwitchProxy(dynoxide) as proxy,
        streaming(mongodb_url, database, dynoxide, table_name, tmp_path) as streamed,
    ):
        command, target = streamed.command, streamed.command.job["target"]
        target["endpoint_url"] = proxy.endpoint
        run(command, "full")
        streamed.collection.update_many({}, {"$set": {"v": "second"}})
        streamed.collection.delete_many({"_id": {"$gt": 90}})
        target |= {"max_wcu": 3, "give_up_after_s": 1.5}
        process = command.start("run", "--workers", "1", log=tmp_path / "log")
        while process.poll() is None and not second(dynoxide, table_name):
            time.sleep(0.05)
        proxy.switch("http://127.0.0.1:9")
        process.communicate()
        assert process.returncode == 1, (tmp_path / "log").read_text()
        assert second(dynoxide, table_name) < 90
        proxy.switch(dynoxide)
        del target["max_wcu"]
        assert run(command, "catch_up")["resumed"]
        assert len(items(command)) == second(dynoxide, table_name) == 90


def second(endpoint: str, table: str) -> int:
    """Return how many items have what was written last."""
    return sum(item["v"] == {"S": "second"} for item in loads.items(endpoint, table).values())
