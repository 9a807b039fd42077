"""Another server behind the same address, an older one, or the same one anew."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from connectors.postgres.section import PostgresSection
from connectors.postgres.source import PostgresSource, open_source
from engine.errors import PermanentError
from tests.support import own_postgres as own
from tests.support.cutting_proxy import CuttingProxy
from tests.support.pg import execute
from tests.support.postgres_moves import FILL, ROWS, TABLE, read_across

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]


@pytest.fixture
def server() -> Iterator[own.OwnPostgres]:
    with own.own_postgres(own.embedded_binaries(), "pgserver") as running:
        yield running


@asynccontextmanager
async def copied(server: own.OwnPostgres) -> AsyncIterator[own.OwnPostgres]:
    """A copy of a server as it is now, of the same identity, running beside it."""
    server.stop(signal.SIGINT)
    copy = server.copy()
    server.start()
    copy.start()
    try:
        yield copy
    finally:
        copy.stop(signal.SIGQUIT)
        shutil.rmtree(copy.folder, ignore_errors=True)


async def through(proxy: CuttingProxy, server: own.OwnPostgres) -> PostgresSource:
    url = server.url().replace(f":{server.port}/", f":{proxy.port}/") + "?sslmode=disable"
    return await open_source(
        PostgresSection(type="postgres", url=url, table="t", batch_rows=500), patience_s=20.0
    )


async def test_an_older_copy_behind_the_same_address_is_noticed(server: own.OwnPostgres) -> None:
    await execute(server.url(), *TABLE)
    async with copied(server) as copy:
        changes = ("UPDATE t SET v = 'new' || v", "DELETE FROM t WHERE id > 19000")
        await execute(server.url(), *changes, "CREATE TABLE more (id int)", "DROP TABLE more")
        async with CuttingProxy(server.port) as proxy:
            source = await through(proxy, server)
            standing = source.standing
            assert standing is not None

            async def cut() -> None:
                proxy.target = copy.port
                await proxy.cut_all()

            with pytest.raises(PermanentError, match="in an older state"):
                await read_across(source, cut)
            await source.close()
            restored = await through(proxy, server)
            for goes_on in (True, False):
                misfit = await restored.misfit(standing, goes_on=goes_on)
                assert misfit is not None
                assert "restored from a backup" in misfit
            await restored.close()
            for _ in range(3):  # its log goes past ours, its transactions don't
                await execute(copy.url(), "SELECT pg_switch_wal()", "CHECKPOINT")
            advanced = await through(proxy, server)
            misfit = await advanced.misfit(standing, goes_on=True)
            assert misfit is not None
            assert "in an older state" in misfit
            await advanced.close()


async def test_another_server_behind_the_same_address_is_noticed(server: own.OwnPostgres) -> None:
    await execute(server.url(), *TABLE)
    with own.own_postgres(own.embedded_binaries(), "pgserver") as other:
        await execute(other.url(), *TABLE)
        async with CuttingProxy(server.port) as proxy:
            source = await through(proxy, server)

            async def cut() -> None:
                proxy.target = other.port
                await proxy.cut_all()

            with pytest.raises(PermanentError, match="another server or database"):
                await read_across(source, cut)
            await source.close()


async def test_a_restart_passes(server: own.OwnPostgres) -> None:
    await execute(server.url(), *TABLE)
    async with CuttingProxy(server.port) as proxy:
        source = await through(proxy, server)

        async def cut() -> None:
            await asyncio.to_thread(server.restart, signal.SIGQUIT)

        assert await read_across(source, cut) == list(range(1, ROWS + 1))
        await source.close()


async def test_an_unlogged_table_that_a_crash_emptied_is_noticed(server: own.OwnPostgres) -> None:
    unlogged = TABLE[1].replace("CREATE TABLE", "CREATE UNLOGGED TABLE")
    await execute(server.url(), TABLE[0], unlogged, FILL)
    async with CuttingProxy(server.port) as proxy:
        source = await through(proxy, server)

        async def cut() -> None:
            await asyncio.to_thread(server.restart, signal.SIGQUIT)
            await execute(server.url(), FILL)

        with pytest.raises(PermanentError, match=r"public\.t was truncated"):
            await read_across(source, cut)
        await source.close()
