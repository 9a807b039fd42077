"""Rows that print alike are found together, whatever their types and whatever the server calls equal."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from connectors.postgres.source import PostgresSource
from engine.batch import Batch, Cursor, Segment
from engine.contracts.source import Sharing
from tests.support.colliding import POOLS
from tests.support.pg import execute, opened, rows

WHOLE = Segment(0, None, None, None)


async def ids(batches: AsyncGenerator[Batch, None]) -> list[int]:
    async with aclosing(batches) as found:
        return [int(row["id"]) async for batch in found for row in batch.rows.to_pylist()]


async def peers(source: PostgresSource, *by: Sequence[str], of: Sequence[int] | None = None) -> list[int]:
    """Return the ids of rows with their peers: of those with these ids, or of those that changed."""
    keys = None if of is None else tuple(Cursor((str(each),)) for each in of)
    return await ids(source.read_with_peers(Sharing(tuple(map(tuple, by)), keys), WHOLE, None))


@pytest.mark.parametrize("kind", sorted(POOLS))
async def test_all_that_print_alike_are_peers(postgres_url: str, kind: str) -> None:
    texts = [text for alike in POOLS[kind] for text in alike * 2]
    values = ", ".join(f"({number}, {text})" for number, text in enumerate(texts))
    mood = "CREATE TYPE mood AS ENUM ('good', 'bad')"
    await execute(postgres_url, mood, f"CREATE TABLE t (id int PRIMARY KEY, v {kind})")
    await execute(postgres_url, f"INSERT INTO t VALUES {values}")
    async with opened(postgres_url, table="t") as source:
        printed = {int(row["id"]): row["v"] for row in await rows(source)}
        for row, text in printed.items():
            found = await peers(source, ["v"], of=[row])
            assert found == sorted(found)
            assert {other for other, same in printed.items() if same == text} <= {*found}
            assert len(found) == len({*found})
            assert len(found) < len(printed) or kind == "interval"  # a month equals 30 days


CHANGING = (
    "CREATE TABLE t (id int PRIMARY KEY, region text, code text, live bool, at timestamptz)",
    "INSERT INTO t VALUES (1, 'a', 'x', true, '2024-01-01Z'), (2, 'a', 'y', true, '2024-06-01Z'),"
    " (3, 'b', 'y', true, '2024-01-01Z'), (4, 'a', 'y', true, '2024-01-01Z'),"
    " (5, NULL, 'y', true, '2024-06-01Z'), (6, NULL, 'z', true, '2024-01-01Z'),"
    " (7, 'a', 'y', false, '2024-01-01Z'), (8, 'c', 'y', true, NULL)",
)


async def test_those_that_changed_are_read_with_all_that_share_what_they_hold(postgres_url: str) -> None:
    await execute(postgres_url, *CHANGING)
    section = {"table": "t", "watermark": {"column": "at"}, "where": "live"}
    async with opened(postgres_url, since="2024-05-01T00:00:00Z", **section) as source:
        assert await ids(source.read(WHOLE, None)) == [2, 5, 8]
        assert await peers(source, ["region", "code"]) == [2, 4, 5, 8]
        assert await peers(source, ["region"]) == [1, 2, 4, 5, 8]
        assert await peers(source, ["region"], ["code"]) == [1, 2, 3, 4, 5, 8]
        # From a cursor on, as a run that was stopped goes on.
        behind = source.read_with_peers(Sharing((("region",),)), WHOLE, Cursor(("2",)))
        assert await ids(behind) == [4, 5, 8]


async def test_a_parent_whose_child_changed_has_peers_too(postgres_url: str) -> None:
    await execute(
        postgres_url,
        *CHANGING,
        "UPDATE t SET at = '2024-01-01Z'",
        "CREATE TABLE c (id int PRIMARY KEY, t int, at timestamptz)",
        "INSERT INTO c VALUES (1, 1, '2024-06-01Z'), (2, 3, '2024-01-01Z')",
    )
    section: dict[str, Any] = {"table": "t", "watermark": {"column": "at"}}
    section["embed"] = {"children": {"table": "c", "on": {"t": "id"}, "watermark": {"column": "at"}}}
    async with opened(postgres_url, since="2024-05-01T00:00:00Z", **section) as source:
        assert await peers(source, ["region"]) == [1, 2, 4, 7]


@pytest.mark.parametrize(
    "section",
    [
        {"query": "SELECT * FROM t", "key": ["id"]},
        {"query": "SELECT * FROM t", "key": ["code", "id"]},
        {"query": "SELECT * FROM t", "key": ["region"], "where": "region IS NOT NULL"},
        {"table": "keyless"},
    ],
    ids=["a query", "two columns", "a key that repeats", "no key"],
)
async def test_peers_are_found_in_whatever_can_be_read(postgres_url: str, section: dict[str, Any]) -> None:
    await execute(postgres_url, *CHANGING, "CREATE TABLE keyless AS SELECT * FROM t")
    section = section | {"watermark": {"column": "at"}}
    async with opened(postgres_url, since="2024-05-01T00:00:00Z", **section) as source:
        found = await ids(source.read_with_peers(Sharing((("region",),)), WHOLE, None))
        assert sorted(found) == ([1, 2, 4, 7, 8] if "where" in section else [1, 2, 4, 5, 7, 8])


async def test_an_index_that_begins_with_a_column_costs_nothing(postgres_url: str) -> None:
    await execute(postgres_url, *CHANGING, "CREATE INDEX ON t (region)")
    async with opened(postgres_url, table="t") as source:
        (said,) = await source.peers_cost(Sharing((("region",), ("code", "region"), ("code",))))
        assert "No index of t begins with code, so every catch-up run scans it" in said
