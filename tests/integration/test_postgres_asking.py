"""Asked of PostgreSQL: whether two rows share values, in the run's snapshot and for a bounded time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import loads, pg
from tests.support.command import Command

TABLE = "CREATE TABLE t (id int PRIMARY KEY, email text, region text, code int, amount numeric, body json)"
ROWS = (
    "INSERT INTO t SELECT n, CASE WHEN n % 3 > 0 THEN 'u' || n END, 'r' || n % 10, n / 10,"
    " (n / 2)::text::numeric, '{}' FROM generate_series(1, 2000) n"
)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([{"email"}], False),  # a third of them are null, and null makes no key
        ([{"region"}], True),
        ([{"region", "code"}], False),
        ([{"email"}, {"region"}], True),
        ([{"amount"}], True),
        ([{"body"}], None),
        ([set()], None),
        ([{"nobody"}], None),
    ],
)
async def test_whether_rows_share_values_is_told(
    postgres_url: str, sets: Sequence[set[str]], expected: bool | None
) -> None:
    await pg.execute(postgres_url, TABLE, ROWS)
    async with pg.opened(postgres_url, table="t") as source:
        assert await source.shared([frozenset(each) for each in sets], 60) is expected
        await pg.execute(postgres_url, "INSERT INTO t VALUES (0, 'u1')")
        assert await source.shared([frozenset({"email"})], 60) is False, "it is asked of the run's snapshot"


async def test_numbers_that_print_differently_count_as_equal(postgres_url: str) -> None:
    await pg.execute(postgres_url, TABLE, "INSERT INTO t (id, amount) VALUES (1, 1.0), (2, 1.00)")
    async with pg.opened(postgres_url, table="t") as source:
        assert await source.shared([frozenset({"amount"})], 60) is True


async def test_values_that_print_alike_are_shared_whatever_equality_says(postgres_url: str) -> None:
    """Two functions of one name are two values, and one text."""
    await pg.execute(
        postgres_url,
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TABLE t (id int PRIMARY KEY, fn regproc)",
        "INSERT INTO t SELECT row_number() OVER (), oid FROM pg_proc WHERE proname = 'f'",
    )
    async with pg.opened(postgres_url, table="t") as source:
        assert {row["fn"] for row in await pg.rows(source)} == {"public.f"}
        assert await source.shared([frozenset({"fn"})], 60) is True


async def test_a_question_that_takes_too_long_is_given_up(postgres_url: str) -> None:
    await pg.execute(postgres_url, TABLE, ROWS.replace("2000", "100000"))
    async with pg.opened(postgres_url, table="t") as source:
        assert await source.shared([frozenset({"email"})], 0.001) is None
        assert len(await source.segments(1)) == 1, "the source is as it was"


def asked(url: str, endpoint: str, table: str, folder: Path, **source: Any) -> Command:
    loads.create_table(endpoint, table)
    items = [{"name": "User", "key": {"PK": "U#{email}", "SK": "U"}, "attributes": {"n": "{id}"}}]
    return Command(folder, loads.job(url, endpoint, table, source={"segments": 4, **source}, items=items))


async def test_a_run_whose_rows_share_nothing_goes_on_side_by_side(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    await pg.execute(postgres_url, TABLE, ROWS)
    command = asked(postgres_url, dynoxide, table_name, tmp_path, where="email IS NOT NULL")
    ended = command.run("run", "--json", "--workers", "2")
    assert ended.code == 0, ended.stderr
    assert "no two rows share email" in ended.stderr
    assert "looking at keys" not in ended.stderr
    assert ended.report["segments"]["total"] == 4
    assert len(loads.items(dynoxide, table_name)) == ended.report["items_written"] > 1_000
