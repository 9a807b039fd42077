"""What is wrong with a job or its rights is said in one sentence, and secrets never are."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from engine.errors import BackfillError, JobError, TransientError
from tests.support.pg import execute, read_all

pytestmark = pytest.mark.asyncio


async def refusal(url: str, **section: Any) -> BackfillError:
    with pytest.raises(BackfillError) as caught:
        await read_all(url, **section)
    return caught.value


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"table": "missing"}, "source.table: there is no table missing"),
        ({"table": "a b c"}, "source.table"),
        ({"table": "t", "columns": ["naem"]}, "source.columns: t has no column naem; the nearest is name"),
        ({"table": "t", "key": ["naem"]}, "source.key: t has no column naem"),
        ({"table": "t", "key": ["doc"]}, "source.key: column doc is of type json"),
        ({"table": "t", "watermark": "x"}, "source.watermark: t has no column x"),
        ({"table": "t", "where": "nome = 1"}, 'source.where: column "nome" does not exist'),
        ({"table": "t", "where": "id = ("}, "source.where: syntax error"),
        ({"table": "t", "where": "id = 'one'"}, "source.where: invalid input syntax for type integer"),
        ({"table": "t", "where": "id = $1"}, "source.where: there is no parameter $1"),
        ({"table": "bare"}, "source.table: bare has no columns"),
        ({"query": "SELECT $1 AS id", "key": ["id"]}, "source.query: there is no parameter $1"),
        ({"query": "SELECT nextval('s') AS id", "key": ["id"]}, "cannot execute nextval() in a read-only"),
        (
            {"query": "WITH d AS (DELETE FROM t RETURNING id) SELECT * FROM d", "key": ["id"]},
            "source.query: WITH clause containing a data-modifying statement",
        ),
        ({"query": "SELECT 1 AS id; DROP TABLE t", "key": ["id"]}, "source.query"),
        ({"query": "SELECT 1 AS id, 2 AS id", "key": ["id"]}, "two columns are called id"),
        ({"query": "SELECT 1 AS id", "key": ["no"]}, "source.key: the query has no column no"),
    ],
)
async def test_what_the_job_names_wrongly_is_named(
    postgres_url: str, section: dict[str, Any], message: str
) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, name text, doc json)",
        "CREATE TABLE bare ()",
        "CREATE SEQUENCE s",
    )
    error = await refusal(postgres_url, **section)
    assert isinstance(error, JobError)
    assert message in str(error)
    assert "\n" not in str(error)


async def test_rights_that_are_missing_and_rows_that_a_policy_would_hide(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader')"
        " THEN CREATE ROLE reader LOGIN; END IF; END $$",
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1), (2)",
    )
    url = postgres_url.replace("postgres@", "reader@")
    error = await refusal(url, table="t")
    assert isinstance(error, JobError)
    assert "permission denied for table t" in str(error)
    assert "GRANT SELECT" in str(error)
    await execute(
        postgres_url,
        "GRANT SELECT ON t TO reader",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY one ON t USING (id = 1)",
    )
    error = await refusal(url, table="t")
    assert isinstance(error, JobError)
    assert "row-level security" in str(error)
    assert len(await read_all(postgres_url, table="t")) == 2


@pytest.mark.parametrize("state", ["0A000", "55000"])
async def test_a_server_that_tells_no_log_position_is_read_all_the_same(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Aurora refuses these functions on readers, and where wal_level isn't logical."""
    await execute(
        postgres_url,
        "CREATE FUNCTION public.position() RETURNS bigint LANGUAGE plpgsql AS"
        f" $$BEGIN RAISE 'not here' USING ERRCODE = '{state}'; END$$",
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1), (2)",
    )
    monkeypatch.setattr("connectors.postgres.watch.POSITION", "SELECT public.position()")
    assert len(await read_all(postgres_url, table="t")) == 2
    await execute(postgres_url, "ALTER TABLE t SET UNLOGGED")
    error = await refusal(postgres_url, table="t")
    assert isinstance(error, JobError)
    assert "public.t is UNLOGGED" in str(error)


async def test_a_server_that_is_not_there_may_come_back(unused_tcp_port: int) -> None:
    url = f"postgresql://me:s3cr3t@127.0.0.1:{unused_tcp_port}/db"
    error = await refusal(url, table="t")
    assert isinstance(error, TransientError)
    assert error.exit_code == 1
    assert f"127.0.0.1:{unused_tcp_port}" in str(error)
    assert "s3cr3t" not in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cr3t@localhost:54x32/db",
        "postgresql://me:s3cr3t@localhost/db?sslmode=perhaps",
        "postgresql://me:s3cr3t@[::1/db",
    ],
)
async def test_a_url_that_cannot_be_read_is_never_quoted(url: str) -> None:
    error = await refusal(url, table="t")
    seen: BaseException | None = error
    while seen is not None:
        assert "s3cr" not in str(seen)
        seen = seen.__cause__


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("sslmode=verify-full", "there is no file of authorities to check it by"),
        ("sslmode=verify-full&sslrootcert=missing.pem", "there is no file missing.pem, which sslrootcert"),
        ("channel_binding=require", 'unrecognized configuration parameter "channel_binding"; take it out'),
    ],
)
async def test_what_a_parameter_of_the_url_lacks_is_said(
    postgres_url: str, parameters: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    error = await refusal(f"{postgres_url}&{parameters}", table="t")
    assert isinstance(error, JobError)
    assert message in str(error)


async def test_an_unknown_database_or_role_is_the_jobs_fault(postgres_url: str) -> None:
    name = postgres_url.split("?")[0].rpartition("/")[2]
    error = await refusal(postgres_url.replace(name, "nowhere"), table="t")
    assert isinstance(error, JobError)
    assert "nowhere" in str(error)
    error = await refusal(postgres_url.replace("postgres@", "nobody@"), table="t")
    assert isinstance(error, JobError)


async def test_text_that_is_not_utf8_is_an_error_and_no_loss(postgres_url: str) -> None:
    name = postgres_url.split("?")[0].rpartition("/")[2]
    await execute(
        postgres_url,
        f"CREATE DATABASE {name}_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    url = postgres_url.replace(name, f"{name}_ascii")
    try:
        await execute(
            url,
            "CREATE TABLE t (id int PRIMARY KEY, fine text, bad text)",
            "INSERT INTO t VALUES (1, 'ok', 'ok')",
            "SET client_encoding = 'SQL_ASCII'; INSERT INTO t VALUES (2, 'ok', E'a\\xff')",
        )
        error = await refusal(url, table="t")
        assert error.exit_code == 1
        assert "column bad " in str(error)
    finally:
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(f"DROP DATABASE {name}_ascii WITH (FORCE)")
        await connection.close()
