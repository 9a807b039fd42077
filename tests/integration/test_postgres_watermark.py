"""The watermark: no committed change may fall between two runs."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest

from engine.errors import JobError
from tests.support.pg import execute, opened, rows

pytestmark = pytest.mark.asyncio

TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, updated_at timestamptz)",
    "INSERT INTO t SELECT n, '2020-01-01Z' FROM generate_series(1, 5) AS n",
)


async def catch_up(url: str, since: str, table: str = "t") -> list[str]:
    watermark = {"column": "updated_at", "overlap": "0s"}
    async with opened(url, since=since, table=table, watermark=watermark) as source:
        return [row["id"] for row in await rows(source)]


@pytest.mark.parametrize("wrote_before", [True, False])
async def test_a_transaction_that_commits_after_the_run_is_not_missed(
    postgres_url: str, wrote_before: bool
) -> None:
    await execute(postgres_url, *TABLE)
    late = await asyncpg.connect(postgres_url)
    transaction = late.transaction()
    await transaction.start()
    update = "UPDATE t SET updated_at = now() WHERE id = 3"
    await late.execute(update if wrote_before else "SELECT now()")
    await asyncio.sleep(0.1)
    async with opened(postgres_url, table="t", watermark="updated_at") as source:
        watermark = source.watermark
        await execute(postgres_url, "UPDATE t SET updated_at = now() WHERE id = 4")
        assert {row["updated_at"] for row in await rows(source)} == {"2020-01-01T00:00:00Z"}
    if not wrote_before:
        await late.execute(update)
    await transaction.commit()
    await late.close()
    assert watermark is not None
    assert await catch_up(postgres_url, watermark) == ["3", "4"]


async def test_with_nothing_open_the_watermark_is_the_servers_clock(postgres_url: str) -> None:
    await execute(postgres_url, *TABLE)
    async with opened(postgres_url, table="t", watermark="updated_at") as source:
        watermark = datetime.fromisoformat(source.watermark or "")
    assert abs((datetime.now(UTC) - watermark).total_seconds()) < 5
    assert await catch_up(postgres_url, watermark.isoformat()) == []


async def test_rows_without_a_watermark_are_always_read(postgres_url: str) -> None:
    await execute(postgres_url, *TABLE, "INSERT INTO t VALUES (9, NULL), (10, 'infinity')")
    assert await catch_up(postgres_url, "2021-01-01T00:00:00Z") == ["9", "10"]


async def test_local_times_and_dates_are_read_from_far_enough_back(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE local (id int PRIMARY KEY, updated_at timestamp)",
        "INSERT INTO local VALUES (1, '2024-01-10 11:00'), (2, '2024-01-10 12:30')",
        "CREATE TABLE day (id int PRIMARY KEY, updated_at date)",
        "INSERT INTO day VALUES (1, '2024-01-08'), (2, '2024-01-09'), (3, '2024-01-10')",
    )
    assert await catch_up(postgres_url, "2024-01-11T00:00:00Z", "local") == ["2"]
    assert await catch_up(postgres_url, "2024-01-11T00:00:00Z", "day") == ["2", "3"]


async def test_a_role_that_cannot_see_other_transactions_is_told_what_to_grant(postgres_url: str) -> None:
    await execute(
        postgres_url,
        *TABLE,
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'plain')"
        " THEN CREATE ROLE plain LOGIN; END IF; END $$",
        "GRANT SELECT ON t TO plain",
    )
    url = postgres_url.replace("postgres@", "plain@")
    with pytest.raises(JobError, match='GRANT pg_read_all_stats TO "plain"'):
        await catch_up(url, "2024-01-01T00:00:00Z")
    async with opened(url, table="t") as source:
        assert source.watermark is None
        assert len(await rows(source)) == 5
    await execute(postgres_url, "GRANT pg_read_all_stats TO plain")
    assert await catch_up(url, "2024-01-01T00:00:00Z") == []
    await execute(postgres_url, "REVOKE pg_read_all_stats FROM plain")


@pytest.mark.parametrize("type_", ["bigint", "text", "time"])
async def test_a_column_that_is_no_point_in_time_is_refused(postgres_url: str, type_: str) -> None:
    await execute(postgres_url, f"CREATE TABLE t (id int PRIMARY KEY, updated_at {type_})")
    with pytest.raises(JobError, match=r"source\.watermark: column updated_at"):
        await catch_up(postgres_url, "2024-01-01T00:00:00Z")


async def test_a_missing_index_is_mentioned(postgres_url: str) -> None:
    await execute(postgres_url, *TABLE)
    async with opened(postgres_url, table="t", watermark="updated_at") as source:
        assert any("No index begins with the watermark" in notice for notice in source.notices)
    await execute(postgres_url, "CREATE INDEX ON t (updated_at)")
    async with opened(postgres_url, table="t", watermark="updated_at") as source:
        assert source.notices == ()
