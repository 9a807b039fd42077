"""What a server answers besides documents: what passes is gone on from, a tier's limits are lived with."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from connectors.mongodb.starter import look_at
from engine.errors import JobError, PermanentError
from tests.support.mongo_load import Loaded
from tests.support.mongo_proxy import MongoProxy, failure
from tests.support.mongo_source import WHOLE, fill, numbers, opened

pytestmark = pytest.mark.fault

COUNT = 1000
DOCUMENTS = [{"_id": n, "n": n} for n in range(COUNT)]
NO_TIMEOUT = failure(8000, "noTimeout cursors are disallowed in this atlas tier", codeName="AtlasError")
PASSING = {
    "NetworkInterfaceExceededTimeLimit": failure(202, "timed out"),
    "LockTimeout": failure(24, "Unable to acquire lock"),
    "WriteConflict": failure(112, "WriteConflict"),
    "MaxTimeMSExpired": failure(50, "operation exceeded time limit"),
    "Interrupted": failure(11601, "operation was interrupted"),
    "AdmissionQueueOverflow": failure(433, "queue is full"),
    "a label alone": failure(999_999, "busy", errorLabels=["RetryableError"]),
}


class Once:
    """Answers the n-th command of a name, and passes on all others."""

    def __init__(self, name, number, answer):
        self.name, self.left, self.answer = name, number, answer

    def __call__(self, command):
        if next(iter(command)) != self.name:
            return None
        self.left -= 1
        return self.answer if self.left == 0 else None


@pytest.mark.parametrize("answer", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize("command", ["getMore", "aggregate"])
async def test_what_passes_is_gone_on_from(mongodb_url, database, answer, command):
    await fill(mongodb_url, database, DOCUMENTS)
    once = Once(command, 3 if command == "getMore" else 1, answer)
    async with MongoProxy(mongodb_url, once) as proxy:
        source = await opened(proxy.url, database, batch_rows=100)
        try:
            await source.segments(4)
            assert await numbers(source) == list(range(COUNT))
            assert once.left <= 0
            assert any("put a reading off" in text for text in source.notices) == (command == "getMore")
        finally:
            await source.close()


async def test_a_tier_without_lasting_cursors_is_read(mongodb_url, database):
    await fill(mongodb_url, database, DOCUMENTS)
    finds = []

    def tier(command):
        if "find" in command:
            finds.append(command)
        if command.get("noCursorTimeout"):
            return NO_TIMEOUT
        if command.get("allowDiskUse"):
            return failure(8000, "allowDiskUse is not allowed in this atlas tier", codeName="AtlasError")
        return None

    async with MongoProxy(mongodb_url, tier) as proxy:
        source = await opened(proxy.url, database, batch_rows=100)
        try:
            segments = await source.segments(3)
            found = [n for segment in segments for n in await numbers(source, segment)]
            assert found == list(range(COUNT))
            assert len([text for text in source.notices if "without a timeout" in text]) == 1
            assert sum(bool(command.get("noCursorTimeout")) for command in finds) == 1, "asked for once"
            assert all(command["maxTimeMS"] > 10**9 for command in finds if "batchSize" in command)
        finally:
            await source.close()


async def test_every_reading_says_how_long_it_may_take(mongodb_url, database, dynoxide, table_name, tmp_path):
    """MongoDB 8.0 cuts those that say nothing by its defaultMaxTimeMS."""
    loaded = Loaded(mongodb_url, database, dynoxide, table_name, tmp_path, "account")
    at = datetime(2024, 1, 15, tzinfo=UTC)
    loaded.fill(lambda n: n, 60, account=lambda n: n % 20, at=lambda n: at)
    seen = Counter()

    def limited(command):
        name = next(iter(command))
        if name not in ("find", "aggregate", "count", "distinct") or command["$db"] in ("admin", "local"):
            return None
        seen[name, "maxTimeMS" in command] += 1
        return None if "maxTimeMS" in command else failure(50, "operation exceeded time limit")

    async with MongoProxy(mongodb_url, limited) as proxy:
        loaded.command.job["source"] |= {"url": proxy.url, "watermark": "at", "filter": {"n": {"$gt": 0}}}
        run = "run --workers 1"
        for command in ("plan --full", run, run, "verify --full", "verify --sample 20", "redrive"):
            ended = await asyncio.to_thread(loaded.command.run, *command.split())
            assert ended.code in (0, 4 if command.startswith("plan") else 0), (command, ended.stderr)
            loaded.collection.update_one({"_id": 7}, {"$set": {"at": at + timedelta(days=1)}})
        loaded.command.job["source"].pop("filter")
        ended = await asyncio.to_thread(loaded.command.run, "verify", "--sample", "20")
        assert ended.code == 0, ended.stderr
        url = proxy.url.replace("/?", f"/{database}?")
        await look_at(url, None, "c")
    loaded.mongo.close()
    assert {name for name, said in seen if not said} == set()
    assert {name for name, _ in seen} >= {"find", "aggregate", "count"}


async def test_a_cursor_that_timed_out_is_opened_again_behind_the_last_id(mongodb_url, database):
    await fill(mongodb_url, database, DOCUMENTS)
    gone = Once("getMore", 4, failure(43, "cursor id 1 not found"))

    def tier(command):
        return NO_TIMEOUT if command.get("noCursorTimeout") else gone(command)

    async with MongoProxy(mongodb_url, tier) as proxy:
        source = await opened(proxy.url, database, batch_rows=100)
        try:
            assert await numbers(source) == list(range(COUNT))
        finally:
            await source.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bad auth : Authentication failed.", "correct the user, the password"),
        ("user is not allowed to do action [find] on [d.c]", "the user's roles"),
        ("you have exceeded your bandwidth quota", "tier and limits"),
        ("CMD_NOT_ALLOWED: find", "tier and limits"),
    ],
)
async def test_atlas_refuses_for_many_reasons(mongodb_url, database, text, said):
    await fill(mongodb_url, database, DOCUMENTS)
    async with MongoProxy(mongodb_url, Once("explain", 1, failure(8000, text))) as proxy:
        with pytest.raises((JobError, PermanentError), match=said):
            await opened(proxy.url, database)
    async with MongoProxy(mongodb_url, Once("getMore", 2, failure(8000, text))) as proxy:
        source = await opened(proxy.url, database, batch_rows=100)
        try:
            with pytest.raises(PermanentError, match=said):
                [batch async for batch in source.read(WHOLE, None)]
        finally:
            await source.close()
