"""Rows that come late from another server, or from a refresh, are read by the next catch-up run."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from bench import servers
from tests.support import pg
from tests.support.own_postgres import PASSWORD, OwnPostgres

FAR = "CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL)"
NEAR = """
CREATE EXTENSION postgres_fdw;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname 'far');
CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'postgres', password '{password}');
CREATE FOREIGN TABLE far_t (id int NOT NULL, at timestamptz NOT NULL) SERVER far OPTIONS (table_name 't');
CREATE VIEW over AS SELECT * FROM far_t;
CREATE VIEW over_over AS SELECT o.id, o.at FROM over AS o LEFT JOIN (SELECT 1 AS one) AS x ON true;
CREATE TABLE parts (id int NOT NULL, at timestamptz NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE parts_near PARTITION OF parts FOR VALUES FROM (1000) TO (2000);
CREATE FOREIGN TABLE parts_far PARTITION OF parts FOR VALUES FROM (0) TO (1000) SERVER far
    OPTIONS (table_name 't');
CREATE TABLE parent (id int PRIMARY KEY, at timestamptz NOT NULL);
CREATE FOREIGN TABLE heir () INHERITS (parent) SERVER far OPTIONS (table_name 't');
CREATE TABLE near (id int PRIMARY KEY, at timestamptz NOT NULL);
CREATE MATERIALIZED VIEW stored AS SELECT * FROM near;
CREATE VIEW over_stored AS SELECT * FROM stored;
CREATE FUNCTION from_far() RETURNS SETOF far_t LANGUAGE sql STABLE AS 'SELECT * FROM far_t';
"""
FOREIGN: tuple[dict[str, Any], ...] = (
    {"table": "far_t"},
    {"table": "over"},
    {"table": "over_over"},
    {"table": "parts"},
    {"table": "parent"},
    {"query": "SELECT f.id, f.at FROM far_t AS f JOIN far_t AS g USING (id)"},
    {"query": "SELECT * FROM from_far()"},
    {"table": "near", "embed": {"far": {"table": "far_t", "on": {"id": "id"}}}},
)
SINCE = "2024-01-01T00:00:00.000000Z"


@pytest.fixture(scope="module")
def near(system_postgres: OwnPostgres) -> str:
    """URL of a database that sees tables of another one, `far`, through postgres_fdw."""
    server = system_postgres
    servers.execute(server.url(), "CREATE DATABASE far")
    servers.execute(server.url(database="far"), FAR)
    servers.execute(server.url(), NEAR.format(port=server.port, password=PASSWORD))
    return server.url()


@pytest.mark.parametrize("section", FOREIGN, ids=str)
async def test_the_watermark_does_not_pass_what_another_server_may_still_commit(
    near: str, section: dict[str, Any]
) -> None:
    async with pg.opened(near, SINCE, watermark="at", key=["id"], **section) as source:
        assert source.watermark == SINCE
        assert any(notice.startswith("Foreign table") for notice in source.notices), source.notices
    async with pg.opened(near, watermark="at", key=["id"], **section) as source:
        assert source.watermark is None
    async with pg.opened(near, key=["id"], **section) as source:
        assert not any(notice.startswith("Foreign table") for notice in source.notices)


@pytest.mark.parametrize("table", ["stored", "over_stored"])
async def test_nor_what_a_refresh_may_bring(near: str, table: str) -> None:
    async with pg.opened(near, SINCE, table=table, watermark="at", key=["id"]) as source:
        assert source.watermark == SINCE
        assert any(notice.startswith("Materialized view stored") for notice in source.notices)


async def test_it_goes_on_where_all_is_this_servers(near: str) -> None:
    async with pg.opened(near, SINCE, table="near", watermark="at") as source:
        assert source.watermark is not None
        assert source.watermark > SINCE
        assert not any("doesn't advance" in notice for notice in source.notices)
    where = "id >= 1000"
    async with pg.opened(near, SINCE, table="parts", where=where, watermark="at", key=["id"]) as source:
        assert source.watermark is not None
        assert source.watermark > SINCE, "the foreign partition isn't read"


async def test_a_late_commit_on_the_other_server_is_read_by_the_next_run(
    near: str, system_postgres: OwnPostgres
) -> None:
    late = await asyncpg.connect(system_postgres.url(database="far"))
    try:
        transaction = late.transaction()
        await transaction.start()
        await late.execute("INSERT INTO t VALUES (1, $1)", datetime.now(UTC))
        async with pg.opened(near, table="far_t", watermark="at", key=["id"]) as source:
            assert await pg.rows(source) == []
            watermark = source.watermark
        await transaction.commit()
        async with pg.opened(near, watermark, table="far_t", watermark="at", key=["id"]) as source:
            assert [row["id"] for row in await pg.rows(source)] == ["1"]
    finally:
        await late.close()
