"""Catch-up runs: every committed change arrives, however long its transaction was open."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support import loads
from tests.support.command import Command, Ended
from tests.support.pg import execute

TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, v text, deleted_at timestamptz, updated_at timestamptz NOT NULL"
    " DEFAULT now())",
    "CREATE INDEX ON t (updated_at)",
    "INSERT INTO t SELECT n, 'first', NULL, timestamptz '2024-01-01Z' FROM generate_series(1, 500) n",
)


class Session:
    """A database session that may stay in its transaction while a run goes on."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._connection: Any = self._loop.run_until_complete(asyncpg.connect(url))

    def execute(self, statement: str) -> None:
        self._loop.run_until_complete(self._connection.execute(statement))

    def close(self) -> None:
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()


@contextmanager
def session(url: str) -> Iterator[Session]:
    opened = Session(url)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def command(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(postgres_url, *TABLE))
    rule = {
        "name": "Row",
        "key": {"PK": "ROW#{id}", "SK": "ROW"},
        "attributes": {"v": "{v}"},
        "delete_when": "deleted_at IS NOT NULL",
    }
    source = {"watermark": "updated_at"}
    return Command(tmp_path, loads.job(postgres_url, dynoxide, table_name, source=source, items=[rule]))


def run(command: Command, *arguments: str, code: int = 0) -> dict[str, Any]:
    ended: Ended = command.here("run", "--json", "--workers", "1", *arguments)
    assert ended.code == code, ended.stderr
    loads.assert_balanced(ended.report)
    return ended.report


def values(command: Command) -> dict[int, str]:
    target = command.job["target"]
    items = loads.items(target["endpoint_url"], target["table"])
    return {int(place[4:].partition("|")[0]): item["v"]["S"] for place, item in items.items()}


def sql(command: Command, *statements: str) -> None:
    asyncio.run(execute(command.job["source"]["url"], *statements))


def test_changes_new_rows_and_deletes_are_caught_up_with_again_and_again(command: Command) -> None:
    full = run(command)
    assert (full["kind"], full["rows_read"], full["watermark"]["from"]) == ("full", 500, None)
    expected = dict.fromkeys(range(1, 501), "first")
    marks = [full["watermark"]["to"]]
    for turn in range(3):
        changed, new, gone = 10 + turn, 1000 + turn, 20 + turn
        sql(
            command,
            f"UPDATE t SET v = 'turn {turn}', updated_at = now() WHERE id = {changed}",
            f"INSERT INTO t VALUES ({new}, 'new')",
            f"UPDATE t SET deleted_at = now(), updated_at = now() WHERE id = {gone}",
        )
        expected |= {changed: f"turn {turn}", new: "new"}
        del expected[gone]
        report = run(command)
        assert (report["kind"], report["watermark"]["from"]) == ("catch_up", marks[-1])
        assert report["rows_read"] < 50
        assert report["items_deleted"] >= 1
        assert values(command) == expected
        marks.append(report["watermark"]["to"])
    assert marks == sorted(marks)
    assert run(command)["kind"] == "catch_up"
    assert values(command) == expected


@pytest.mark.parametrize("before", ["BEGIN", "BEGIN; SELECT 1"])
def test_a_transaction_open_during_the_run_is_caught_by_the_next(command: Command, before: str) -> None:
    url = command.job["source"]["url"]
    with session(url) as late:
        late.execute(f"{before}; SELECT now()")
        late.execute("UPDATE t SET v = 'late', updated_at = now() WHERE id = 7")
        sql(command, "UPDATE t SET v = 'early', updated_at = now() WHERE id = 8")
        run(command)
        assert values(command)[7] == "first"
        sql(command, "UPDATE t SET v = 'later', updated_at = now() WHERE id = 9")
        report = run(command)
        assert values(command)[9] == "later"
        assert values(command)[7] == "first"
        late.execute("COMMIT")
    assert run(command)["kind"] == "catch_up"
    assert values(command)[7] == "late"
    assert report["kind"] == "catch_up"


def test_a_transaction_that_only_read_so_far_is_caught_too(command: Command) -> None:
    url = command.job["source"]["url"]
    with session(url) as late:
        late.execute("BEGIN")
        late.execute("SELECT now()")
        run(command)
        sql(command, "INSERT INTO t VALUES (2000, 'between')")
        run(command)
        late.execute("INSERT INTO t VALUES (3000, 'late')")
        late.execute("COMMIT")
    run(command)
    assert {2000, 3000} <= values(command).keys()


def test_a_fresh_run_is_a_full_one_again(command: Command) -> None:
    run(command)
    sql(command, "DELETE FROM t WHERE id > 10")
    report = run(command, "--fresh")
    assert (report["kind"], report["rows_read"]) == ("full", 10)
    assert run(command)["kind"] == "catch_up"


def test_an_interrupted_catch_up_goes_on_from_where_it_began(command: Command) -> None:
    full = run(command)
    sql(command, "UPDATE t SET v = 'changed', updated_at = now()")
    endpoint = command.job["target"]["endpoint_url"]
    table = command.job["target"]["table"]
    # A row that can't be written ends a run with on_invalid: fail, in the middle.
    sql(command, "UPDATE t SET v = repeat('x', 500000) WHERE id = 400")
    command.job["options"] = {"on_invalid": "fail"}
    command.job["source"]["batch_rows"] = 50
    failed = command.here("run", "--json", "--workers", "1")
    assert failed.code == 1, failed.stderr
    assert failed.report["kind"] == "catch_up"
    sql(command, "UPDATE t SET v = 'mended' WHERE id = 400")
    report = run(command)
    assert (report["kind"], report["resumed"]) == ("catch_up", True)
    assert report["watermark"]["from"] == full["watermark"]["to"]
    assert set(values(command).values()) == {"changed", "mended"}
    assert loads.items(endpoint, table).keys() == {f"ROW#{n}|ROW" for n in range(1, 501)}


def test_a_role_that_cant_see_other_sessions_is_told_what_it_needs(
    command: Command, postgres_server: str
) -> None:
    role = f"reader_{os.getpid()}"
    url = command.job["source"]["url"]
    sql(command, f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON t TO {role}")
    try:
        command.job["source"]["url"] = url.replace("postgres@", f"{role}@")
        ended = command.here("run", "--json", "--workers", "1")
        command.job["source"]["url"] = url
        assert "pg_read_all_stats" in ended.stderr, ended
    finally:
        sql(command, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
