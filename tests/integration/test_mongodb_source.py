"""A collection read in ranges of `_id`: all of it, of every type, once, whatever is stopped and resumed."""

from collections import Counter
from typing import Any

import pytest
from bson import DatetimeMS, Timestamp
from pymongo import AsyncMongoClient

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.mongodb import opening
from connectors.mongodb.snapshot import GOES_ON, SAME_VIEW
from connectors.mongodb.source import open_source
from engine.batch import Segment
from engine.rules.fields import wanted_fields
from tests.support.mongo_source import HOSTILE_IDS, fill, job, numbers, of_eight_types, opened


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


async def test_reading_goes_on_from_inside_a_batch(mongodb_url, database):
    ids = HOSTILE_IDS + of_eight_types(3)
    await fill(mongodb_url, database, [{"_id": value, "n": n} for n, value in enumerate(ids)])
    source = await opened(mongodb_url, database)
    try:
        everything = await numbers(source)
        at = 0
        async for batch in source.read(Segment(0, None, None, None), None):
            assert batch.cuts.before(0) is None
            for row in range(1, batch.rows.num_rows):
                place, cursor = batch.cuts.before(row)
                assert place == row
                assert await numbers(source, after=cursor) == everything[at + row :], cursor
            at += batch.rows.num_rows
        assert at == len(ids)
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
        second = await open_source(
            the_job.source, wanted_fields(the_job), ticket=first.ticket, codec=DOCUMENTS
        )
        try:
            for source in (first, second):
                assert await numbers(source, Segment(0, None, None, None)) == list(range(100))
        finally:
            await second.close()
    finally:
        await first.close()


async def test_a_run_that_goes_on_reads_at_the_time_at_which_it_has_read_while_that_is_kept(
    mongodb_url, database, monkeypatch
):
    await fill(mongodb_url, database, [{"_id": n, "n": n} for n in range(100)])
    the_job = job(mongodb_url, database)

    async def again(*views):
        return await open_source(the_job.source, wanted_fields(the_job), codec=DOCUMENTS, views=views)

    first = await opened(mongodb_url, database)
    at, standing = first.abilities.view, first.standing
    assert (first.abilities.same_view, first.abilities.hold_view) == (False, None)
    await first.close()
    async with AsyncMongoClient(mongodb_url) as client:
        await client[database].c.delete_many({"_id": {"$lt": 50}})
        await client[database].c.insert_one({"_id": 1000, "n": 1000})
    second = await again("of another version", at)
    try:
        assert second.abilities.same_view
        assert await second.misfit(standing, goes_on=True) is None
        assert (SAME_VIEW in second.notices, GOES_ON in second.notices) == (True, False)
        assert await numbers(second, Segment(0, None, None, None)) == list(range(100))
    finally:
        await second.close()
    for share, same in ((0.5, True), (0.0, False)):
        monkeypatch.setattr(opening, "FRESH_SHARE", share)
        other = await again(at)
        assert other.abilities.same_view == same, "what is soon lost isn't gone on with"
        await other.close()
    monkeypatch.setattr(opening, "FRESH_SHARE", 1e9)
    third = await again("1.1", "4000000000.1")  # no server keeps the one, none has reached the other
    try:
        assert not third.abilities.same_view
        assert await third.misfit(standing, goes_on=True) is None
        assert GOES_ON in third.notices
        assert len(await numbers(third, Segment(0, None, None, None))) == 51
    finally:
        await third.close()


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
