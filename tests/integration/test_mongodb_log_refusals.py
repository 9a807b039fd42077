"""What MongoDB's log has to tell before a job goes by it, and what is said when it no longer does."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bson import Timestamp
from pymongo import MongoClient

from connectors.mongodb import logged
from connectors.mongodb.place_in_log import PlaceInLog
from engine.batch import Cursor, Segment
from engine.contracts.feed import LogNeeds
from engine.errors import BackfillError, JobError, PermanentError
from tests.support.logged import items, refused, run
from tests.support.mongo_moves import there_and_back
from tests.support.mongo_proxy import MongoProxy
from tests.support.mongo_source import fill, opened
from tests.support.own_mongo import OwnMongo
from tests.support.streamed import Streamed, streaming

GONE = ("dropped", "renamed")
BY_V = [{"name": "V", "key": {"PK": "V#{v}", "SK": "ID#{_id}"}}]


@pytest.fixture
def streamed(
    mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> Iterator[Streamed]:
    with streaming(mongodb_url, database, dynoxide, table_name, tmp_path) as made:
        yield made


def keep_images(streamed: Streamed, *, on: bool) -> None:
    streamed.db.command({"collMod": "c", "changeStreamPreAndPostImages": {"enabled": on}})


def test_keys_of_more_than_the_id_need_documents_as_they_were(streamed: Streamed) -> None:
    command = streamed.command
    command.job["items"] = BY_V
    said = refused(command)
    assert 'db.runCommand({collMod: "c", changeStreamPreAndPostImages: {enabled: true}})' in said
    assert "made of v" in said
    assert said in "\n".join(command.here("plan", "--json").report["warnings"])
    keep_images(streamed, on=True)
    run(command, "full")
    keep_images(streamed, on=False)
    streamed.collection.delete_one({"_id": 1})
    assert "collMod" in refused(command)
    keep_images(streamed, on=True)
    said = refused(command, 1)
    assert "expireAfterSeconds" in said
    assert "--delete-extra" in said
    run(command, "full", 0, "--fresh")
    streamed.collection.delete_one({"_id": 2})
    run(command, "catch_up")
    assert "V#first2|ID#2" not in items(command)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": {"mode": "insert"}}, "target.mode put"),
        ({"source": {"watermark": "at"}}, "excludes `watermark`"),
        ({"source": {"collection": "seen"}}, "seen is a view"),
        ({"source": {"collection": "times"}}, "go by source.watermark"),
        ({"source": {"collection": "capped"}}, "capped is capped"),
        (
            {"source": {"projection": {"v": {"$toUpper": "$v"}}}, "items": BY_V},
            "source.projection cuts or computes",
        ),
        ({"source": {"projection": {"v.w": 0}}, "items": BY_V}, "source.projection cuts or computes"),
        ({"source": {"projection": {"_id": {"a": "$_id"}}}}, "source.projection cuts or computes"),
        ({"items": [{"name": "V", "key": {"PK": "{v}{_id}", "SK": "V"}}]}, "may be another row's by now"),
    ],
)
def test_what_has_no_log_is_refused(streamed: Streamed, changes: dict[str, Any], said: str) -> None:
    db, job = streamed.db, streamed.command.job
    db.create_collection("seen", viewOn="c", pipeline=[])
    db.create_collection("times", timeseries={"timeField": "at"})
    db.create_collection("capped", capped=True, size=4096)
    db.capped.insert_one({"_id": 1})
    keep_images(streamed, on=True)
    for section, value in changes.items():
        job[section] = value if section == "items" else {**job[section], **value}
    assert said in refused(streamed.command)


def test_a_standalone_server_keeps_no_log(
    tmp_path: Path, database: str, dynoxide: str, table_name: str
) -> None:
    server = OwnMongo(tmp_path, replica_set=False)
    server.start()
    try:
        with streaming(server.url, database, dynoxide, table_name, tmp_path) as streamed:
            assert "rs.initiate()" in refused(streamed.command)
            del streamed.command.job["source"]["catch_up"]
            assert "rs.initiate()" in streamed.command.here("plan", "--json").report["catch_up"]
    finally:
        server.stop()


@pytest.mark.parametrize("move", ["dropped", "made again", "renamed", "there and back", "database dropped"])
def test_a_collection_that_moved_has_no_log_from_there_on(streamed: Streamed, move: str) -> None:
    run(streamed.command, "full")
    c = streamed.collection
    c.delete_one({"_id": 1})
    match move:
        case "dropped":
            c.drop()
        case "made again":
            c.drop()
            c.insert_one({"_id": 1})
        case "renamed":
            c.rename("other")
        case "database dropped":
            streamed.mongo.drop_database(streamed.db.name)
            c.insert_one({"_id": 1})
        case _:
            there_and_back(streamed.db)
    assert "--fresh" in refused(streamed.command, 1 if move == "there and back" else 2) or move in GONE


def test_a_log_that_does_not_reach_back_far_enough_is_said_with_the_way_out(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = streamed.command
    run(command, "full")
    streamed.collection.delete_one({"_id": 1})

    async def short(client: Any) -> logged.LogWindow:
        return logged.LogWindow(Timestamp(2**32 - 10, 1), Timestamp(2**32 - 1, 1), None)

    with monkeypatch.context() as patch:
        patch.setattr("connectors.mongodb.feed.log_window", short)
        said = refused(command, 1)
    for part in ("thrown away", "--fresh", "--delete-extra", "replSetResizeOplog"):
        assert part in said
    run(command, "catch_up")
    assert len(items(command)) == 99


@pytest.mark.parametrize(
    ("code", "errmsg", "kind", "said"),
    [
        (286, "Resume of change stream was not possible", PermanentError, "--delete-extra"),
        (280, "cannot resume stream; the resume token was not found", PermanentError, "--fresh"),
        (13, "not authorized on d to execute command", JobError, "find and changeStream on"),
        (10334, "BSONObj size: 20000347 is invalid", PermanentError, "16 MB"),
    ],
)
async def test_what_the_server_answers_is_told(
    mongodb_url: str, database: str, code: int, errmsg: str, kind: type[BackfillError], said: str
) -> None:
    """A server that lost the place, or whose role mayn't: recorded answers."""

    def stream(told: dict[str, Any]) -> dict[str, Any] | None:
        streams = "aggregate" in told and "$changeStream" in (told["pipeline"] or [{}])[0]
        return {"ok": 0, "code": code, "errmsg": errmsg} if streams else None

    await fill(mongodb_url, database, [{"_id": 1}])
    async with MongoProxy(mongodb_url, stream) as proxy:
        source = await opened(proxy.url, database, catch_up={"type": "log"})
        try:
            with pytest.raises(kind, match=said):
                await source.abilities.feed.check(LogNeeds(frozenset({"_id"})), None)
            code = 262  # ExceededTimeLimit: it passes
            asyncio.get_running_loop().call_later(0.2, lambda: setattr(proxy, "_answer", lambda _: None))
            await source.abilities.feed.check(LogNeeds(frozenset({"_id"})), None)
        finally:
            await source.close()


async def test_documents_are_looked_up_as_most_members_have_them_and_not_as_before_the_change(
    mongodb_url: str, database: str
) -> None:
    """One server alone can't show what a member that lags would answer: the commands are looked at."""
    asked: list[dict[str, Any]] = []

    def note(told: dict[str, Any]) -> None:
        asked.append(told)

    await fill(mongodb_url, database, [{"_id": 1}, {"_id": 2}])
    first = await opened(mongodb_url, database, catch_up={"type": "log"})
    await first.close()
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        client[database].c.update_many({}, {"$set": {"n": 1}})
    async with MongoProxy(mongodb_url, note) as proxy:
        source = await opened(proxy.url, database, since=first.watermark, catch_up={"type": "log"})
        try:
            feed = source.abilities.feed
            await feed.check(LogNeeds(frozenset({"_id"})), first.watermark)
            asked.clear()
            whole = Segment(0, Cursor((first.watermark,)), Cursor((source.watermark,)), None)
            assert [batch.old async for batch in feed.read(whole, None) if batch.old] == [2]
        finally:
            await source.close()
    (found,) = [told for told in asked if "find" in told]
    assert found["filter"] == {"_id": {"$in": [1, 2]}}
    assert found["readConcern"]["level"] == "majority"
    assert found["readConcern"]["afterClusterTime"] > PlaceInLog.read(first.watermark).time
    assert found["collectionUUID"]


def test_plan_and_status_tell_how_far_the_log_reaches(streamed: Streamed) -> None:
    command = streamed.command
    run(command, "full")
    assert "reaches back" in command.here("status").stdout
    warnings = "\n".join(command.here("plan", "--json").report["warnings"])
    assert "full, reaches back" in warnings
    assert "has lost its place" in warnings
    assert "nothing is kept for load" in command.here("log drop").stderr
    assert "by the log; by source.watermark" in command.here("plan").stdout.replace("\n", " ")
    del command.job["source"]["catch_up"]
    assert "it could as well (source.catch_up)" in command.here("plan", "--json").report["catch_up"]
    command.job["items"] = BY_V
    assert "collMod" in command.here("plan", "--json").report["catch_up"]


def test_jobs_of_one_collection_may_go_by_its_log_together(streamed: Streamed) -> None:
    command = streamed.command
    source = command.job.pop("source")
    rules = command.job.pop("items")
    del command.job["name"]
    command.job["jobs"] = [{"name": name, "source": source, "items": rules} for name in ("one", "two")]
    for kind in ("full", "catch_up"):
        ended = command.here("run", "--json", "--workers", "1")
        assert ended.code == 0, ended.stderr
        assert f"two: {kind.replace('_', '-')} run" in ended.stderr
        streamed.collection.delete_one({"_id": 1})
    assert "D#1|D" not in items(command)


def test_a_load_that_outlasts_the_log_is_warned_of() -> None:
    window = logged.LogWindow(Timestamp(1_000, 1), Timestamp(4_600, 1), 0.99)
    assert window.full
    assert window.span_s == 3_600
    assert "reaches back 1 h" in window.told
    assert not replace(window, share=0.5).full
    assert "50 % full" in replace(window, share=0.5).told
    assert "can't be told" in logged.foretold(None)
