"""Catch-up from PostgreSQL's log in mode newer: no delete takes an item that is newer than its row was."""

import asyncio
from pathlib import Path

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.logged import LOG, change, items, refused, run
from tests.support.pg import execute

TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, k text NOT NULL, v text, version int NOT NULL)",
    "INSERT INTO t SELECT n, 'k' || n, 'first', 1 FROM generate_series(1, 20) n",
)
RULE = {"name": "Row", "key": {"PK": "{k}", "SK": "ID#{id}"}, "include": "all"}


@pytest.fixture
def command(logged_database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *TABLE))
    target = {"mode": "newer", "version": "version"}
    changes = {"source": {"catch_up": LOG}, "target": target, "items": [RULE]}
    return Command(tmp_path, loads.job(logged_database, dynoxide, table_name, **changes))


def written_by_another(command: Command, place: str, version: int) -> None:
    """Be an application that writes the target itself."""
    partition, sort = place.split("|")
    item = {
        "PK": {"S": partition},
        "SK": {"S": sort},
        "v": {"S": "another's"},
        "version": {"N": str(version)},
    }
    target = command.job["target"]
    loads.client(target["endpoint_url"]).put_item(TableName=target["table"], Item=item)


def test_what_a_delete_may_take_is_told_by_versions(command: Command) -> None:
    change(command, "ALTER TABLE t REPLICA IDENTITY FULL")
    run(command, "full")
    for number in (1, 2, 3):
        written_by_another(command, f"k{number}|ID#{number}", 9)
    written_by_another(command, "k7|ID#7", 1)
    change(
        command,
        "DELETE FROM t WHERE id IN (1, 4)",
        "UPDATE t SET k = 'moved' || id, version = 2 WHERE id IN (2, 5)",
        "UPDATE t SET v = 'second', version = 2 WHERE id IN (3, 6)",
        "DELETE FROM t WHERE id = 7",
        "UPDATE t SET k = 'away', version = 2 WHERE id = 8",
        "UPDATE t SET k = 'k8', version = 3 WHERE id = 8",
        "UPDATE t SET v = 'unseen' WHERE id = 9",
        "UPDATE t SET k = 'still' WHERE id = 10",
    )
    report = run(command, "catch_up")
    found = {place: (item["v"]["S"], int(item["version"]["N"])) for place, item in items(command).items()}
    assert [found[f"k{n}|ID#{n}"] for n in (1, 2, 3)] == [("another's", 9)] * 3, "newer than what is gone"
    assert {"k4|ID#4", "k5|ID#5", "k7|ID#7", "away|ID#8", "k10|ID#10"}.isdisjoint(found)
    assert (found["moved2|ID#2"], found["moved5|ID#5"]) == (("first", 2), ("first", 2))
    assert (found["k6|ID#6"], found["k8|ID#8"]) == (("second", 2), ("first", 3))
    assert found["k9|ID#9"] == ("first", 1), "a row that changes without its version is not newer"
    assert found["still|ID#10"] == ("first", 1)
    assert report["items_skipped"] == 4
    again = run(command, "catch_up")
    assert again["items_emitted"] == 0


def test_the_identity_has_to_hold_the_version(command: Command) -> None:
    command.job["items"] = [{**RULE, "key": {"PK": "ID#{id}", "SK": "ROW"}}]
    said = refused(command)
    assert "doesn't tell id, version of rows of public.t" in said
    change(
        command,
        "CREATE UNIQUE INDEX covers ON t (id, version)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX covers",
    )
    run(command, "full")
    written_by_another(command, "ID#1|ROW", 9)
    change(command, "DELETE FROM t WHERE id IN (1, 2)", "UPDATE t SET version = 2, v = 'second' WHERE id = 3")
    run(command, "catch_up")
    found = items(command)
    assert "ID#1|ROW" in found
    assert "ID#2|ROW" not in found
    assert found["ID#3|ROW"]["v"]["S"] == "second"
