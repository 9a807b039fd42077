"""What PostgreSQL proves to be unique, of tables, views and queries, and what only looks as if it did."""

from dataclasses import replace

import pytest

from connectors.postgres.opening import told_apart_by_position
from engine.kinds import Column, RowSchema, Scalar
from tests.support.own_postgres import own_postgres, system_binaries
from tests.support.pg import execute, opened

pytestmark = pytest.mark.asyncio

TABLES = (
    "CREATE TYPE mood AS ENUM ('calm', 'so-so')",
    "CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE, region char(2), code text, slot mood, note text,"
    " UNIQUE (region, code))",
    "CREATE TABLE other (t int REFERENCES t, n int)",
    "CREATE TABLE parted (id int PRIMARY KEY, email text) PARTITION BY RANGE (id)",
    "CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE rest PARTITION OF parted DEFAULT",
)
ALL = {("id",), ("email",), ("code", "region")}


def told_apart(schema: RowSchema) -> tuple[frozenset[str], ...]:
    """Return the sets of columns that no two rows share, unless one of them is null."""
    return (*schema.identities, *schema.unique)


async def unique(url: str, **section: object) -> set[tuple[str, ...]]:
    async with opened(url, **section) as source:
        return {tuple(sorted(names)) for names in told_apart(source.ticket.schema)}


async def test_an_index_proves_what_it_holds_of_all_rows_at_all_times(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE u (id int PRIMARY KEY, a int UNIQUE, b int, c text, d int, e int, f int NOT NULL,"
        " UNIQUE (b, c), UNIQUE (d) DEFERRABLE, UNIQUE (a, e) INCLUDE (f))",
        "CREATE UNIQUE INDEX ON u (e) WHERE e > 0",
        "CREATE UNIQUE INDEX ON u (lower(c))",
        "CREATE UNIQUE INDEX ON u (b, (e + 1))",
        "CREATE UNIQUE INDEX ON u (f) NULLS NOT DISTINCT",
        "CREATE INDEX ON u (c)",
    )
    async with opened(postgres_url, table="u") as source:
        schema = source.ticket.schema
        assert set(schema.identities) == {frozenset({"id"}), frozenset({"f"})}
        assert set(schema.unique) == {frozenset({"a"}), frozenset({"b", "c"}), frozenset({"a", "e"})}


async def test_an_index_that_isnt_built_proves_nothing(postgres_url: str) -> None:
    await execute(postgres_url, "CREATE TABLE u (id int, a int)", "INSERT INTO u VALUES (1, 1), (2, 1)")
    with pytest.raises(Exception, match="could not create unique index"):
        await execute(postgres_url, "CREATE UNIQUE INDEX CONCURRENTLY ON u (a)")
    assert await unique(postgres_url, table="u") == set()


async def test_names_without_their_arguments_tell_nothing_apart(postgres_url: str) -> None:
    """Two functions of one name, or two operators, are two values of an index and one text."""
    await execute(
        postgres_url,
        "CREATE TABLE u (id int PRIMARY KEY, fn regproc NOT NULL UNIQUE, op regoper UNIQUE,"
        " relation regclass UNIQUE)",
        "INSERT INTO u SELECT row_number() OVER (), oid FROM pg_proc WHERE proname = 'abs'",
    )
    assert await unique(postgres_url, table="u") == {("id",), ("relation",)}


async def test_what_is_unique_at_one_time_only_is_no_proof_over_several(postgres_url: str) -> None:
    await execute(postgres_url, *TABLES)
    async with opened(postgres_url, table="t") as source:
        schema = source.ticket.schema
        assert told_apart(told_apart_by_position(schema)) == (frozenset({"id"}),)
        by_pair = told_apart_by_position(replace(schema, key=("region", "code")))
        assert told_apart(by_pair) == (frozenset({"region", "code"}),)


async def test_the_source_knows_how_some_types_are_spelled(postgres_url: str) -> None:
    await execute(
        postgres_url, *TABLES, "CREATE DOMAIN two AS char(2)", "ALTER TABLE t ADD u uuid, ADD v two"
    )
    async with opened(postgres_url, table="t") as source:
        column = source.ticket.schema.column
        assert column("slot") == Column("slot", Scalar.STRING, signs="-aclmos")
        assert column("u") == Column("u", Scalar.STRING, signs="0123456789abcdef-", width=36)
        assert column("region") == Column("region", Scalar.STRING, width=2)
        assert column("v") == Column("v", Scalar.STRING, width=2)
        assert column("email") == Column("email", Scalar.STRING)


@pytest.mark.parametrize(
    ("select", "proved"),
    [
        ("SELECT * FROM t", ALL),
        ("SELECT id, note FROM t WHERE note > 'a' ORDER BY note LIMIT 10", {("id",)}),
        ("SELECT id AS k, id, email AS mail FROM t", {("k",), ("id",), ("mail",)}),
        ("SELECT id, (SELECT count(*) FROM other WHERE t = id) AS n FROM t", {("id",)}),
        ("SELECT id FROM (SELECT id, note FROM t) AS s WHERE EXISTS (SELECT 1)", {("id",)}),
        ("SELECT region, upper(code) AS code, id FROM t", {("id",)}),
        ("SELECT id, email FROM parted WHERE id = 7", {("id",)}),
        # And what only looks so:
        ("SELECT id + 0 AS id, lower(email) AS email FROM t", set()),
        ("SELECT id::bigint AS id, email::varchar AS email FROM t", set()),
        ("SELECT t.id, other.n FROM t JOIN other ON other.t = t.id", set()),
        ("SELECT t.id, other.n FROM t LEFT JOIN other ON other.t = t.id", set()),
        ("SELECT id, unnest(ARRAY[1, 2]) AS n FROM t", set()),
        ("SELECT id, n FROM t, generate_series(1, 2) AS n", set()),
        ("SELECT DISTINCT note AS id FROM t", set()),
        ("SELECT min(id) AS id, note FROM t GROUP BY note", set()),
        ("SELECT id FROM t UNION ALL SELECT id FROM t", set()),
        ("SELECT 1 AS id, note FROM t", set()),
        ("SELECT a.id, b.email FROM t AS a, t AS b", set()),
        ("SELECT id, email FROM parted", set()),
        ("SELECT id FROM (VALUES (1), (1)) AS v (id)", set()),
        # A cast that nobody wrote isn't printed: big integers that differ may be one float.
        ("SELECT id::bigint AS id FROM other, t WHERE false UNION ALL SELECT 0.5::float8 WHERE false", set()),
        ("SELECT id FROM t UNION ALL SELECT 0.5::float8 WHERE false", set()),
    ],
)
async def test_a_view_or_query_has_what_is_unique_in_the_one_table_that_it_shows(
    postgres_url: str, select: str, proved: set[tuple[str, ...]]
) -> None:
    await execute(postgres_url, *TABLES, f"CREATE VIEW v AS {select}", "CREATE VIEW w AS SELECT * FROM v")
    key = "k" if " AS k" in select else "id"
    assert await unique(postgres_url, query=select, key=[key]) == proved
    assert await unique(postgres_url, table="v", key=[key]) == proved
    assert await unique(postgres_url, table="w", key=[key]) == proved


async def test_a_materialized_view_has_its_own_indexes_alone(postgres_url: str) -> None:
    await execute(postgres_url, *TABLES, "CREATE MATERIALIZED VIEW m AS SELECT * FROM t")
    assert await unique(postgres_url, table="m", key=["id"]) == set()
    await execute(postgres_url, "CREATE UNIQUE INDEX ON m (id)")
    assert await unique(postgres_url, table="m", key=["id"]) == {("id",)}


async def test_a_view_is_looked_through_under_hostile_names(postgres_url: str) -> None:
    await execute(
        postgres_url,
        'CREATE SCHEMA "S x"',
        'CREATE TABLE "S x"."select" ("a.b" int PRIMARY KEY, "Q""uote" text UNIQUE)',
        'CREATE TABLE t (id int, "a.b" int)',
        'CREATE VIEW v AS SELECT "a.b" AS id, "Q""uote" FROM "S x"."select" AS "t"',
    )
    assert await unique(postgres_url, table="v", key=["id"]) == {("id",), ('Q"uote',)}


async def test_citext_and_other_collations_prove_texts_to_differ_and_foreign_types_nothing() -> None:
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("no system PostgreSQL is installed, and the embedded one has no citext and no ICU")
    with own_postgres(binaries, "postgres") as server:
        await execute(
            server.url(),
            "CREATE EXTENSION citext",
            "CREATE EXTENSION seg",
            "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            "CREATE TABLE t"
            " (id citext PRIMARY KEY, a text COLLATE ci, b text COLLATE ci UNIQUE, c seg UNIQUE)",
            'CREATE UNIQUE INDEX ON t (a COLLATE "C")',
            # Segments of different bounds print alike: the type keeps more than it shows.
            "INSERT INTO t VALUES ('x', 'A', 'b', '1.00000012'), ('y', 'a', 'c', '1.00000036')",
        )
        assert await unique(server.url(), table="t") == {("id",), ("a",), ("b",)}
