"""Reading tables, views and queries: every row exactly once, from every position."""

import asyncio

import asyncpg
import pytest

from connectors.postgres.section import PostgresSection
from connectors.postgres.source import open_source
from engine.batch import Cursor, Segment
from engine.contracts.source import SourceTicket
from engine.errors import PermanentError
from tests.support.pg import batches, execute, ids, opened, read_all, rows

pytestmark = pytest.mark.asyncio

HORRORS = [
    None,
    "",
    "\ufeff",
    "NULL",
    "\\N",
    "\\.",
    '"',
    '""',
    ",",
    "\n",
    "\r",
    "\r\n",
    " ",
    "a\nb",
    "\\.\n",
    'é,"x"\n',
    "\\",
    "\x1f",
    "\x1e",
    "\x1e\x1e",
    'a\x1fb\x1e,"\n',
]


async def test_a_single_column_keeps_null_empty_and_everything_csv_uses(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE t (v text)")
    await connection.executemany("INSERT INTO t VALUES ($1)", [(value,) for value in HORRORS])
    await connection.close()
    assert [row["v"] for row in await read_all(postgres_url, table="t")] == HORRORS


async def test_several_columns_keep_everything_that_csv_uses(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute('CREATE TABLE t (id int PRIMARY KEY, v text, "w""," text)')
    values = [(n, value, HORRORS[-n]) for n, value in enumerate(HORRORS)]
    await connection.executemany("INSERT INTO t VALUES ($1, $2, $3)", values)
    await connection.close()
    got = await read_all(postgres_url, table="t", batch_rows=3)
    assert [tuple(row.values()) for row in got] == [(str(n), v, w) for n, v, w in values]
    assert list(got[0]) == ["id", "v", 'w",']


async def test_an_empty_table_gives_one_segment_and_no_batch(postgres_url: str) -> None:
    await execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)")
    async with opened(postgres_url, table="t") as source:
        (segment,) = await source.segments(4)
        assert (segment.after, segment.until) == (None, None)
        assert await batches(source, segment) == []


async def test_partitions_generated_columns_views_and_queries_are_read_whole(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE p (id int, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, PRIMARY KEY (id))"
        " PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (500)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (500) TO (2000)",
        "INSERT INTO p SELECT n, n FROM generate_series(1, 1000) AS n",
        "CREATE VIEW w AS SELECT id, v + 1 AS v FROM p",
    )
    expected = [str(n) for n in range(1, 1001)]
    async with opened(postgres_url, table="p", segments=3) as source:
        assert source.ticket.schema.identities == (frozenset({"id"}),)
        got = await rows(source, 3)
        assert [row["id"] for row in got] == expected
        assert got[9]["twice"] == "20"
    assert await ids(postgres_url, 3, table="w", key=["id"]) == expected
    query = "SELECT id, sum(v) AS v FROM p GROUP BY id -- per id;"
    assert await ids(postgres_url, 3, query=query, key=["id"]) == expected
    assert await ids(postgres_url, query=query, key=["id"], where="v > 990") == expected[990:]


async def test_columns_are_read_in_the_jobs_order_and_the_key_rides_along_hidden(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int, at timestamptz)",
        "INSERT INTO t VALUES (1, 2, 3, '2024-01-01Z')",
    )
    async with opened(postgres_url, table="t", columns=["b", "a"], watermark="at") as source:
        schema = source.ticket.schema
        assert [(column.name, column.hidden) for column in schema.columns] == [
            ("b", False), ("a", False), ("id", True), ("at", True)
        ]  # fmt: skip
        assert await rows(source) == [{"b": "3", "a": "2", "id": "1", "at": "2024-01-01T00:00:00Z"}]
        assert schema.key == ("id",)


async def test_all_connections_of_a_run_see_one_snapshot(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "INSERT INTO t SELECT n, 0 FROM generate_series(1, 5000) AS n",
    )
    async with opened(postgres_url, table="t") as parent:
        four = await parent.segments(4)
        ticket = SourceTicket.from_json(parent.ticket.as_json())
        await execute(
            postgres_url,
            "UPDATE t SET v = 1, id = id + 10000 WHERE id % 3 = 0",
            "DELETE FROM t WHERE id % 3 = 1",
            "VACUUM t",
        )
        worker = await open_source(
            PostgresSection(type="postgres", url=postgres_url, table="t"), ticket=ticket
        )
        found = await asyncio.gather(*(batches(worker, segment) for segment in four))
        assert worker.notices == ()
        await worker.close()
    got = [row for part in found for batch in part for row in batch.rows.to_pylist()]
    assert [row["id"] for row in got] == [str(n) for n in range(1, 5001)]
    assert {row["v"] for row in got} == {"0"}


async def test_a_worker_whose_snapshot_is_gone_reads_on_and_says_so(postgres_url: str) -> None:
    await execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    async with opened(postgres_url, table="t") as parent:
        ticket = parent.ticket
    worker = await open_source(PostgresSection(type="postgres", url=postgres_url, table="t"), ticket=ticket)
    found = await batches(worker, Segment(0, None, None, None))
    assert [batch.end for batch in found] == [Cursor(("1",))]
    assert any("snapshot is gone" in notice for notice in worker.notices)
    await worker.close()


async def test_leaving_a_reading_early_leaves_nothing_behind(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT n, repeat('x', 500) FROM generate_series(1, 50000) AS n",
    )
    async with opened(postgres_url, table="t", batch_rows=100) as source:
        (segment,) = await source.segments(1)
        reading = source.read(segment, None)
        first = await anext(reading)
        await reading.aclose()  # type: ignore[attr-defined]
        assert [row["id"] for row in first.rows.to_pylist()][:2] == ["1", "2"]
        assert len([row for batch in await batches(source, segment) for row in batch.rows]) > 0
    connection = await asyncpg.connect(postgres_url)
    for _ in range(100):
        left = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backfill' AND datname ="
            " current_database()"
        )
        if not left:
            break
        await asyncio.sleep(0.05)
    await connection.close()
    assert left == 0


async def test_an_error_in_the_middle_names_what_the_server_said(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, d int)",
        "INSERT INTO t SELECT n, 5000 - n FROM generate_series(1, 9999) AS n",
    )
    async with opened(
        postgres_url, query="SELECT id, 1 / d AS v FROM t", key=["id"], batch_rows=10
    ) as source:
        with pytest.raises(PermanentError, match="division by zero"):
            await batches(source, Segment(0, None, None, None))
