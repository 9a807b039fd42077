"""Keys: positions to go on from, segments, what is proved to be unique."""

from itertools import chain
from typing import Any

import asyncpg
import orjson
import pytest

from connectors.postgres import segments
from engine.errors import JobError
from tests.support.own_postgres import own_postgres, system_binaries
from tests.support.pg import batches, execute, ids, opened, read_all, rows

pytestmark = pytest.mark.asyncio


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


@pytest.mark.parametrize("key", ["(n / 3)::numeric", "n::numeric", "CASE WHEN n < 25 THEN 0 ELSE n END"])
async def test_reading_goes_on_from_inside_a_batch(postgres_url: str, key: str) -> None:
    """Keys of one row and of several, which print differently; at their every cut nothing is read twice."""
    await execute(
        postgres_url,
        "CREATE TABLE t (id int, k numeric NOT NULL)",
        f"INSERT INTO t SELECT n, round({key}, n % 2) FROM generate_series(0, 59) AS n",
    )
    async with opened(postgres_url, table="t", key=["k"], batch_rows=20) as source:
        (whole,) = await source.segments(1)
        every = await batches(source, whole)
        assert len(every) > 1
        expected = set(range(60))
        seen: set[int] = set()
        for batch in every:
            ids = [int(row["id"]) for row in batch.rows.to_pylist()]
            assert batch.cuts is not None
            assert batch.cuts.before(0) is None
            for row in range(1, len(ids)):
                at, cursor = batch.cuts.before(row) or (0, None)
                assert at <= row
                if cursor is not None:
                    rest = [r["id"] for b in await batches(source, whole, cursor) for r in b.rows.to_pylist()]
                    assert {int(n) for n in rest} == expected - seen - set(ids[:at])
            seen |= set(ids)


async def test_without_a_key_there_is_one_segment_and_nothing_to_resume_from(postgres_url: str) -> None:
    await execute(postgres_url, "CREATE TABLE t (id int)", "INSERT INTO t SELECT generate_series(1, 100)")
    async with opened(postgres_url, table="t", batch_rows=9) as source:
        assert any("no key" in notice for notice in source.notices)
        (segment,) = await source.segments(8)
        found = await batches(source, segment)
        assert [(batch.end, batch.cuts) for batch in found] == [(None, None)] * len(found)
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


async def test_an_index_of_another_collation_does_not_prove_a_key_to_be_unique() -> None:
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("no system PostgreSQL is installed, and the embedded one has no ICU")
    with own_postgres(binaries, "postgres") as server:
        await execute(
            server.url(),
            "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            "CREATE TABLE t (id text COLLATE ci NOT NULL)",
            'CREATE UNIQUE INDEX ON t (id COLLATE "C")',
            "INSERT INTO t SELECT unnest(ARRAY['a', 'A', 'b', 'B', 'c'])",
        )
        async with opened(server.url(), table="t", key=["id"], batch_rows=1) as source:
            (whole,) = await source.segments(1)
            first, *others = await batches(source, whole)
            rest = await batches(source, whole, first.end)
            assert sum(part.rows.num_rows for part in rest) == sum(part.rows.num_rows for part in others)


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
        assert segments.sample_percent(source._shape, 4) is not None
        cut = await source.segments(4)
        counts = [sum(b.rows.num_rows for b in await batches(source, segment)) for segment in cut]
    assert len(counts) == 4
    assert sum(counts) == 20_000
    assert max(counts) < 2 * min(counts)


class Counting:
    """A connection that counts the pages which its statements look at."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.statements, self.pages = 0, 0

    async def fetch(self, sql: str) -> Any:
        explained = await self._connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}")
        (told,) = orjson.loads(explained)
        self.statements += 1
        self.pages += sum(told["Plan"][f"Shared {how} Blocks"] for how in ("Hit", "Read"))
        return await self._connection.fetch(sql)


@pytest.mark.parametrize(
    ("where", "statements", "at_least"),
    [("true", 1, 190), ("id % 997 = 0", 2, 190), ("id < 0", 2, 190)],
    ids=["all rows", "few rows", "no rows"],
)
async def test_cutting_reads_no_more_however_many_segments_there_are(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, where: str, statements: int, at_least: int
) -> None:
    monkeypatch.setattr(segments, "SAMPLED_PAGES_MIN", 50)
    monkeypatch.setattr(segments, "SAMPLED_PAGES_MAX", 100)
    await execute(
        postgres_url,
        "CREATE TABLE t (id int8 PRIMARY KEY, pad text)",
        "INSERT INTO t SELECT n, repeat('x', 150) FROM generate_series(1, 40000) AS n",
        "VACUUM ANALYZE t",
    )
    async with opened(postgres_url, table="t", where=where) as source:
        assert source._shape.pages > 800
        counting = Counting(source._keeper)
        cut = await segments.cut(counting, source._shape, 200, 40_000)
        assert counting.statements == statements
        # A sample is drawn page by page, by chance: a bit more or less than its share.
        assert counting.pages < statements * 150, counting.pages
        assert at_least <= len(cut) <= 200
        sizes = [segment.rows_expected or 0 for segment in cut]
        assert max(sizes) < 4 * 40_000 / 200
        if where == "true":
            assert len({row["id"] for row in await rows(source, 200)}) == 40_000
