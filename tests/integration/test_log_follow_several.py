"""`run --follow` of a file with several jobs, of both sources: side by side in a process, until one ends."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.logged import followed, items, until
from tests.support.pg import execute
from tests.support.streamed import Streamed, streaming

NAMES = ("t", "u", "c")
POSITION = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{}'"


@pytest.fixture
def streamed(
    mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> Iterator[Streamed]:
    with streaming(mongodb_url, database, dynoxide, table_name, tmp_path) as made:
        yield made


@pytest.fixture
def command(streamed: Streamed, logged_database: str) -> Command:
    """Two tables and a collection, to one target."""
    asyncio.run(
        execute(
            logged_database,
            *(f"CREATE TABLE {name} (id int PRIMARY KEY, v text)" for name in "tu"),
            *(f"INSERT INTO {name} SELECT n, 'first' FROM generate_series(1, 50) n" for name in "tu"),
        )
    )
    document = streamed.command.job
    jobs: list[dict[str, Any]] = [
        {
            "name": name,
            "source": {
                "type": "postgres",
                "url": logged_database,
                "table": name,
                "catch_up": {"type": "log", "slot": f"follows_{name}"},
            },
            "items": [{"name": name, "key": {"PK": f"{name}#{{id}}", "SK": "R"}, "attributes": {"v": "{v}"}}],
        }
        for name in "tu"
    ]
    jobs.append({"name": "c", "source": document["source"], "items": document["items"]})
    return Command(streamed.command.folder, {"target": document["target"], "jobs": jobs})


def change(command: Command, *statements: str) -> None:
    asyncio.run(execute(command.job["jobs"][0]["source"]["url"], *statements))


def arrived(command: Command, streamed: Streamed, value: str, of_u: str = "u#50|R") -> None:
    """Change a row of each, and wait until all are in the target: then all that came before is, too."""
    change(command, *(f"UPDATE {name} SET v = '{value}' WHERE id = 50" for name in "tu"))
    streamed.collection.update_one({"_id": 50}, {"$set": {"v": value}})
    places = ("t#50|R", of_u, "D#50|D")

    def there() -> bool:
        found = items(command)
        return all(found.get(place, {}).get("v") == {"S": value} for place in places)

    until(there, f"{value} isn't there")


def test_each_has_its_full_run_and_then_all_are_followed_until_they_are_stopped(
    command: Command, streamed: Streamed
) -> None:
    assert command.here("run", "--only", "u", "--workers", "1").code == 0

    def scene(_: threading.Event) -> None:
        arrived(command, streamed, "once")
        change(command, "DELETE FROM t WHERE id = 1", "DELETE FROM u WHERE id < 3")
        streamed.collection.delete_many({"_id": {"$lt": 4}})
        arrived(command, streamed, "twice")
        assert len(items(command)) == 49 + 48 + 97
        # Behind a tick: what a metrics file says is at most ten seconds old.
        file = command.folder / "m.prom"
        until(
            lambda: all(
                f'segments{{job="{name}",state="running"}} 1.0' in file.read_text() for name in NAMES
            ),
            "",
        )

    ended = followed(command, scene, "--metrics-textfile", str(command.folder / "m.prom"))
    assert ended.code == 0, ended.stderr
    assert "may make the items of" not in ended.stderr
    reports = {report["job"]: report for report in ended.report["jobs"]}
    assert set(reports) == set(NAMES)
    for name, report in reports.items():
        assert (report["kind"], report["outcome"]) == ("catch_up", "complete"), name
        loads.assert_balanced(report)
        assert f"{name}: catch-up run" in ended.stderr
        assert (f"{name}: full run" in ended.stderr) == (name != "u"), "u had its own before"
    url = command.job["jobs"][0]["source"]["url"]
    for name in "tu":
        confirmed = asyncio.run(fetched(url, POSITION.format(f"follows_{name}")))
        assert confirmed == reports[name]["watermark"]["to"]
    told = command.here("status", "--json").report["jobs"]
    assert [each["catch_up_lag_s"] is not None for each in told] == [True] * 3
    again = command.here("run", "--json", "--workers", "1").report["jobs"]
    assert [report["rows_read"] for report in again] == [0, 0, 0]


async def fetched(url: str, sql: str) -> Any:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def test_one_that_fails_ends_the_others_with_all_that_they_have_read_written(
    command: Command, streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.postgres.feed.CHECK_S", 0.5)
    command.job["jobs"][1]["items"][0]["key"]["PK"] = "t#u{id}"
    assert command.here("run", "--workers", "1").code == 0

    def scene(over: threading.Event) -> None:
        arrived(command, streamed, "once", "t#u50|R")
        change(command, "ALTER PUBLICATION follows_u DROP TABLE u")
        until(over.is_set, "they go on")

    ended = followed(command, scene)
    assert ended.code == 1, ended.stderr
    outcomes = {report["job"]: report["outcome"] for report in ended.report["jobs"]}
    assert outcomes == {"t": "complete", "u": "failed", "c": "complete"}
    assert "u may make the items of t, too" in ended.stderr
    assert "u has ended, so all others stop" in ended.stderr
    assert 'has no "public"."u" any more' in ended.stderr


def test_one_that_cannot_be_followed_is_named_and_none_is(command: Command) -> None:
    del command.job["jobs"][1]["source"]["catch_up"]
    ended = command.here("run", "--json", "--follow")
    assert ended.code == 2
    assert ended.report["error"].startswith("u: --follow needs a job that goes by its source's log")
    assert not items(command)
