"""A source that moves while it is read, or between two runs: never read on as what it was.

What matters ends the reading with a sentence; what changes nothing that is read doesn't stop it.
"""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from connectors.postgres import PostgresSource, open_source
from connectors.postgres.settings import SETTINGS
from engine.batch import Cursor, Segment
from engine.errors import PermanentError
from engine.job.model import PostgresSource as Section
from engine.state.fingerprint import compare, fingerprint
from tests.support import loads
from tests.support import own_postgres as own
from tests.support.command import Command
from tests.support.cutting_proxy import CuttingProxy
from tests.support.pg import execute, opened

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

ROWS = 20_000
WHOLE = Segment(0, None, None, None)
FILL = f"INSERT INTO t SELECT n, repeat('x', 400), 'a' FROM generate_series(1, {ROWS}) AS n"
TABLE = (
    "CREATE TYPE mood AS ENUM ('a', 'b')",
    "CREATE TABLE t (id int PRIMARY KEY, v text, m mood)",
    FILL,
)
PARTITIONED = (
    "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (15000)",
    "CREATE TABLE high PARTITION OF t FOR VALUES FROM (15000) TO (30000)",
    f"INSERT INTO t SELECT n, repeat('x', 400) FROM generate_series(1, {ROWS}) AS n",
)
VIEW = (*TABLE, "CREATE VIEW w AS SELECT * FROM t")
CHILDREN = (
    *TABLE,
    "CREATE TABLE c (t_id int, n int)",
    f"INSERT INTO c SELECT n, 1 FROM generate_series(1, {ROWS}) AS n",
    "CREATE INDEX ON c (t_id)",
)
BY_TEXT = (
    "CREATE TABLE t (id text PRIMARY KEY, v text)",
    f"INSERT INTO t SELECT lpad(n::text, 6, '0'), repeat('x', 400) FROM generate_series(1, {ROWS}) AS n",
)
EMBED: dict[str, Any] = {"embed": {"kids": {"table": "c", "on": {"t_id": "id"}}}}
BY_VIEW: dict[str, Any] = {"table": "w", "key": ["id"]}
BY_QUERY: dict[str, Any] = {"table": None, "query": "SELECT * FROM t", "key": ["id"]}


@dataclass(frozen=True)
class Move:
    """What moves: the statements that make the source, those that move it, and what is said of it.

    `said` is None where reading goes on, `between` where only that differs between two runs.
    """

    make: Sequence[str]
    move: Sequence[str]
    said: str | None
    source: dict[str, Any] = field(default_factory=dict)


SWAP = ("ALTER TABLE t RENAME TO old", "CREATE TABLE t (LIKE old INCLUDING ALL)", FILL)
MOVES = {
    "truncated": Move(TABLE, ("TRUNCATE t",), "public.t was truncated"),
    "reloaded": Move(TABLE, ("TRUNCATE t", FILL), "public.t was truncated"),
    "reloaded and vacuumed": Move(TABLE, ("TRUNCATE t", FILL, "VACUUM FULL t"), "public.t was truncated"),
    "swapped": Move(TABLE, SWAP, "another took its name|no longer the table"),
    "partition detached": Move(PARTITIONED, ("ALTER TABLE t DETACH PARTITION high",), "high was dropped or"),
    "partition dropped": Move(PARTITIONED, ("DROP TABLE high",), "high was dropped or detached"),
    "partition truncated": Move(PARTITIONED, ("TRUNCATE high",), "public.high was truncated"),
    "view redefined": Move(
        VIEW,
        ("CREATE OR REPLACE VIEW w AS SELECT * FROM t WHERE id % 2 = 0",),
        "view public.w was redefined",
        BY_VIEW,
    ),
    "table below a view truncated": Move(VIEW, ("TRUNCATE t", FILL), "public.t was truncated", BY_VIEW),
    "table of a query swapped": Move(TABLE, SWAP, "public.t was dropped or another took its name", BY_QUERY),
    "table of a query truncated": Move(TABLE, ("TRUNCATE t",), "public.t was truncated", BY_QUERY),
    "children swapped": Move(
        CHILDREN, ("DROP TABLE c", "CREATE TABLE c (t_id int, n int)"), "public.c was dropped", EMBED
    ),
    "children truncated": Move(CHILDREN, ("TRUNCATE c",), "public.c was truncated", EMBED),
    "children truncated beside a wider column": Move(
        CHILDREN, ("ALTER TABLE t ALTER id TYPE bigint", "TRUNCATE c"),
        "public.c was truncated", EMBED,
    ),
    "truncated beside a longer text": Move(
        (TABLE[0], "CREATE TABLE t (id int PRIMARY KEY, v varchar(400), m mood)", FILL),
        ("ALTER TABLE t ALTER v TYPE text", "TRUNCATE t", FILL), "public.t was truncated",
    ),
    "padded": Move(TABLE, ("ALTER TABLE t ALTER v TYPE char(500)",), "column v of public.t has another type"),
    "cut": Move(TABLE, ("ALTER TABLE t ALTER v TYPE varchar(500)",), "column v of public.t has another type"),
    "another column of that name": Move(
        TABLE, ("ALTER TABLE t DROP v", "ALTER TABLE t ADD v text"), "column v of public.t is another column"
    ),
    "collation of the key": Move(
        BY_TEXT, ('ALTER TABLE t ALTER id TYPE text COLLATE "POSIX"',), "id of public.t has another collation"
    ),
    "enum value renamed": Move(TABLE, ("ALTER TYPE mood RENAME VALUE 'a' TO 'z'",), "values of its enum"),
    "vacuum full": Move(TABLE, ("VACUUM FULL t",), None),
    "cluster": Move(TABLE, ("CLUSTER t USING t_pkey",), None),
    "reindex": Move(TABLE, ("REINDEX TABLE t",), None),
    "frozen": Move(TABLE, ("VACUUM FREEZE t", "VACUUM FULL t"), None),
    "partition vacuumed": Move(PARTITIONED, ("VACUUM FULL high",), None),
    "wider key": Move(TABLE, ("ALTER TABLE t ALTER id TYPE bigint",), None),
    "column added": Move(TABLE, ("ALTER TABLE t ADD extra int",), None),
    "enum value added": Move(TABLE, ("ALTER TYPE mood ADD VALUE 'first' BEFORE 'a'",), None),
    "index added": Move(TABLE, ("CREATE INDEX ON t (v)",), None),
    "partition added": Move(
        PARTITIONED, ("CREATE TABLE more PARTITION OF t FOR VALUES FROM (30000) TO (40000)",), None
    ),
    "children vacuumed": Move(CHILDREN, ("VACUUM FULL c",), None, EMBED),
    "others' table": Move(TABLE, ("CREATE TABLE z (id int)", "DROP TABLE z"), None),
}  # fmt: skip


@asynccontextmanager
async def behind_proxy(url: str, **source: Any) -> AsyncIterator[tuple[PostgresSource, CuttingProxy]]:
    parts = urlsplit(url)
    async with CuttingProxy(Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432") as proxy:
        address = f"postgresql://postgres@127.0.0.1:{proxy.port}{parts.path}?sslmode=disable"
        section = Section(type="postgres", url=address, **{"table": "t", "batch_rows": 500, **source})
        opened_source = await open_source(section, patience_s=20.0)
        try:
            yield opened_source, proxy
        finally:
            await opened_source.close()


async def read_across(source: PostgresSource, cut: Callable[[], Any]) -> list[int]:
    """Read all, and have something happen after the first batch."""
    found: list[int] = []
    async for batch in source.read(WHOLE, None):
        if not found:
            await cut()
        found.extend(int(value) for value in batch.rows.column("id").to_pylist())
    return found


@pytest.mark.parametrize("name", MOVES)
async def test_once_every_connection_was_lost(postgres_url: str, name: str) -> None:
    move = MOVES[name]
    await execute(postgres_url, *move.make)
    async with behind_proxy(postgres_url, **move.source) as (source, proxy):

        async def cut() -> None:
            await proxy.cut_all()
            await execute(postgres_url, *move.move)

        if move.said is None:
            assert await read_across(source, cut) == list(range(1, ROWS + 1))
            assert any("snapshot is gone" in notice for notice in source.notices)
        else:
            with pytest.raises(PermanentError, match=move.said):
                await read_across(source, cut)


def thinned(statement: str) -> str:
    """Fewer rows, as far up: only what is read across a cut has to be long."""
    return statement.replace(f"generate_series(1, {ROWS})", f"generate_series(1, {ROWS}, 200)")


@pytest.mark.parametrize("name", MOVES)
async def test_between_a_kill_and_its_resume(postgres_url: str, name: str) -> None:
    move = MOVES[name]
    section = {"table": "t", **move.source}
    await execute(postgres_url, *map(thinned, move.make))
    async with opened(postgres_url, **section) as source:
        standing, identity = source.standing, source.identity
    assert standing is not None
    await execute(postgres_url, *map(thinned, move.move))
    async with opened(postgres_url, **section) as source:
        misfit = await source.misfit(standing, goes_on=True)
        same = compare(fingerprint({}, identity, {}), fingerprint({}, source.identity, {})) is None
        assert any("a newer snapshot" in notice for notice in source.notices) == (misfit is None)
    assert (misfit is None and same) == (move.said is None), misfit


@pytest.mark.parametrize(
    "name", ["truncated", "reloaded", "partition detached", "vacuum full", "wider key", "column added"]
)
async def test_a_catch_up_run_follows_on_rows_that_come_and_go(postgres_url: str, name: str) -> None:
    move = MOVES[name]
    await execute(postgres_url, *move.make)
    async with opened(postgres_url, table="t") as source:
        standing = source.standing
    assert standing is not None
    await execute(postgres_url, *move.move)
    async with opened(postgres_url, table="t") as source:
        assert await source.misfit(standing, goes_on=False) is None


async def test_a_view_that_was_redefined_stops_a_catch_up_run(postgres_url: str) -> None:
    await execute(postgres_url, *VIEW)
    async with opened(postgres_url, **BY_VIEW) as source:
        standing = source.standing
    assert standing is not None
    await execute(postgres_url, *MOVES["view redefined"].move)
    async with opened(postgres_url, **BY_VIEW) as source:
        assert await source.misfit(standing, goes_on=False) == "the view public.w was redefined"


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
    section = Section(type="postgres", url=postgres_url, **{"table": "t", **source})
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
                await open_source(Section(type="postgres", url=postgres_url, table="t"))
            pid = holder.get_server_pid()
            assert f"public.t is locked by pid {pid} (reload, idle in transaction" in str(caught.value)
            assert "run again" in str(caught.value)
    finally:
        await holder.close()


async def test_a_reader_that_queues_behind_a_ddl_ends_with_who_holds_whom(
    postgres_url: str, soon: None
) -> None:
    """The DDL waits for the lock that our snapshot's keeper holds, so nobody would ever get on."""
    await execute(postgres_url, *TABLE)
    section = Section(type="postgres", url=postgres_url, table="t", batch_rows=500)
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


@pytest.fixture
def server() -> Iterator[own.OwnPostgres]:
    with own.own_postgres(own.embedded_binaries(), "pgserver") as running:
        yield running


def wide(statement: str) -> str:
    """Rows that don't fit into the buffers of two TCP connections: something is left to be cut."""
    return statement.replace("repeat('x', 400)", "repeat('x', 1500)")


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
    return await open_source(Section(type="postgres", url=url, table="t", batch_rows=500), patience_s=20.0)


async def test_an_older_copy_behind_the_same_address_is_noticed(server: own.OwnPostgres) -> None:
    await execute(server.url(), *map(wide, TABLE))
    async with copied(server) as copy:
        changes = ("UPDATE t SET v = 'new'", "DELETE FROM t WHERE id > 19000")
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
    await execute(server.url(), *map(wide, TABLE))
    with own.own_postgres(own.embedded_binaries(), "pgserver") as other:
        await execute(other.url(), *map(wide, TABLE))
        async with CuttingProxy(server.port) as proxy:
            source = await through(proxy, server)

            async def cut() -> None:
                proxy.target = other.port
                await proxy.cut_all()

            with pytest.raises(PermanentError, match="another server or database"):
                await read_across(source, cut)
            await source.close()


async def test_a_restart_passes(server: own.OwnPostgres) -> None:
    await execute(server.url(), *map(wide, TABLE))
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
    section = Section(type="postgres", url=postgres_url, batch_rows=50, **BY_VIEW)
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


async def test_positions_and_rows_of_the_system_s_own_version() -> None:
    """What tells an emptied table from one that was written anew is the same in older versions."""
    binaries = own.system_binaries()
    if binaries is None:
        pytest.skip("there is no system PostgreSQL")
    with own.own_postgres(binaries, "postgres") as server:
        for name, move in MOVES.items():
            section = {"table": "t", **move.source}
            url = server.url()
            await execute(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public", *map(thinned, move.make))
            async with opened(url, **section) as source:
                standing, identity = source.standing, source.identity
            assert standing is not None
            await execute(url, *map(thinned, move.move))
            async with opened(url, **section) as source:
                misfit = await source.misfit(standing, goes_on=True)
                same = compare(fingerprint({}, identity, {}), fingerprint({}, source.identity, {})) is None
            assert (misfit is None and same) == (move.said is None), (name, misfit)


async def test_the_command_says_2_between_two_runs_and_names_what_moved(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    fill = "INSERT INTO t SELECT generate_series(1, 900)"
    await execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)", fill)
    loads.create_table(dynoxide, table_name)
    job = loads.job(postgres_url, dynoxide, table_name, target={"max_wcu": 100})
    command = Command(tmp_path, job)

    def interrupted() -> None:
        process = command.start("run", "--workers", "1")
        assert process.stderr is not None
        next(line for line in process.stderr if "segment" in line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        assert process.returncode == 130

    await asyncio.to_thread(interrupted)
    await execute(postgres_url, "TRUNCATE t", fill)
    refused = await asyncio.to_thread(command.run, "run")
    assert refused.code == 2, refused.stderr
    assert "the source changed (public.t was truncated" in refused.stderr
    assert "--fresh" in refused.stderr
