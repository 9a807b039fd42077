"""Connections that are cut, servers that go away: no row is lost, none is read twice."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from connectors.postgres.section import PostgresSection
from connectors.postgres.source import PostgresSource, open_source
from engine.batch import Segment
from engine.errors import PermanentError, RetriesExhausted
from tests.support.cutting_proxy import CuttingProxy
from tests.support.pg import execute

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

ROWS = 20_000
TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, v text)",
    f"INSERT INTO t SELECT n, repeat('x', 50) FROM generate_series(1, {ROWS}) AS n",
)
WHOLE = Segment(0, None, None, None)


@asynccontextmanager
async def behind_proxy(
    url: str, patience_s: float = 20.0, **section: Any
) -> AsyncIterator[tuple[PostgresSource, CuttingProxy]]:
    parts = urlsplit(url)
    local = Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"
    async with CuttingProxy(local) as proxy:
        address = f"postgresql://postgres@127.0.0.1:{proxy.port}{parts.path}?sslmode=disable"
        job = PostgresSection(type="postgres", url=address, table="t", batch_rows=500, **section)
        source = await open_source(job, patience_s=patience_s)
        try:
            yield source, proxy
        finally:
            await source.close()


async def ids(source: PostgresSource) -> list[int]:
    found: list[int] = []
    sequences = []
    async for batch in source.read(WHOLE, None):
        sequences.append(batch.sequence)
        found.extend(int(value) for value in batch.rows.column("id").to_pylist())
    assert sequences == list(range(len(sequences)))
    return found


@pytest.mark.parametrize("cut_after", [0, 5_000, 300_000])
async def test_a_connection_cut_in_the_middle_loses_and_repeats_nothing(
    postgres_url: str, cut_after: int
) -> None:
    await execute(postgres_url, *TABLE)
    async with behind_proxy(postgres_url) as (source, proxy):
        proxy.cut_after, proxy.cuts = cut_after, 3
        assert await ids(source) == list(range(1, ROWS + 1))
        assert proxy.cut_count == 3


async def test_keys_that_repeat_survive_a_cut_too(postgres_url: str) -> None:
    await execute(postgres_url, *TABLE, "ALTER TABLE t ADD g int", "UPDATE t SET g = id / 40")
    async with behind_proxy(postgres_url, key=["g"]) as (source, proxy):
        proxy.cut_after, proxy.cuts = 400_000, 3
        assert sorted(await ids(source)) == list(range(1, ROWS + 1))
        assert proxy.cut_count == 3


async def test_a_backend_that_an_administrator_ends_is_replaced(postgres_url: str) -> None:
    await execute(postgres_url, *TABLE)
    source = await open_source(PostgresSection(type="postgres", url=postgres_url, table="t", batch_rows=500))
    reading = source.read(WHOLE, None)
    found = [int(v) for v in (await anext(reading)).rows.column("id").to_pylist()]
    # All of them, the one that keeps the snapshot too.
    await execute(
        postgres_url,
        "UPDATE t SET v = 'new' WHERE id > 10000",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'backfill'"
        " AND datname = current_database()",
    )
    async for batch in reading:
        found.extend(int(value) for value in batch.rows.column("id").to_pylist())
    assert found == list(range(1, ROWS + 1))
    assert any("snapshot is gone" in notice for notice in source.notices)
    await source.close()


async def test_a_table_without_a_key_is_not_read_on_from_the_middle(postgres_url: str) -> None:
    await execute(postgres_url, *TABLE, "ALTER TABLE t DROP CONSTRAINT t_pkey")
    async with behind_proxy(postgres_url) as (source, proxy):
        proxy.cut_after, proxy.cuts = 300_000, 1
        with pytest.raises(PermanentError, match=r"source\.key"):
            await ids(source)


async def test_a_server_that_stays_away_ends_the_patience(postgres_url: str) -> None:
    await execute(postgres_url, *TABLE)
    async with behind_proxy(postgres_url, patience_s=0.5) as (source, proxy):
        proxy.refusing = True
        with pytest.raises(RetriesExhausted, match="gave up"):
            await ids(source)


async def test_a_refusal_on_the_way_back_is_no_wait(postgres_url: str) -> None:
    await execute(postgres_url, *TABLE)
    section = PostgresSection(type="postgres", url=postgres_url, table="t", batch_rows=500)
    parent = await open_source(section)
    worker = await open_source(section, ticket=parent.ticket)
    await parent.close()
    await execute(postgres_url, "DROP TABLE t")
    with pytest.raises(PermanentError, match="there is no table t"):
        await ids(worker)
    await worker.close()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t ALTER v TYPE jsonb USING '{}'",
        "ALTER TABLE t RENAME TO old; CREATE TABLE t (LIKE old INCLUDING ALL)",
        "INSERT INTO t VALUES (0, 'x', '{{1}}')",
    ],
)
async def test_a_table_that_changed_is_not_read_on_as_what_it_was(postgres_url: str, change: str) -> None:
    await execute(postgres_url, *TABLE, "ALTER TABLE t ADD l int[]")
    section = PostgresSection(type="postgres", url=postgres_url, table="t", batch_rows=500)
    parent = await open_source(section)
    worker = await open_source(section, ticket=parent.ticket)
    await parent.close()
    await execute(postgres_url, change)
    with pytest.raises(PermanentError, match="no longer the table that the run began with"):
        await ids(worker)
    await worker.close()


async def test_cancelling_a_reader_is_never_swallowed(postgres_url: str) -> None:
    await execute(postgres_url, *TABLE)
    source = await open_source(PostgresSection(type="postgres", url=postgres_url, table="t", batch_rows=10))
    started = asyncio.Event()

    async def slowly() -> None:
        async for _ in source.read(WHOLE, None):
            started.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(slowly())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await source.close()
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetchval("SELECT count(*) FROM t") == ROWS
    await connection.close()


async def test_a_server_that_is_gone_without_a_word_is_noticed_by_the_kernel(postgres_url: str) -> None:
    await execute(postgres_url, *TABLE)
    async with behind_proxy(postgres_url) as (source, _):
        keeper = source._opened.keeper
        assert keeper is not None
        sock = keeper._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), "a wait for rows would never end"
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 6
        unacked_ms = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert unacked_ms == 120_000, "a network lost in the moment of a question would hang for 15 minutes"
