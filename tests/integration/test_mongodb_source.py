"""A collection read in ranges of `_id`: all of it, of every type, once, whatever is stopped and resumed."""

import asyncio
from collections import Counter
from typing import Any

import bson
import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from pymongo import AsyncMongoClient

from bench import mongod
from connectors.mongodb import open_source
from engine.batch import Cursor, Segment
from engine.errors import BackfillError, JobError, PermanentError, TransientError
from engine.job.model import Job
from engine.rules.fields import wanted_fields


def job(url: str, database: str, **changes: Any) -> Job:
    source = {"type": "mongodb", "url": url, "database": database, "collection": "c"} | changes
    return Job.model_validate(
        {
            "name": "test",
            "source": source,
            "target": {"type": "dynamodb", "table": "items"},
            "items": [{"name": "Doc", "key": {"PK": "D#{_id}"}, "attributes": {"n": "{n}"}}],
        }
    )


async def opened(url: str, database: str, *, since: str | None = None, **changes: Any) -> Any:
    the_job = job(url, database, **changes)
    return await open_source(the_job.source, wanted_fields(the_job), since=since, patience_s=20)


async def fill(url: str, database: str, documents: list[Any], **options: Any) -> None:
    async with AsyncMongoClient(url) as client:
        await client[database].create_collection("c", **options)
        if documents:
            await client[database].c.insert_many(documents, ordered=False)


async def numbers(source: Any, segment: Segment, after: Cursor | None = None, stop: int = 10**9) -> list[int]:
    """Return the field n of every document of a segment, until `stop` of them were read."""
    found: list[int] = []
    batches = source.read(segment, after)
    async for batch in batches:
        found += [int(wire["wire"][6:-2]) for wire in batch.rows.column("n").to_pylist()]
        numbers.end = batch.end  # type: ignore[attr-defined]
        if len(found) >= stop:
            break
    await batches.aclose()
    return found


def of_eight_types(count: int) -> list[Any]:
    """Return ids of eight types, in no order."""
    ids: list[Any] = []
    for number in range(1, count + 1):
        ids += [
            number,
            f"text {number}",
            ObjectId(number.to_bytes(12, "big")),
            Binary(number.to_bytes(16, "big"), 4),
            {"a": number, "b": {"c": f"{number}"}},
            DatetimeMS(number * 1000),
            Timestamp(number + 1, 1),
            Decimal128(f"{number}.5"),
        ]
    return ids


HOSTILE_IDS: list[Any] = [
    *(MinKey(), MaxKey(), None, True, False, float("nan"), float("-inf"), -0.0, Int64(2**62), 1e300),
    *(
        Decimal128("1E+6000"),
        "",
        "\x00",
        "ü😀",
        b"",
        Binary(b"x", 128),
        Binary(b"x", 2),
    ),
    *({}, {"b": 1, "a": 2}, {"a": 2, "b": 1}, DatetimeMS(2**62), DatetimeMS(-(2**62)), bson.Code("f")),
]


@pytest.mark.parametrize("driver", ["pymongo", "motor"])
async def test_segments_cover_ids_of_every_type_evenly(mongodb_url, database, driver):
    ids = of_eight_types(2_500) + HOSTILE_IDS
    await fill(mongodb_url, database, [{"_id": value, "n": n} for n, value in enumerate(ids)])
    source = await opened(mongodb_url, database, driver=driver)
    try:
        segments = await source.segments(16)
        assert len(segments) == 16
        assert segments[0].after is None
        assert segments[-1].until is None
        parts = [await numbers(source, segment) for segment in segments]
        assert Counter(n for part in parts for n in part) == Counter(range(len(ids))), "all, and once"
        assert max(map(len, parts)) <= 1.5 * len(ids) / len(parts)
        assert source.ticket.schema.identities == (frozenset({"_id"}),)
        assert await source.rows_expected() == len(ids)
    finally:
        await source.close()


async def test_reading_goes_on_behind_any_id(mongodb_url, database):
    ids = HOSTILE_IDS + of_eight_types(3)
    await fill(mongodb_url, database, [{"_id": value, "n": n} for n, value in enumerate(ids)])
    source = await opened(mongodb_url, database, batch_rows=1)
    try:
        whole = Segment(0, None, None, None)
        everything = await numbers(source, whole)
        assert sorted(everything) == list(range(len(ids)))
        for stop in range(1, len(ids) + 1):
            before = await numbers(source, whole, None, stop)
            end = numbers.end
            after = await numbers(source, whole, end)
            assert before + after == everything, f"resumed behind {end}"
    finally:
        await source.close()


@pytest.mark.parametrize("count", [0, 1, 5])
async def test_small_collections(mongodb_url, database, count):
    await fill(mongodb_url, database, [{"n": n} for n in range(count)])
    source = await opened(mongodb_url, database)
    try:
        segments = await source.segments(8)
        found = [n for segment in segments for n in await numbers(source, segment)]
        assert sorted(found) == list(range(count))
    finally:
        await source.close()


@pytest.mark.parametrize("kind", ["capped", "clustered", "view", "time series"])
async def test_collections_of_other_kinds(mongodb_url, database, kind):
    documents: list[Any] = [{"n": n, "t": DatetimeMS(n)} for n in range(300)]
    options: dict[str, Any] = {
        "capped": {"capped": True, "size": 1_000_000},
        "clustered": {"clusteredIndex": {"key": {"_id": 1}, "unique": True}},
        "time series": {"timeseries": {"timeField": "t"}},
    }.get(kind, {})
    await fill(mongodb_url, database, documents, **options)
    changes: dict[str, Any] = {}
    if kind == "view":
        async with AsyncMongoClient(mongodb_url) as client:
            await client[database].create_collection(
                "v", viewOn="c", pipeline=[{"$match": {"n": {"$gte": 100}}}]
            )
        changes["collection"] = "v"
    source = await opened(mongodb_url, database, **changes)
    try:
        segments = await source.segments(4)
        found = [n for segment in segments for n in await numbers(source, segment)]
        assert sorted(found) == list(range(100 if kind == "view" else 0, 300))
        unsegmented = kind in ("view", "time series")
        assert len(segments) == (1 if unsegmented else 4)
        assert any("one segment" in notice for notice in source.notices) == unsegmented
        assert any("no snapshot" in notice for notice in source.notices) == (kind == "capped")
    finally:
        await source.close()


async def test_texts_that_the_collection_orders_by_its_own_rules(mongodb_url, database):
    ids = [f"{letter}{number}" for number in range(40) for letter in ("a", "B", "ä", "Z", "é", "_", "")]
    await fill(
        mongodb_url,
        database,
        [{"_id": value, "n": n} for n, value in enumerate(ids)],
        collation={"locale": "de", "strength": 2, "numericOrdering": True},
    )
    source = await opened(mongodb_url, database, batch_rows=7)
    try:
        parts = [await numbers(source, segment) for segment in await source.segments(5)]
        assert sorted(n for part in parts for n in part) == list(range(len(ids)))
        assert len(parts) == 5
        whole = Segment(0, None, None, None)
        everything = await numbers(source, whole)
        for stop in (1, 50, 200):
            before = await numbers(source, whole, None, stop)
            assert before + await numbers(source, whole, numbers.end) == everything
    finally:
        await source.close()


async def test_filter_and_projection(mongodb_url, database):
    await fill(mongodb_url, database, [{"n": n, "d": DatetimeMS(n * 1000), "x": 1} for n in range(1000)])
    source = await opened(
        mongodb_url,
        database,
        filter={"d": {"$gte": {"$date": "1970-01-01T00:10:00Z"}}, "n": {"$mod": [2, 0]}},
        projection={"n": 1},
    )
    try:
        segments = await source.segments(4)
        parts = [await numbers(source, segment) for segment in segments]
        assert sorted(n for part in parts for n in part) == list(range(600, 1000, 2))
        assert max(map(len, parts)) <= 75, "even by what is read, not by what is there"
        assert await source.rows_expected() is None
    finally:
        await source.close()


async def test_one_snapshot_for_all_processes(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": n, "n": n} for n in range(100)])
    first = await opened(mongodb_url, database, segments=2)
    the_job = job(mongodb_url, database)
    try:
        async with AsyncMongoClient(mongodb_url) as client:
            await client[database].c.delete_many({"_id": {"$lt": 50}})
            await client[database].c.insert_one({"_id": 1000, "n": 1000})
        second = await open_source(the_job.source, wanted_fields(the_job), ticket=first.ticket)
        try:
            for source in (first, second):
                assert await numbers(source, Segment(0, None, None, None)) == list(range(100))
        finally:
            await second.close()
    finally:
        await first.close()


async def test_a_dropped_snapshot_is_said_and_reading_goes_on(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": n, "n": n, "pad": "x" * 1000} for n in range(3000)])
    source = await opened(mongodb_url, database, batch_rows=100)
    async with AsyncMongoClient(mongodb_url) as client:
        history = {"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 0}
        await client.admin.command(history)
        try:
            found: list[int] = []
            async for batch in source.read(Segment(0, None, None, None), None):
                found += [int(wire["wire"][6:-2]) for wire in batch.rows.column("n").to_pylist()]
                if len(found) == 200:
                    source._sessions._at = "1.1"  # a time that no server keeps
                    await kill_cursors(client)
            assert found == list(range(3000))
            assert any("newer one" in notice for notice in source.notices)
        finally:
            await client.admin.command(history | {"minSnapshotHistoryWindowInSeconds": 300})
            await source.close()


async def kill_cursors(client: Any) -> None:
    await client.admin.command("killAllSessions", [])


async def test_killed_cursors_and_sessions_lose_nothing(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": n, "n": n} for n in range(2000)])
    source = await opened(mongodb_url, database, batch_rows=100)
    try:
        found: list[int] = []
        async with AsyncMongoClient(mongodb_url) as client:
            async for batch in source.read(Segment(0, None, None, None), None):
                found += [int(wire["wire"][6:-2]) for wire in batch.rows.column("n").to_pylist()]
                if len(found) % 500 == 0:
                    await kill_cursors(client)
        assert found == list(range(2000))
        assert [notice for notice in source.notices if "was lost" in notice], "said once, in the report"
    finally:
        await source.close()


async def test_a_step_down_loses_nothing(tmp_path, database):
    with mongod.mongod(tmp_path / "data") as url:
        await fill(url, database, [{"_id": n, "n": n} for n in range(2000)])
        source = await opened(url, database, batch_rows=100)
        try:
            found: list[int] = []
            async with AsyncMongoClient(url) as client:
                async for batch in source.read(Segment(0, None, None, None), None):
                    found += [int(wire["wire"][6:-2]) for wire in batch.rows.column("n").to_pylist()]
                    if len(found) == 500:
                        await client.admin.command("replSetStepDown", 1, force=True)
                        await kill_cursors(client)
            assert found == list(range(2000))
        finally:
            await source.close()


async def test_a_server_without_replication_is_read_and_said(tmp_path, database):
    with mongod.mongod(tmp_path / "data", "--quiet") as url:
        await fill(url, database, [{"_id": n, "n": n} for n in range(100)])
        source = await opened(url, database)
        try:
            assert await numbers(source, Segment(0, None, None, None)) == list(range(100))
            assert any("no snapshot" in notice for notice in source.notices)
        finally:
            await source.close()


async def test_catch_up_reads_what_may_have_changed(mongodb_url, database):
    old, new = DatetimeMS(1_600_000_000_000), DatetimeMS(1_700_000_000_000)
    values = [old, new, None, "2020-01-01", Timestamp(1, 1), 5]
    documents = [{"n": n, "at": value} for n, value in enumerate(values)] + [{"n": len(values)}]
    await fill(mongodb_url, database, documents)
    source = await opened(mongodb_url, database, since="2022-01-01T00:00:00Z", watermark="at")
    try:
        found = await numbers(source, Segment(0, None, None, None))
        assert sorted(found) == list(range(1, len(documents))), "all but the one that is surely older"
        moment = source.watermark
        assert moment is not None
        assert moment > "2020"
    finally:
        await source.close()


async def test_ids_of_one_type_are_proved_and_guarded(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": ObjectId(n.to_bytes(12, "big")), "n": n} for n in range(10)])
    source = await opened(mongodb_url, database)
    try:
        assert source.ticket.schema.columns[0].kind.value == "string"
        async with AsyncMongoClient(mongodb_url) as client:
            await client[database].c.insert_one({"_id": "0" * 24, "n": 99})
        source._sessions._at = None  # as after a resume: what is read is newer than what was proved
        with pytest.raises(PermanentError, match="another type"):
            await numbers(source, Segment(0, None, None, None))
    finally:
        await source.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"collection": "d"},
            "source.collection: the database .* has no collection 'd'; did you mean|there are c",
        ),
        ({"filter": {"$where_": 1}}, "source.filter: unknown top level operator"),
        ({"filter": {"n": {"$gtx": 1}}}, r"source.filter: unknown operator: \$gtx"),
        ({"filter": {"_id": {"$oid": "xyz"}}}, "source.filter: .*'xyz' is not a valid ObjectId"),
        ({"projection": {"n": 1, "m": 0}}, "source.projection: Cannot do exclusion"),
        (
            {"url": "mongodb://127.0.0.1:1/?x=y&directConnection=perhaps"},
            "source.url: not a usable MongoDB URL",
        ),
    ],
)
async def test_what_does_not_fit_is_one_sentence(mongodb_url, database, changes, said):
    await fill(mongodb_url, database, [{"n": 1}])
    with pytest.raises(JobError, match=said) as caught:
        await opened(changes.pop("url", mongodb_url), database, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*<socket:pytest.PytestUnraisableExceptionWarning")
async def test_an_unreachable_server_is_a_passing_fault(database, monkeypatch):
    monkeypatch.setattr("connectors.mongodb.session.SELECTION_TIMEOUT_MS", 300)
    with pytest.raises(
        TransientError, match=r"source.url: no MongoDB server answers at 127.0.0.1:1;"
    ) as caught:
        await opened("mongodb://user:sesame@127.0.0.1:1/", database)
    assert "sesame" not in str(caught.value)


# PyMongo leaves the socket of a refused login to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*<socket:pytest.PytestUnraisableExceptionWarning")
async def test_a_wrong_password_is_the_jobs_fault(tmp_path, database):
    with mongod.mongod(tmp_path / "data", "--auth") as url:
        async with AsyncMongoClient(url) as client:
            await client.admin.command("createUser", "reader", pwd="right", roles=["readAnyDatabase"])
        host = url.removeprefix("mongodb://")
        with pytest.raises(
            JobError, match=r"source.url: MongoDB at .* refused: Authentication failed"
        ) as caught:
            await opened(f"mongodb://reader:sesame@{host}", database)
        assert "sesame" not in str(caught.value)
        with pytest.raises(JobError, match=r"source.url: MongoDB at .* refused"):
            await opened(url, database)
        with pytest.raises(BackfillError, match="has no collection"):
            await opened(f"mongodb://reader:right@{host}", database)


async def test_closing_ends_a_reading(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": n, "n": n} for n in range(2000)])
    source = await opened(mongodb_url, database, batch_rows=10)
    batches = source.read(Segment(0, None, None, None), None)
    await anext(batches)
    await batches.aclose()
    await source.close()
    assert not [task for task in asyncio.all_tasks() if "_following" in repr(task)]
