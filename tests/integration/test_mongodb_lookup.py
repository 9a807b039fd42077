"""Documents drawn at random and looked up by key: verify and redrive rest on both."""

from collections import Counter
from itertools import count
from typing import Any

import bson
import pytest
from bson import DatetimeMS, ObjectId
from pymongo import AsyncMongoClient

from connectors.mongodb import draw
from engine.batch import Cursor
from tests.support.mongo_source import HOSTILE_IDS, fill, kill_cursors, of_eight_types, opened

LOOKED_AT_ALL, COUNTED_OFF = 10**9, 0
"""Settings of draw.STREAMED_DOCUMENTS: below the first every collection is small, above the second large."""


async def found(source: Any, keys: Any) -> list[int]:
    """Return the field n of every document that has one of some keys."""
    numbers: list[int] = []
    async for batch in source.rows_by_key(keys):
        numbers += [int(wire["wire"][6:-2]) for wire in batch.rows.column("n").to_pylist()]
    return numbers


@pytest.fixture(params=[LOOKED_AT_ALL, COUNTED_OFF], ids=["looked at all", "counted off"])
def way(request, monkeypatch):
    monkeypatch.setattr(draw, "STREAMED_DOCUMENTS", request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("driver", ["pymongo", "motor"])
async def test_a_seed_draws_the_same_documents_from_all_over(mongodb_url, database, driver):
    ids = [ObjectId(n.to_bytes(12, "big")) for n in range(5_000)]
    await fill(mongodb_url, database, [{"_id": value, "n": n} for n, value in enumerate(ids)])
    drawn = []
    for seed in (7, 7, 8):
        source = await opened(mongodb_url, database, driver=driver)
        try:
            drawn.append(await source.abilities.lookup.sample_keys(500, seed))
            numbers = await found(source, drawn[-1])
        finally:
            await source.close()
        assert len(set(numbers)) == len(numbers) == 500
        parts = Counter(n // 1_000 for n in numbers)
        assert len(parts) == 5
        assert min(parts.values()) >= 60, "of every part of the collection about as many"
    assert drawn[0] == drawn[1]
    assert len({*drawn[0]} & {*drawn[2]}) < 120


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("share", "wanted"), [(2, 300), (100, 50)])
async def test_only_what_the_filter_lets_pass_is_drawn(mongodb_url, database, share, wanted):
    await fill(mongodb_url, database, [{"_id": n, "n": n} for n in range(6_000)])
    source = await opened(mongodb_url, database, filter={"n": {"$mod": [share, 0]}})
    try:
        keys = await source.sample_keys(wanted, 1)
        numbers = await found(source, keys)
        assert len(numbers) == len(keys) == wanted
        assert all(n % share == 0 for n in numbers)
        assert min(numbers) < 1_000
        assert max(numbers) >= 5_000
        assert keys == await source.sample_keys(wanted, 1)
        assert await found(source, [Cursor(("1",)), Cursor((str(share),))]) == [share]
    finally:
        await source.close()


@pytest.mark.usefixtures("way")
async def test_a_sample_larger_than_the_collection_is_all_of_it(mongodb_url, database):
    ids = HOSTILE_IDS + of_eight_types(20)
    await fill(mongodb_url, database, [{"_id": value, "n": n} for n, value in enumerate(ids)])
    source = await opened(mongodb_url, database)
    try:
        keys = await source.sample_keys(1_000, 3)
        assert len(set(keys)) == len(ids)
        assert sorted(await found(source, keys)) == list(range(len(ids)))
        by_one = [await found(source, [key]) for key in keys]
        assert [len(numbers) for numbers in by_one] == [1] * len(ids), "each key is of one document"
    finally:
        await source.close()


@pytest.mark.parametrize(
    "kind", range(8), ids=["int", "text", "ObjectId", "UUID", "document", "date", "timestamp", "decimal"]
)
async def test_what_a_batch_names_leads_back_to_its_document(mongodb_url, database, kind):
    ids = of_eight_types(50)[kind::8]
    await fill(mongodb_url, database, [{"_id": value, "n": n} for n, value in enumerate(ids)])
    source = await opened(mongodb_url, database)
    try:
        (name,) = source.ticket.schema.key
        keys = [Cursor((text,)) for text in await column(source, name)]
        assert [await found(source, [key]) for key in keys] == [[n] for n in await order(source)]
    finally:
        await source.close()


async def column(source: Any, name: str) -> list[str]:
    (segment,) = await source.segments(1)
    return [
        text async for batch in source.read(segment, None) for text in batch.rows.column(name).to_pylist()
    ]


async def order(source: Any) -> list[int]:
    (segment,) = await source.segments(1)
    return [
        int(wire["wire"][6:-2])
        async for batch in source.read(segment, None)
        for wire in batch.rows.column("n").to_pylist()
    ]


async def test_numbers_of_one_value_and_of_one_text(mongodb_url, database):
    ids = [5, 0.1, bson.Decimal128("0.25"), 1.2345678901234567e18, 2**53 + 1, 1e300]
    await fill(mongodb_url, database, [{"_id": value, "n": n} for n, value in enumerate(ids)])
    source = await opened(mongodb_url, database)
    try:
        (name,) = source.ticket.schema.key
        for text, n in zip(await column(source, name), await order(source), strict=True):
            assert await found(source, [Cursor((text,))]) == [n], text
        assert await found(source, [Cursor(("5.0",)), Cursor(("1234567890123456768",))]) == []
    finally:
        await source.close()


async def test_keys_without_a_document_give_none(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": ObjectId(n.to_bytes(12, "big")), "n": n} for n in range(5)])
    source = await opened(mongodb_url, database)
    try:
        texts = ["0" * 23 + "3", "f" * 24, "3", "no id", "", "0" * 23 + "3"]
        assert await found(source, [Cursor((text,)) for text in texts]) == [3]
        assert await found(source, []) == []
    finally:
        await source.close()


async def test_keys_that_no_single_command_could_carry(mongodb_url, database):
    ids = [f"{n:04d}" + "x" * 100_000 for n in range(300)]
    for start in range(0, len(ids), 100):
        documents = [{"_id": value, "n": start + n} for n, value in enumerate(ids[start : start + 100])]
        if start:
            async with AsyncMongoClient(mongodb_url) as client:
                await client[database].c.insert_many(documents)
        else:
            await fill(mongodb_url, database, documents)
    source = await opened(mongodb_url, database)
    try:
        numbers = await found(source, [Cursor((text,)) for text in ids])
        assert sorted(numbers) == list(range(300))
    finally:
        await source.close()


async def test_it_is_the_runs_snapshot_that_is_looked_into(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": n, "n": n} for n in range(100)])
    source = await opened(mongodb_url, database)
    try:
        async with AsyncMongoClient(mongodb_url) as client:
            await client[database].c.delete_many({"_id": {"$lt": 50}})
            await client[database].c.insert_one({"_id": 1_000, "n": 1_000})
        assert sorted(await found(source, await source.sample_keys(500, 1))) == list(range(100))
        assert await found(source, [Cursor(("1000",))]) == []
    finally:
        await source.close()


async def test_a_dropped_snapshot_and_killed_cursors_are_mended(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": n, "n": n} for n in range(3_000)])
    source = await opened(mongodb_url, database)
    async with AsyncMongoClient(mongodb_url) as client:
        try:
            numbers: list[int] = []
            turns = count()
            async for batch in source.rows_by_key([Cursor((str(n),)) for n in range(3_000)]):
                numbers += [int(text) for text in batch.rows.column("_id").to_pylist()]
                if next(turns) == 0:
                    source._reader.sessions._at = "1.1"  # a time that no server keeps
                    await kill_cursors(client)
            assert sorted(numbers) == list(range(3_000))
            assert any("newer one" in notice for notice in source.notices)
        finally:
            await source.close()


async def test_far_dates_are_looked_up_too(mongodb_url, database):
    ids = [DatetimeMS(value) for value in (2**62, -(2**62), 253402300800000, -62135596800001, 0, 1)]
    await fill(mongodb_url, database, [{"_id": value, "n": n} for n, value in enumerate(ids)])
    source = await opened(mongodb_url, database)
    try:
        for text, n in zip(await column(source, "_id"), await order(source), strict=True):
            assert await found(source, [Cursor((text,))]) == [n], text
    finally:
        await source.close()


async def test_a_view_has_no_keys_to_look_up(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": 1, "n": 1}])
    async with AsyncMongoClient(mongodb_url) as client:
        await client[database].create_collection("v", viewOn="c", pipeline=[])
    source = await opened(mongodb_url, database, collection="v")
    try:
        assert source.ticket.schema.key == ()
    finally:
        await source.close()
