"""Reading tables, views and queries: every row exactly once, from every position."""

import asyncio
import pickle
from itertools import chain

import asyncpg
import pytest

from connectors.postgres import open_source, segments
from engine.batch import Cursor, Segment
from engine.errors import JobError, PermanentError
from engine.job import PostgresSource as Section
from tests.support.pg import batches, execute, opened, read_all, rows

pytestmark = pytest.mark.asyncio

HORRORS = [
    None,
    "",
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
]


async def ids(url: str, wanted: int = 1, **section: object) -> list[str]:
    return [row["id"] for row in await read_all(url, wanted, **section)]


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


async def test_reading_on_from_every_cursor_gives_exactly_the_rest(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE t (a text, b numeric, c timestamptz, v int, PRIMARY KEY (a, b, c))",
        "INSERT INTO t SELECT (ARRAY['', 'a', 'A', E'b\\\\''\"', 'é', 'Z', ' z'])[n % 7 + 1], n % 5 / 10.0,"
        " CASE n % 6 WHEN 0 THEN 'infinity' WHEN 1 THEN '0044-03-15 BC' ELSE '2024-01-01'::timestamptz"
        " + n * interval '1.5 s' END, n FROM generate_series(1, 400) AS n ON CONFLICT DO NOTHING",
    )
    async with opened(postgres_url, table="t", batch_rows=7) as source:
        (whole,) = await source.segments(1)
        every = await batches(source, whole)
        expected = [row["v"] for batch in every for row in batch.rows.to_pylist()]
        assert len(set(expected)) == len(expected) > 200
        for number, batch in enumerate(every):
            assert batch.rows.num_rows <= 7
            rest = await batches(source, whole, batch.end)
            assert [row["v"] for part in rest for row in part.rows.to_pylist()] == [
                row["v"] for part in every[number + 1 :] for row in part.rows.to_pylist()
            ]
        five = await source.segments(5)
        assert len(five) == 5
        parts = [[r["v"] for b in await batches(source, s) for r in b.rows.to_pylist()] for s in five]
    assert list(chain(*parts)) == expected
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("collation", ["C", "pg_c_utf8", "en-x-icu"])
async def test_text_keys_are_compared_as_their_collation_says(postgres_url: str, collation: str) -> None:
    try:
        await execute(postgres_url, f'CREATE TABLE t (id text COLLATE "{collation}" PRIMARY KEY)')
    except asyncpg.UndefinedObjectError:
        pytest.skip(f"this server has no collation {collation}")
    await execute(
        postgres_url,
        "INSERT INTO t SELECT chr(n) || s"
        " FROM generate_series(33, 400) AS n, unnest(ARRAY['', 'a', 'A', '-']) AS s",
    )
    got = await ids(postgres_url, 6, table="t", batch_rows=50)
    connection = await asyncpg.connect(postgres_url)
    assert got == [row["id"] for row in await connection.fetch("SELECT id FROM t ORDER BY id")]
    await connection.close()


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("bytea", "decode(to_hex(n), 'escape')"),
        ("uuid", "md5(n::text)::uuid"),
        ("float8", "CASE n % 50 WHEN 0 THEN 'NaN'::float8 WHEN 1 THEN '-Infinity' ELSE n / 7.0 END"),
        ("date", "'2024-01-01'::date + n"),
        ("boolean", "n % 2 = 0"),
        ("char(6)", "to_hex(n)"),
        ("varchar(9)", "to_hex(n)"),
        ("inet", "'10.0.0.0'::inet + n"),
        ("int4range", "int4range(n, n + 2)"),
        ("mood", "(ARRAY['z', 'a', 'it''s'])[n % 3 + 1]::mood"),
    ],
)
async def test_keys_of_every_ordered_type_resume(postgres_url: str, type_: str, values: str) -> None:
    await execute(
        postgres_url,
        "CREATE TYPE mood AS ENUM ('z', 'a', 'it''s')",
        f"CREATE TABLE t (id {type_} PRIMARY KEY)",
        f"INSERT INTO t SELECT {values} FROM generate_series(1, 120) AS n ON CONFLICT DO NOTHING",
    )
    async with opened(postgres_url, table="t", batch_rows=1) as source:
        (whole,) = await source.segments(1)
        expected = [row["id"] for row in await rows(source)]
        assert [row["id"] for row in await rows(source, 3)] == expected
        cursor, again = None, []
        while True:
            found = await batches(source, whole, cursor)
            if not found:
                break
            again.append(found[0].rows.to_pylist()[0]["id"])
            cursor = found[0].end
    assert again == expected


async def test_a_key_that_repeats_never_ends_a_batch_inside_its_group(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE t (id int, k numeric NOT NULL, pad text)",
        # 1.0 and 1.00 are one key to the server, though they print differently.
        "INSERT INTO t SELECT n,"
        " CASE WHEN n % 2 = 0 THEN (n / 100)::numeric(9,1) ELSE (n / 100)::numeric(9,3) END,"
        " repeat('x', 300) FROM generate_series(0, 999) AS n",
    )
    async with opened(postgres_url, table="t", key=["k"], batch_rows=30) as source:
        assert source.ticket.schema.identities == ()
        (whole,) = await source.segments(1)
        every = await batches(source, whole)
        assert len(every) == 10
        for number, batch in enumerate(every):
            rest = {r["id"] for b in await batches(source, whole, batch.end) for r in b.rows.to_pylist()}
            later = {r["id"] for b in every[number + 1 :] for r in b.rows.to_pylist()}
            assert rest == later
        assert sorted(int(row["id"]) for row in await rows(source, 4)) == list(range(1000))


async def test_without_a_key_there_is_one_segment_and_nothing_to_resume_from(postgres_url: str) -> None:
    await execute(postgres_url, "CREATE TABLE t (id int)", "INSERT INTO t SELECT generate_series(1, 100)")
    async with opened(postgres_url, table="t", batch_rows=9) as source:
        assert any("no key" in notice for notice in source.notices)
        (segment,) = await source.segments(8)
        found = await batches(source, segment)
        assert [batch.end for batch in found] == [None] * len(found)
        assert sum(batch.rows.num_rows for batch in found) == 100


async def test_nulls_in_a_chosen_key_are_refused(postgres_url: str) -> None:
    await execute(postgres_url, "CREATE TABLE t (id int, k int)", "INSERT INTO t VALUES (1, 1), (2, NULL)")
    with pytest.raises(JobError, match="column k holds NULLs"):
        await read_all(postgres_url, table="t", key=["k"])
    assert await ids(postgres_url, table="t", key=["k"], where="k IS NOT NULL -- really") == ["1"]


async def test_identities_are_what_indexes_prove_and_no_more(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL UNIQUE, b int UNIQUE, c int NOT NULL,"
        " d int NOT NULL, e int NOT NULL UNIQUE DEFERRABLE, f text NOT NULL)",
        "CREATE UNIQUE INDEX ON t (c, d) INCLUDE (f)",
        "CREATE UNIQUE INDEX ON t (d) WHERE c > 0",
        "CREATE UNIQUE INDEX ON t (lower(f))",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child () INHERITS (parent)",
        "INSERT INTO parent VALUES (1)",
        "INSERT INTO child VALUES (1)",
    )
    async with opened(postgres_url, table="t") as source:
        assert set(source.ticket.schema.identities) == {
            frozenset({"id"}), frozenset({"a"}), frozenset({"c", "d"})
        }  # fmt: skip
    async with opened(postgres_url, table="v", key=["id"]) as source:
        assert source.ticket.schema.identities == ()
    async with opened(postgres_url, table="parent", key=["id"]) as source:
        assert source.ticket.schema.identities == ()
        assert len(await rows(source)) == 2


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


@pytest.mark.parametrize("partitioned", [False, True])
async def test_segments_from_a_sample_are_even_on_skewed_keys(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, partitioned: bool
) -> None:
    monkeypatch.setattr(segments, "SAMPLED_PAGES_MIN", 100)
    monkeypatch.setattr(segments, "SAMPLED_PAGES_PER_SEGMENT", 25)
    await execute(
        postgres_url,
        "CREATE TABLE t (id int8 PRIMARY KEY, pad text)" + " PARTITION BY HASH (id)" * partitioned,
        *(
            f"CREATE TABLE t{n} PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER {n})"
            for n in range(2 * partitioned)
        ),
        # Nearly all keys are close together, the rest far away.
        "INSERT INTO t SELECT CASE WHEN n % 10 = 0 THEN n * 1000000000 ELSE n END, repeat('x', 200)"
        " FROM generate_series(1::int8, 20000) AS n",
        "ANALYZE t",
    )
    async with opened(postgres_url, table="t") as source:
        assert segments.sample_percent(source.ticket.details["shape"], 4) is not None
        cut = await source.segments(4)
        counts = [sum(b.rows.num_rows for b in await batches(source, segment)) for segment in cut]
    assert len(counts) == 4
    assert sum(counts) == 20_000
    assert max(counts) < 2 * min(counts)


async def test_all_connections_of_a_run_see_one_snapshot(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "INSERT INTO t SELECT n, 0 FROM generate_series(1, 5000) AS n",
    )
    async with opened(postgres_url, table="t") as parent:
        four = await parent.segments(4)
        ticket = pickle.loads(pickle.dumps(parent.ticket))
        await execute(
            postgres_url,
            "UPDATE t SET v = 1, id = id + 10000 WHERE id % 3 = 0",
            "DELETE FROM t WHERE id % 3 = 1",
            "VACUUM t",
        )
        worker = await open_source(Section(type="postgres", url=postgres_url, table="t"), ticket=ticket)
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
    worker = await open_source(Section(type="postgres", url=postgres_url, table="t"), ticket=ticket)
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
