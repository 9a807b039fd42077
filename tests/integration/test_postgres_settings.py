"""Whatever a URL, its options, a role or a database sets, the same values and the same rows are read."""

import asyncio
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from connectors.postgres.session import abandon, begin, connect
from connectors.postgres.settings import SETTINGS
from connectors.postgres.starter import look_at
from engine.errors import JobError
from tests.support import loads, pg
from tests.support.command import Command

HOSTILE = {
    "client_encoding": "latin1",
    "DateStyle": "Postgres, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "xmloption": "document",
    "xmlbinary": "hex",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "escape_string_warning": "on",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "row_security": "on",
    "gin_fuzzy_search_limit": "3",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "default_transaction_read_only": "on",
    "statement_timeout": "5000",
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "5000",
    "tcp_user_timeout": "5000",
    "session_replication_role": "replica",
    "lc_numeric": "C",
    "client_min_messages": "debug5",
    "plan_cache_mode": "force_generic_plan",
    "constraint_exclusion": "on",
    "default_text_search_config": "simple",
    "enable_seqscan": "off",
}
"""What may change what a value prints or what a statement gives, set to what it is least expected to be."""

TABLE = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS ("when" date, "how long" interval);
CREATE TABLE t (id int PRIMARY KEY, latin text, day date, ts timestamp, tz timestamptz, span interval,
    f4 real, f8 float8, raw bytea, raws bytea[], texts text[], words text[], days date[], moods mood[],
    pairs pair[], pair pair, r tstzrange, b bit(3), net inet, j jsonb, tt timetz, n numeric);
INSERT INTO t SELECT n, 'Ã©', '2024-02-01', '2024-02-01 10:00', '2024-02-01 10:00+02', '1 mon -2 days 03:04',
    0.1, 1e-7 / 3, '\\xff00'::bytea, ARRAY['\\x00ff'::bytea], ARRAY['NULL', NULL, 'a\\b'], ARRAY['w'],
    ARRAY['0044-03-15 BC'::date], '{sad,ok}', ARRAY[ROW('2024-02-01', '1 day -1 sec')::pair],
    ROW('infinity', '-1 mon')::pair, '[2024-02-01,infinity)', B'101', '10.0.0.1/8', '{"a": 1.10}',
    '10:00+05:30', 'NaN' FROM generate_series(1, 500) AS n;
CREATE INDEX ON t USING gin (words);
CREATE VIEW v AS SELECT id, day::text AS day, f8::text AS f8, raw::text AS raw, span::text AS span,
    tz::text AS tz, quote_ident('a') AS q FROM t;
"""
READS = (
    {"table": "t", "where": "id < 9"},
    {
        "table": "t",
        "where": r"texts[3] = 'a\b' AND (id = NULL) IS NULL AND tz = '2024-02-01 08:00' AND id < 9",
    },
    {"table": "t", "where": "words @> ARRAY['w']", "columns": ["id"]},
    {"query": "SELECT * FROM v WHERE id < 9", "key": ["id"]},
    {"table": "t", "where": "id < 9", "key": ["tz", "day", "raw", "span", "f8", "id"], "segments": 3},
    {"table": "t", "columns": ["id"], "where": "id < 3", "embed": {"c": {"table": "t", "on": {"id": "id"}}}},
)


def by_parameters(url: str) -> str:
    """Return the URL with every hostile setting in its query."""
    sign = "&" if "?" in url else "?"
    return url + sign + "&".join(f"{name}={quote(value)}" for name, value in HOSTILE.items())


def by_options(url: str) -> str:
    """Return the URL with every hostile setting in `options`."""
    said = " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in HOSTILE.items())
    return f"{url}{'&' if '?' in url else '?'}options={quote(said)}"


async def everything(url: str) -> list[object]:
    """Read all that READS names, and what `init` sees."""
    found: list[object] = [await pg.read_all(url, 3, **section) for section in READS]
    return [*found, await look_at(url, "t")]


async def in_force(url: str) -> dict[str, str]:
    """Return what the settings are while something is read."""
    connection = await connect(url)
    try:
        await begin(connection, None)
        return {name: await connection.fetchval(f"SHOW {name}") for name in SETTINGS}
    finally:
        await abandon(connection)


@pytest.mark.parametrize("way", ["parameters", "options", "role", "database", "environment"])
async def test_settings_from_outside_change_no_value(
    postgres_url: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pg.execute(postgres_url, TABLE)
    calm = await everything(postgres_url)
    assert calm[0][0]["latin"] == "Ã©", "what the row holds"  # type: ignore[index]
    assert len(calm[2]) == 500  # type: ignore[arg-type]
    ordinary = await in_force(postgres_url)
    url = postgres_url
    role = f"hostile_{postgres_url.rsplit('/t_')[1][:12]}"
    match way:
        case "parameters":
            url = by_parameters(postgres_url)
        case "options":
            url = by_options(postgres_url)
        case "environment":
            monkeypatch.setenv("PGCLIENTENCODING", "latin1")
            monkeypatch.setenv("PGTZ", "Asia/Kathmandu")
            monkeypatch.setenv("PGDATESTYLE", "Postgres, DMY")
            monkeypatch.setenv("PGOPTIONS", " ".join(f"-c {k}={v}" for k, v in HOSTILE.items()))
        case "database":
            name = urlsplit(postgres_url).path.removeprefix("/")
            await pg.execute(
                postgres_url, *(f"ALTER DATABASE {name} SET {k} = {v!r}" for k, v in HOSTILE.items())
            )
        case "role":
            await pg.execute(
                postgres_url, f"CREATE ROLE {role} SUPERUSER LOGIN",
                *(f"ALTER ROLE {role} SET {k} = {v!r}" for k, v in HOSTILE.items()),
            )  # fmt: skip
            url = postgres_url.replace("postgres@", f"{role}@")
    try:
        assert await everything(url) == calm
        assert await in_force(url) == ordinary
    finally:
        if way == "role":
            await pg.execute(postgres_url, f"DROP ROLE {role}")


async def test_a_server_told_to_pass_over_damaged_pages_is_refused(postgres_url: str) -> None:
    await pg.execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)")
    sign = "&" if "?" in postgres_url else "?"
    with pytest.raises(JobError, match="zero_damaged_pages is on"):
        await pg.read_all(f"{postgres_url}{sign}zero_damaged_pages=on", table="t")


async def test_an_encoding_that_python_does_not_know_changes_nothing(postgres_url: str) -> None:
    await pg.execute(
        postgres_url, "CREATE TABLE t (id int PRIMARY KEY, x text)", "INSERT INTO t VALUES (1, 'é')"
    )
    sign = "&" if "?" in postgres_url else "?"
    assert await pg.read_all(f"{postgres_url}{sign}client_encoding=EUC_TW", table="t") == [
        {"id": "1", "x": "é"}
    ]


@pytest.mark.parametrize("level", ["NOTICE", "WARNING"])
def test_what_a_function_says_on_the_way_loses_no_row(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path, level: str
) -> None:
    """Of the rows that arrive together with such a message, asyncpg gives out those behind it."""
    says = f"$$BEGIN IF n = 99 THEN RAISE {level} 'nearly done'; END IF; RETURN true; END$$"
    statements = (
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t SELECT generate_series(1, 100)",
        f"CREATE FUNCTION says(n int) RETURNS bool LANGUAGE plpgsql AS {says}",
    )
    asyncio.run(pg.execute(postgres_url, *statements))
    loads.create_table(dynoxide, table_name)
    job = loads.job(postgres_url, dynoxide, table_name, source={"where": "says(id)"})
    done = Command(tmp_path, job).here("plan")
    assert done.code == 0, done.stderr
    assert "every row: 100 items" in done.stdout
