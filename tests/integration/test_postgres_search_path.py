"""A schema before pg_catalog: our SQL means what it says, and the job's own what its role sees."""

from urllib.parse import quote

from connectors.postgres.starter import look_at
from tests.support import pg
from tests.support.own_postgres import OwnPostgres
from tests.support.shadows import shadows

TABLES = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a int, m mood, t text);
CREATE TABLE t (id int, m mood, xs text[], ms mood[], p pair, ps pair[], j jsonb, js json[], b bytea,
    c char(4), tz timestamptz, s text NOT NULL UNIQUE, PRIMARY KEY (id, m));
INSERT INTO t SELECT n, CASE WHEN n % 2 = 0 THEN 'sad' ELSE 'ok' END::mood, '{a,NULL}', '{ok,sad}',
    ROW(n, 'ok', 'x')::pair, ARRAY[ROW(n, NULL, 'y')::pair], '{"k": [1]}', ARRAY['[2]'::json], '\\xff', 'c',
    '2024-01-01 10:00+00', 'row ' || n FROM generate_series(1, 300) AS n;
CREATE TABLE child (id int, n int, PRIMARY KEY (id, n));
INSERT INTO child SELECT n, 1 FROM generate_series(1, 300) AS n;
-- What the planner expects stays the same, whenever the server's own vacuum would come by.
ALTER TABLE t SET (autovacuum_enabled = off);
ALTER TABLE child SET (autovacuum_enabled = off);
ANALYZE t, child;
"""
READS = (
    {"table": "public.t"},
    {"table": "public.t", "key": ["m", "id"]},
    {"table": "public.t", "key": ["m"], "batch_rows": 50},
    {"table": "public.t", "key": ["b", "id"]},
    {
        "table": "public.t",
        "columns": ["id"],
        "embed": {"kids": {"table": "public.child", "on": {"id": "id"}}},
    },
    {"query": "SELECT id, m, xs, tz FROM public.t", "key": ["id"]},
)


def with_path(url: str, *schemas: str) -> str:
    """Return the URL of a role that looks for names in these schemas."""
    return f"{url}{'&' if '?' in url else '?'}search_path={quote(', '.join(schemas))}"


async def everything(url: str) -> list[object]:
    """Read all that READS names, and what plan, verify, redrive and init ask besides."""
    found: list[object] = [await pg.read_all(url, 3, **section) for section in READS]
    async with pg.opened(url, since="2024-01-01T10:00:00.5Z", table="public.t", watermark="tz") as source:
        assert source.watermark is not None
        found += [await pg.rows(source), source.identity, await source.rows_expected()]
        keys = await source.sample_keys(20, 7)
        found += [keys, [batch.rows.to_pylist() async for batch in source.rows_by_key(keys)]]
        found += [await source.count(60), await source.inspect(), source.notices]
        found += [sum([batch.rows.num_rows async for batch in source.sample(300, 300)])]
    return [*found, await look_at(url, "public.t")]


async def test_a_schema_before_pg_catalog_changes_no_value(postgres_url: str) -> None:
    await pg.execute(postgres_url, TABLES)
    calm = await everything(with_path(postgres_url, "pg_catalog"))
    await pg.execute(postgres_url, shadows("evil"))
    assert await everything(with_path(postgres_url, "evil", "pg_catalog")) == calm


async def test_what_the_job_says_means_what_the_role_sees(postgres_url: str) -> None:
    await pg.execute(
        postgres_url,
        "CREATE SCHEMA app",
        "CREATE TABLE app.t (id int PRIMARY KEY, s text)",
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO app.t VALUES (1, 'a')",
        "CREATE FUNCTION app.lower(text) RETURNS text LANGUAGE sql AS 'SELECT upper($1)'",
    )
    url = with_path(postgres_url, "app", "pg_catalog", "public")
    assert await pg.read_all(url, table="t", where="lower(s) = 'A'") == [{"id": "1", "s": "a"}]
    read = await pg.read_all(url, query="SELECT id, lower(s) AS s FROM t", key=["id"])
    assert read == [{"id": "1", "s": "A"}]
    assert await pg.ids(with_path(postgres_url, ""), table="app.t") == ["1"]


async def test_a_key_whose_type_the_path_does_not_find_is_compared_as_it_is_sorted(
    system_postgres: OwnPostgres,
) -> None:
    await pg.execute(
        system_postgres.url(),
        "CREATE SCHEMA ext",
        "CREATE EXTENSION citext SCHEMA ext",
        "CREATE TABLE words (w ext.citext, n int, PRIMARY KEY (n, w))",
        "INSERT INTO words SELECT chr(CASE WHEN i % 2 = 0 THEN 65 ELSE 97 END + i / 2 % 26) || i, i / 100"
        " FROM generate_series(0, 999) AS i",
    )
    everyone = await pg.ids(system_postgres.url(), query="SELECT w::text AS id, n FROM words", key=["id"])
    assert len(everyone) == 1000
    for key in (["w"], ["n", "w"], ["w", "n"]):
        async with pg.opened(system_postgres.url(), table="words", key=key) as source:
            assert sorted(row["w"] for row in await pg.rows(source, 7)) == sorted(everyone)
            keys = await source.sample_keys(30, 1)
            assert sum([batch.rows.num_rows async for batch in source.rows_by_key(keys)]) == 30
