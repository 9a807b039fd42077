"""Another server, or an older state, behind the same address: said while a run reads, and between runs."""

import asyncio

import pytest
from pymongo import MongoClient

from engine.errors import PermanentError
from tests.support.mongo_source import WHOLE, opened
from tests.support.own_mongo import OwnMongo

pytestmark = pytest.mark.fault

COUNT = 2000


@pytest.fixture(params=["replica set", "standalone"])
def own(request, tmp_path):
    server = OwnMongo(tmp_path, replica_set=request.param == "replica set")
    server.start()
    write(server, 0, COUNT)
    yield server
    server.stop()


def write(server, first, last):
    with MongoClient(server.url) as client:
        client.d.c.insert_many([{"_id": n, "n": n} for n in range(first, last)])


async def read(source, act):
    """Return the field n of all documents; `act` in a thread when a quarter of them was read."""
    found = []
    async for batch in source.read(WHOLE, None):
        found += [int(wire["wire"][6:-2]) for wire in batch.rows.column("n").to_pylist()]
        if len(found) == COUNT // 4:
            await asyncio.to_thread(act)
    return found


async def test_a_restart_passes(own):
    source = await opened(own.url, "d", batch_rows=100)
    standing = source.standing
    try:
        assert await read(source, own.restart) == list(range(COUNT))
        assert await source.misfit(standing, goes_on=True) is None
    finally:
        await source.close()


async def assert_noticed(own, source, act, said):
    """Have another server take the place of the one that is read: said at once, and at a resume."""
    standing = source.standing
    try:
        with pytest.raises(PermanentError, match=said):
            await read(source, act)
    finally:
        await source.close()
    again = await opened(own.url, "d")
    try:
        assert "is another one" in await again.misfit(standing, goes_on=True)
    finally:
        await again.close()


async def test_another_server_is_noticed(own):
    def other():
        own.replace()
        write(own, 0, COUNT)

    source = await opened(own.url, "d", batch_rows=100)
    await assert_noticed(own, source, other, r"isn't (what|the one) .*the run began")


async def test_an_older_state_of_the_same_server_is_noticed(own):
    backup = own.back_up()
    write(own, COUNT, 2 * COUNT)
    own.restart()

    def older():
        own.restore(backup)
        write(own, 5 * COUNT, 5 * COUNT + 10)

    # A driver that looks for the primary by itself never takes one of an election that is over.
    source = await opened(own.direct_url, "d", batch_rows=100)
    await assert_noticed(own, source, older, r"isn't the one .* began with: it (lacks|has never)")
