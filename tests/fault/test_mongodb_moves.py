"""A collection that is renamed, replaced or dropped while it is read: the run says so, and loses nothing."""

import asyncio
import json
from itertools import product

import pytest
from pymongo import MongoClient

from engine.errors import PermanentError
from tests.support.mongo_moves import MOVES, PASSING
from tests.support.mongo_proxy import MongoProxy, failure
from tests.support.mongo_source import WHOLE, fill, opened

pytestmark = pytest.mark.fault

COUNT = 3000
DOCUMENTS = [{"_id": n, "n": n} for n in range(COUNT)]
OLD = failure(40415, "BSON field 'find.collectionUUID' is an unknown field.")


def old_server(command):
    """Answer as a server that knows no `collectionUUID`."""
    return OLD if "collectionUUID" in command else None


def moved(url, database, move):
    with MongoClient(url) as client:
        move(client[database])
        client.admin.command("killAllSessions", [])


async def read(source, at, act):
    """Return the field n of all documents; `act` when `at` of them were read."""
    found: list[int] = []
    async for batch in source.read(WHOLE, None):
        found += [int(wire["wire"][6:-2]) for wire in batch.rows.column("n").to_pylist()]
        if len(found) == at:
            await act()
    return found


@pytest.mark.parametrize(
    ("server", "driver", "move"),
    [*product(["6.0", "older"], ["pymongo"], MOVES), ("6.0", "motor", "swapped")],
)
async def test_what_moved_ends_the_reading(mongodb_url, database, move, server, driver):
    await fill(mongodb_url, database, DOCUMENTS)
    async with MongoProxy(mongodb_url, old_server if server == "older" else lambda _: None) as proxy:
        # Motor closes in the loop's own thread, where it would wait for a proxy in the loop.
        url = proxy.url if driver == "pymongo" else mongodb_url
        source = await opened(url, database, batch_rows=100, driver=driver)
        try:
            assert json.loads(source.ticket.details)["pin"]["carried"] == (server != "older")

            async def act():
                await asyncio.to_thread(moved, mongodb_url, database, MOVES[move])

            with pytest.raises(PermanentError, match=rf"{database}\.c isn't what it was when the run began"):
                await read(source, 500, act)
        finally:
            await source.close()


@pytest.mark.parametrize("move", PASSING)
@pytest.mark.parametrize("server", ["6.0", "older"])
async def test_what_changes_nothing_passes(mongodb_url, database, move, server):
    await fill(mongodb_url, database, DOCUMENTS)
    async with MongoProxy(mongodb_url, old_server if server == "older" else lambda _: None) as proxy:
        source = await opened(proxy.url, database, batch_rows=100)
        try:

            async def act():
                await asyncio.to_thread(moved, mongodb_url, database, PASSING[move])

            assert await read(source, 500, act) == list(range(COUNT))
        finally:
            await source.close()


@pytest.mark.parametrize("server", ["6.0", "older"])
async def test_a_name_that_is_away_while_the_cursor_is_opened_again(mongodb_url, database, server):
    """The cursor dies, its name gives nothing, and then everything looks right again."""
    await fill(mongodb_url, database, DOCUMENTS)
    away = False

    def answer(command):
        nonlocal away
        if server == "older" and (refused := old_server(command)):
            return refused
        if away and "listCollections" in command and server == "older":
            away = False
            with MongoClient(mongodb_url) as client:
                client[database].c_old.rename("c")
        return None

    async with MongoProxy(mongodb_url, answer) as proxy:
        source = await opened(proxy.url, database, batch_rows=100)
        try:

            async def act():
                nonlocal away
                away = True
                await asyncio.to_thread(moved, mongodb_url, database, MOVES["renamed"])

            if server == "6.0":
                with pytest.raises(PermanentError, match="it is called c_old now"):
                    await read(source, 500, act)
            else:
                assert await read(source, 500, act) == list(range(COUNT))
        finally:
            await source.close()


def redefine(db):
    db.command("collMod", "v", viewOn="c", pipeline=[{"$match": {"n": {"$lt": 7}}}])


def swap_under(db):
    db.c.rename("c_old")
    db.c.insert_one({"_id": 1, "n": 1})


@pytest.mark.parametrize("move", [redefine, swap_under], ids=["redefined", "swapped under it"])
async def test_a_view_that_means_something_else_ends_the_reading(mongodb_url, database, move):
    await fill(mongodb_url, database, DOCUMENTS)
    with MongoClient(mongodb_url) as client:
        client[database].create_collection("w", viewOn="c", pipeline=[])
        client[database].create_collection("v", viewOn="w", pipeline=[{"$match": {"n": {"$gte": 0}}}])
    source = await opened(mongodb_url, database, collection="v", batch_rows=100)
    try:

        async def act():
            await asyncio.to_thread(moved, mongodb_url, database, move)

        with pytest.raises(PermanentError, match=r"\.v isn't what it was when the run began"):
            await read(source, 500, act)
    finally:
        await source.close()
