"""What catch-up runs go by besides a row's own watermark: children, clocks that lag, what a job gains."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

OLD = "timestamptz '2024-01-01Z'"
TABLES = (
    "CREATE TABLE t (id int PRIMARY KEY, v text, updated_at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE lines (order_id int, line int, q int, kind text, changed_at timestamptz NOT NULL"
    " DEFAULT now(), PRIMARY KEY (order_id, line))",
    "CREATE INDEX ON t (updated_at)",
    "CREATE INDEX ON lines (changed_at)",
    f"INSERT INTO t SELECT n, 'first', {OLD} FROM generate_series(1, 30) n",
    f"INSERT INTO lines SELECT n, 1, 1, 'sold', {OLD} FROM generate_series(1, 30) n",
)
EMBED = {"table": "lines", "on": {"order_id": "id"}, "columns": ["q"], "where": "kind = 'sold'"}


@pytest.fixture
def command(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(postgres_url, *TABLES))
    source = {"watermark": "updated_at", "embed": {"lines": EMBED}}
    return Command(tmp_path, loads.job(postgres_url, dynoxide, table_name, source=source))


def run(command: Command) -> dict[str, Any]:
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    loads.assert_balanced(ended.report)
    return ended.report


def sql(command: Command, *statements: str) -> None:
    asyncio.run(execute(command.job["source"]["url"], *statements))


def lines(command: Command, number: int) -> list[str]:
    target = command.job["target"]
    item = loads.items(target["endpoint_url"], target["table"])[f"ROW#{number}|ROW"]
    return [str(line["M"]["q"]["N"]) for line in item["lines"]["L"]]


def watch_children(command: Command) -> None:
    command.job["source"]["embed"] = {"lines": {**EMBED, "watermark": "changed_at"}}


def test_unseen_children_are_said_by_plan_run_and_report(command: Command) -> None:
    said = "Catch-up runs don't see that children of embed lines were changed, added or deleted"
    assert any(said in notice for notice in run(command)["notices"])
    planned = " ".join(command.here("plan").stdout.split())
    assert said in planned
    assert "changed within 60s before the last one's watermark, for clocks that lag" in planned
    sql(command, "UPDATE lines SET q = 2, changed_at = now() WHERE order_id = 7")
    later = run(command)
    assert any(said in notice for notice in later["notices"])
    assert lines(command, 7) == ["1"]


def test_a_childs_own_watermark_brings_its_parent(command: Command) -> None:
    watch_children(command)
    first = run(command)
    assert any("but not those that were deleted or given to another parent" in n for n in first["notices"])
    sql(
        command,
        "UPDATE lines SET q = 2, changed_at = now() WHERE order_id = 7",
        "INSERT INTO lines VALUES (8, 2, 5, 'sold')",
        "UPDATE lines SET kind = 'returned', changed_at = now() WHERE order_id = 9",
        "UPDATE t SET v = 'own' WHERE id = 10",  # not stamped: nothing tells
    )
    later = run(command)
    assert (later["kind"], later["rows_read"]) == ("catch_up", 3)
    assert (lines(command, 7), lines(command, 8), lines(command, 9)) == (["2"], ["1", "5"], [])


@pytest.mark.parametrize("runs", [0, 2])
def test_a_childs_watermark_that_is_gained_later_brings_what_changed_before(
    command: Command, runs: int
) -> None:
    """The job isn't refused, and runs that looked at parents alone don't hide what they couldn't see."""
    run(command)
    sql(command, "UPDATE lines SET q = 2, changed_at = now() WHERE order_id = 7")
    sql(command, f"UPDATE lines SET changed_at = {OLD} WHERE order_id <> 7")
    command.job["source"]["watermark"] = {"column": "updated_at", "overlap": "0s"}
    for _ in range(runs):
        assert run(command)["rows_read"] == 0
    command.job["source"]["embed"] = {
        "lines": {**EMBED, "watermark": {"column": "changed_at", "overlap": "0s"}}
    }
    assert run(command)["rows_read"] == 1
    assert lines(command, 7) == ["2"]
    assert run(command)["rows_read"] == 0


def test_a_watermark_that_is_gained_after_the_full_run_catches_up_with_all_since(command: Command) -> None:
    del command.job["source"]["watermark"]
    first = run(command)
    assert first["watermark"] == {"from": None, "to": None}
    sql(command, "UPDATE t SET v = 'second', updated_at = now() WHERE id = 7")
    assert run(command)["run_id"] == first["run_id"], "without a watermark nothing is done"
    command.job["source"]["watermark"] = "updated_at"
    later = run(command)
    assert (later["kind"], later["rows_read"]) == ("catch_up", 1)
    assert later["watermark"]["from"] is not None


@pytest.mark.parametrize(("overlap", "read"), [(None, 2), ("0s", 1), ("10m", 3)])
def test_rows_stamped_by_a_clock_that_lags_are_read(command: Command, overlap: str | None, read: int) -> None:
    if overlap is not None:
        command.job["source"]["watermark"] = {"column": "updated_at", "overlap": overlap}
    run(command)
    sql(
        command,
        "UPDATE t SET v = 'at once', updated_at = clock_timestamp() + interval '1 second' WHERE id = 1",
        "UPDATE t SET v = 'six', updated_at = clock_timestamp() - interval '40 seconds' WHERE id = 2",
        "UPDATE t SET v = 'late', updated_at = clock_timestamp() - interval '8 minutes' WHERE id = 3",
    )
    later = run(command)
    assert later["rows_read"] == read
    again = [notice for notice in later["notices"] if "source.watermark.overlap" in notice]
    counted = {1: [], 2: ["1 row that changed within 60s"], 3: ["2 rows that changed within 10m"]}[read]
    assert [notice[: len(said)] for notice, said in zip(again, counted, strict=True)] == counted


def test_a_view_says_what_a_watermark_doesnt_see_of_it(command: Command) -> None:
    sql(command, "CREATE VIEW w AS SELECT * FROM t")
    command.job["source"] |= {"table": "w", "key": ["id"], "embed": {}}
    assert any("in what it joins only where that changes updated_at" in n for n in run(command)["notices"])
