"""Cursors and snapshots that a server drops, servers that step down: nothing is lost, nothing read twice."""

import asyncio

import pytest
from pymongo import AsyncMongoClient

from bench import mongod
from tests.support.mongo_source import WHOLE, fill, kill_cursors, numbers, opened

pytestmark = pytest.mark.fault


async def test_a_dropped_snapshot_is_said_and_reading_goes_on(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": n, "n": n, "pad": "x" * 1000} for n in range(3000)])
    source = await opened(mongodb_url, database, batch_rows=100)
    async with AsyncMongoClient(mongodb_url) as client:
        history = {"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 0}
        await client.admin.command(history)
        try:
            found: list[int] = []
            async for batch in source.read(WHOLE, None):
                found += [int(wire["wire"][6:-2]) for wire in batch.rows.column("n").to_pylist()]
                if len(found) == 200:
                    source._reader.sessions._at = "1.1"  # a time that no server keeps
                    await kill_cursors(client)
            assert found == list(range(3000))
            assert any("newer one" in notice for notice in source.notices)
        finally:
            await client.admin.command(history | {"minSnapshotHistoryWindowInSeconds": 300})
            await source.close()


async def test_killed_cursors_and_sessions_lose_nothing(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": n, "n": n} for n in range(2000)])
    source = await opened(mongodb_url, database, batch_rows=100)
    try:
        found: list[int] = []
        async with AsyncMongoClient(mongodb_url) as client:
            async for batch in source.read(WHOLE, None):
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
                async for batch in source.read(WHOLE, None):
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
            assert await numbers(source) == list(range(100))
            assert any("no snapshot" in notice for notice in source.notices)
        finally:
            await source.close()


async def test_closing_ends_a_reading(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": n, "n": n} for n in range(2000)])
    source = await opened(mongodb_url, database, batch_rows=10)
    batches = source.read(WHOLE, None)
    await anext(batches)
    await batches.aclose()
    await source.close()
    assert not [task for task in asyncio.all_tasks() if "_following" in repr(task)]
