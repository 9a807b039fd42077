"""A load under other keys leaves the old items there: that is said, counted, and mended on proof alone."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

ROWS = 40
OLD, NEW = {"PK": "OLD#{id}", "SK": "ROW"}, {"PK": "NEW#{id}", "SK": "ROW"}


@pytest.fixture
def command(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    rows = f"INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, {ROWS}) n"
    asyncio.run(execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY, v text)", rows))
    rule = {"name": "Row", "key": OLD, "include": "all", "attributes": {"Exact": 1.5, "Flag": True}}
    return Command(tmp_path, loads.job(postgres_url, dynoxide, table_name, items=[rule]))


def load(command: Command, key: dict[str, str], *arguments: str) -> str:
    command.job["items"][0]["key"] = key
    ended = command.here("run", "--json", "--workers", "1", *arguments)
    assert ended.code == 0, ended.stderr
    return ended.stderr


def verify(command: Command, *arguments: str, code: int) -> dict[str, Any]:
    ended = command.here("verify", "--full", "--json", *arguments)
    assert ended.code == code, ended.stderr
    return ended.report


def places(command: Command) -> set[str]:
    target = command.job["target"]
    return set(loads.items(target["endpoint_url"], target["table"]))


def test_what_stays_is_said_before_loading_and_counted_until_it_is_gone(command: Command) -> None:
    load(command, OLD)
    said = load(command, NEW, "--fresh")
    assert "Items of earlier keys stay in the table" in said
    assert f"Row (PK OLD#{{id}}, SK ROW); the last run wrote {ROWS} items" in said
    found = verify(command, code=4)
    assert (found["matched"], found["extra"], found["former_keys"]) == (ROWS, ROWS, ROWS)
    assert found["consistency_percent"] == 50.0
    load(command, NEW, "--fresh")
    assert verify(command, code=4)["former_keys"] == ROWS, "a later run doesn't forget them"
    gone = verify(command, "--repair", "--delete-extra", code=0)
    assert gone["deleted"] == ROWS
    assert places(command) == {f"NEW#{n}|ROW" for n in range(1, ROWS + 1)}
    assert verify(command, code=0)["former_keys"] == 0


def test_only_what_is_still_as_its_row_makes_it_is_removed(command: Command) -> None:
    load(command, OLD)
    load(command, NEW, "--fresh")
    target = command.job["target"]
    table = loads.client(target["endpoint_url"])

    def put(place: str, **attributes: Any) -> None:
        item = {"PK": {"S": place}, "SK": {"S": "ROW"}, **attributes}
        table.put_item(TableName=target["table"], Item=item)

    put("OLD#7", v={"S": "the application's"})  # it uses the old key for something else now
    put("OLD#1000", v={"S": "v1000"})  # no row at all
    put("OTHER#1")  # never a key of this job
    url = command.job["source"]["url"]
    asyncio.run(execute(url, "UPDATE t SET v = 'later' WHERE id = 8", "DELETE FROM t WHERE id = 9"))
    found = verify(command, "--repair", "--delete-extra", code=4)
    assert found["not_ours"] == 1
    left = {f"OLD#{n}|ROW" for n in (7, 8, 9, 1000)}
    assert {place for place in places(command) if place.startswith("OLD")} == left
    assert found["former_keys"] == ROWS + 1
    assert {place for place in places(command) if place.startswith("NEW#")} == {
        f"NEW#{n}|ROW" for n in range(1, ROWS + 1) if n != 9
    }
    assert "OTHER#1|ROW" in places(command)


def test_a_rule_that_is_gone_leaves_items_too(command: Command) -> None:
    rules = command.job["items"]
    rules.append({"name": "Other", "key": {"PK": "OTHER#{id}", "SK": "ROW"}})
    load(command, OLD)
    del rules[1]
    assert "Other (PK OTHER#{id}, SK ROW)" in load(command, OLD, "--fresh")
    assert verify(command, code=4)["former_keys"] == ROWS


def test_what_another_job_makes_now_is_its_own(command: Command) -> None:
    """One job is split in two: what the first one made the second one makes now, the same to the letter."""
    rules = command.job["items"]
    rules.append({"name": "Other", "key": {"PK": "OTHER#{id}", "SK": "ROW"}, "include": ["v"]})
    load(command, OLD)
    other = rules.pop()
    load(command, OLD, "--fresh")
    assert verify(command, code=4)["former_keys"] == ROWS
    second = Command(command.folder, {**command.job, "name": "second", "items": [other]})
    assert second.here("run", "--workers", "1").code == 0
    found = verify(command, "--repair", "--delete-extra", code=0)
    assert (found["former_keys"], found["not_ours"], found["deleted"]) == (0, ROWS, 0)
    assert len(places(command)) == 2 * ROWS


@pytest.mark.parametrize("mode", ["insert", "put"])
def test_keys_that_tell_no_row_and_items_that_may_be_others_stay(command: Command, mode: str) -> None:
    command.job["target"]["mode"] = mode
    key = {"PK": "OLD#{v}", "SK": "ROW"} if mode == "put" else OLD
    load(command, key)
    load(command, NEW, "--fresh")
    found = verify(command, "--repair", "--delete-extra", code=4)
    assert (found["former_keys"], found["deleted"]) == (ROWS, 0)
    assert len(places(command)) == 2 * ROWS


def test_a_table_that_was_made_anew_holds_nothing_old(command: Command) -> None:
    load(command, OLD)
    target = command.job["target"]
    loads.client(target["endpoint_url"]).delete_table(TableName=target["table"])
    command.job["target"]["table"] += "-b"
    loads.create_table(target["endpoint_url"], command.job["target"]["table"])
    assert "earlier keys" not in load(command, NEW, "--fresh")
    assert verify(command, code=0)["former_keys"] == 0


def test_a_secret_of_an_earlier_key_is_not_in_the_state_and_the_key_is_known_all_the_same(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "s3cr3t-t0ken-of-mine"
    monkeypatch.setenv("TOKEN", secret)
    command.job["source"]["where"] = "v <> '${TOKEN}'"
    command.job["items"][0]["attributes"]["Of"] = {"sql": "'${TOKEN}'"}
    load(command, {"PK": "${TOKEN}#{id}", "SK": "ROW"})
    said = load(command, NEW, "--fresh")
    assert "PK ${TOKEN}#{id}" in said.replace("{{", "{").replace("}}", "}")
    kept = [path for path in command.folder.rglob("*") if path.is_file()]
    assert any(path.name == "state.sqlite" for path in kept)
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []
    assert verify(command, code=4)["former_keys"] == ROWS
    monkeypatch.setenv("TOKEN", "another one of them")
    command.job["source"].pop("where")
    ended = command.here("verify", "--full", "--json")
    assert "held the value of ${TOKEN} aren't known" in ended.stderr
