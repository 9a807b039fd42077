"""Reloads that are open, locks that nobody gives, snapshots that are gone: whole, or said who holds them."""

import asyncio
from typing import Any

import asyncpg
import pytest

from connectors.postgres import waits
from connectors.postgres.section import PostgresSection
from connectors.postgres.settings import SETTINGS
from connectors.postgres.source import open_source
from connectors.postgres.starter import look_at
from engine.batch import Cursor, Segment
from engine.errors import PermanentError
from tests.support.pg import execute
from tests.support.postgres_moves import (
    BY_QUERY,
    BY_VIEW,
    CHILDREN,
    EMBED,
    FILL,
    ROWS,
    TABLE,
    WHOLE,
    behind_proxy,
    read_across,
)

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]


async def waits_for_a_lock(url: str) -> None:
    """Return once somebody waits for a lock."""
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(60):
            while not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


@pytest.mark.parametrize("source", [{}, BY_QUERY, BY_VIEW, EMBED], ids=["table", "query", "view", "embed"])
async def test_a_run_that_starts_while_a_reload_is_open_reads_all_of_it(
    postgres_url: str, source: dict[str, Any]
) -> None:
    """Truncation isn't MVCC-safe: a snapshot from before it sees an empty table behind it."""
    await execute(postgres_url, *CHILDREN, "CREATE VIEW w AS SELECT * FROM t")
    loader = await asyncpg.connect(postgres_url)
    reload = loader.transaction()
    await reload.start()
    await loader.execute(
        f"TRUNCATE t, c; {FILL}; INSERT INTO c SELECT n, 1 FROM generate_series(1, {ROWS}) AS n"
    )
    section = PostgresSection(type="postgres", url=postgres_url, **{"table": "t", **source})
    opening = asyncio.create_task(open_source(section))
    await waits_for_a_lock(postgres_url)
    await reload.commit()
    await loader.close()
    found = await opening
    try:
        rows = [row async for batch in found.read(WHOLE, None) for row in batch.rows.to_pylist()]
    finally:
        await found.close()
    assert len(rows) == ROWS
    assert all(row.get("kids", True) for row in rows)


async def test_a_reload_that_is_open_when_a_reader_comes_back_is_noticed(postgres_url: str) -> None:
    await execute(postgres_url, *TABLE)
    loader = await asyncpg.connect(postgres_url)
    reload = loader.transaction()

    async with behind_proxy(postgres_url) as (source, proxy):

        async def cut() -> None:
            await proxy.cut_all()
            await reload.start()
            await loader.execute(f"TRUNCATE t; {FILL}")
            committing.append(asyncio.create_task(commit()))

        async def commit() -> None:
            await waits_for_a_lock(postgres_url)
            await reload.commit()

        committing: list[asyncio.Task[None]] = []
        with pytest.raises(PermanentError, match=r"public\.t was truncated"):
            await read_across(source, cut)
        await asyncio.gather(*committing)
    await loader.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "lock_timeout", "'500ms'")  # type: ignore[arg-type]


async def test_a_lock_that_somebody_holds_at_the_start_is_told(postgres_url: str, soon: None) -> None:
    await execute(postgres_url, *TABLE)
    holder = await asyncpg.connect(postgres_url, server_settings={"application_name": "reload"})
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(PermanentError) as caught:
                await open_source(PostgresSection(type="postgres", url=postgres_url, table="t"))
            pid = holder.get_server_pid()
            assert f"public.t is locked by pid {pid} (reload, idle in transaction" in str(caught.value)
            assert "run again" in str(caught.value)
    finally:
        await holder.close()


@pytest.mark.parametrize("command", ["run", "init"])
async def test_who_holds_what_is_waited_for_is_told_meanwhile(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    await execute(postgres_url, *TABLE)
    monkeypatch.setattr(waits, "TOLD_AFTER_S", 0.1)
    monkeypatch.setattr(waits, "LOOKED_EVERY_S", 0.1)
    section = PostgresSection(type="postgres", url=postgres_url, table="t")
    holder = await asyncpg.connect(postgres_url, server_settings={"application_name": "reload"})
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            pid = holder.get_server_pid()
            waiting: asyncio.Task[Any] = asyncio.create_task(
                open_source(section) if command == "run" else look_at(postgres_url, "t")
            )
            while not caplog.messages and not waiting.done():
                await asyncio.sleep(0.01)
        found = await waiting
        if command == "run":
            await found.close()
    finally:
        await holder.close()
    (told,) = caplog.messages
    assert told.startswith(
        f"waiting, up to 60 s, for a lock: pid {pid} (reload, idle in transaction, since 2"
    )
    assert told.endswith(") holds public.t (AccessExclusive)")


async def test_a_reader_that_queues_behind_a_ddl_ends_with_who_holds_whom(
    postgres_url: str, soon: None
) -> None:
    """The DDL waits for the lock that our snapshot's keeper holds, so nobody would ever get on."""
    await execute(postgres_url, *TABLE)
    section = PostgresSection(type="postgres", url=postgres_url, table="t", batch_rows=500)
    keeper = await open_source(section)
    reader = await open_source(section, ticket=keeper.ticket)
    ddl = await asyncpg.connect(postgres_url, server_settings={"application_name": "migration"})
    try:
        waiting = asyncio.create_task(ddl.execute("ALTER TABLE t ADD later int"))
        await waits_for_a_lock(postgres_url)
        with pytest.raises(PermanentError) as caught:
            await read_across(reader, asyncio.Event().wait)
        assert f"pid {ddl.get_server_pid()} (migration" in str(caught.value)
        assert "waits for a lock on public.t" in str(caught.value)
        await keeper.close()
        await waiting  # with the run gone, everybody goes on
    finally:
        await reader.close()
        await keeper.close()
        await ddl.close()


TOO_OLD = """
CREATE FUNCTION seen(id int) RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN
    IF id > 100 AND NOT EXISTS (SELECT FROM moved) THEN
        RAISE EXCEPTION 'snapshot too old' USING ERRCODE = '72000';
    END IF;
    RETURN id; END $$
"""


async def test_a_snapshot_that_is_too_old_is_read_on_from_a_newer_one(postgres_url: str) -> None:
    """PostgreSQL up to 16 with old_snapshot_threshold; here a function says of our snapshot that it is."""
    view = "CREATE VIEW w AS SELECT *, seen(id) AS s FROM t"
    await execute(postgres_url, *TABLE, "CREATE TABLE moved (id int)", TOO_OLD, view)
    section = PostgresSection(type="postgres", url=postgres_url, batch_rows=50, **BY_VIEW)
    source = await open_source(section, patience_s=20.0)
    first, rest = Segment(0, None, Cursor(("100",)), None), Segment(1, Cursor(("100",)), None, None)
    try:
        found = [row async for batch in source.read(first, None) for row in batch.rows.to_pylist()]
        await execute(postgres_url, "UPDATE t SET v = 'y'", "INSERT INTO moved VALUES (1)")
        found += [row async for batch in source.read(rest, None) for row in batch.rows.to_pylist()]
    finally:
        await source.close()
    assert [int(row["id"]) for row in found] == list(range(1, ROWS + 1))
    assert {row["v"] for row in found[100:]} == {"y"}
    assert any("snapshot is gone" in notice for notice in source.notices)
