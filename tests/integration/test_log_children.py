"""Catch-up from PostgreSQL's log of items that embedded children make: those of children that are gone go."""

import asyncio
import json
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.logged import LOG, asked, change, followed, items, logs, parts_of, refused, run, until
from tests.support.pg import execute

TABLES = (
    "CREATE TABLE t (id int PRIMARY KEY, v text, other text)",
    "CREATE TABLE line (key int PRIMARY KEY, t_id bigint REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE,"
    " n text, amount int, shown bool NOT NULL DEFAULT true)",
    "CREATE INDEX ON line (t_id)",
    "INSERT INTO t SELECT n, 'first' FROM generate_series(1, 8) n",
    "INSERT INTO line SELECT n, (n + 1) / 2, 'n' || n % 2, n FROM generate_series(1, 16) n",
)
FULL = "ALTER TABLE line REPLICA IDENTITY FULL"
ROW = {"name": "Row", "key": {"PK": "ROW#{id}", "SK": "ROW"}, "attributes": {"v": "{v}"}}
LINE: dict[str, Any] = {
    "name": "Line",
    "for_each": "lines",
    "key": {"PK": "ROW#{id}", "SK": "LINE#{each.n}"},
    "attributes": {"amount": "{each.amount}", "v": "{v}"},
}
EMBED = {"table": "line", "on": {"t_id": "id"}, "where": "shown", "order_by": ["key"]}


@pytest.fixture
def command(logged_database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *TABLES))
    source = {"catch_up": LOG, "embed": {"lines": EMBED}}
    return Command(
        tmp_path, loads.job(logged_database, dynoxide, table_name, source=source, items=[ROW, LINE])
    )


def held(command: Command) -> dict[str, str]:
    """Return what each item says: of lines the amount, of rows their text."""
    return {
        place: str(next(iter(item.get("amount", item["v"]).values())))
        for place, item in items(command).items()
    }


def fresh(command: Command) -> dict[str, str]:
    """Return what rows and lines would make, by the test's own reckoning."""
    rows = json.loads(asyncio.run(asked(command, "SELECT coalesce(json_agg(t), '[]')::text FROM t")))
    sql = "SELECT coalesce(json_agg(line ORDER BY key), '[]')::text FROM line WHERE shown"
    lines = json.loads(asyncio.run(asked(command, sql)))
    found = {f"ROW#{row['id']}|ROW": row["v"] for row in rows}
    there = {row["id"] for row in rows}
    return found | {
        f"ROW#{line['t_id']}|LINE#{line['n']}": str(line["amount"]) for line in lines if line["t_id"] in there
    }


SCENES = (
    "DELETE FROM line WHERE key = 1",
    "UPDATE line SET n = 'other' WHERE key = 3",
    "UPDATE line SET t_id = 1, n = 'moved' WHERE key = 4",
    "UPDATE line SET shown = false WHERE key = 5",
    "DELETE FROM t WHERE id = 4",
    "BEGIN; UPDATE t SET id = 50 WHERE id = 5; DELETE FROM line WHERE key = 9; COMMIT",
    "BEGIN; INSERT INTO line VALUES (100, 6, 'for a moment', 1); DELETE FROM line WHERE key = 100; COMMIT",
    "UPDATE line SET t_id = NULL WHERE key = 12",
    "UPDATE line SET amount = 1300 WHERE key = 13",
    "INSERT INTO line VALUES (101, 7, 'n1', 1)",  # another one of that key is there
    "DELETE FROM line WHERE key = 101",
    "INSERT INTO line VALUES (102, 8, 'new', 2)",
    "UPDATE t SET v = 'second' WHERE id = 8",
)


@pytest.mark.parametrize("part_rows", [1_000, 1], ids=["one batch", "a batch for each change"])
def test_items_of_children_that_are_gone_go(
    command: Command, part_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts_of(monkeypatch, part_rows)
    change(command, FULL)
    run(command, "full")
    assert held(command) == fresh(command)
    change(command, *(statement for scene in SCENES for statement in scene.split("; ")))
    run(command, "catch_up")
    assert held(command) == fresh(command)
    assert {"ROW#1|LINE#n1", "ROW#4|LINE#n0", "ROW#5|LINE#n1", "ROW#5|ROW"}.isdisjoint(held(command))
    assert held(command)["ROW#7|LINE#n1"] == "1300"
    assert run(command, "catch_up")["items_emitted"] == 0


def test_children_that_are_gone_are_followed_by_their_items(command: Command) -> None:
    change(command, FULL)

    def scene(_: threading.Event) -> None:
        until(lambda: len(held(command)) == 24, "the full run")
        for scene in SCENES:
            change(command, *scene.split("; "))
        until(lambda: held(command) == fresh(command), "the items aren't those of a fresh load")
        change(command, "DELETE FROM line WHERE key > 8", "UPDATE line SET n = 'last' WHERE key = 7")
        until(lambda: held(command) == fresh(command), "the items aren't those of a fresh load")

    ended = followed(command, scene)
    assert ended.code == 0, ended.stderr
    loads.assert_balanced(ended.report)
    assert ended.report["items_deleted"] >= 10
    assert run(command, "catch_up")["items_emitted"] == 0


def test_children_without_a_constraint_lose_their_items_with_their_row(command: Command) -> None:
    change(command, FULL, "ALTER TABLE line DROP CONSTRAINT line_t_id_fkey")
    run(command, "full")
    change(
        command,
        "DELETE FROM t WHERE id = 1",
        "UPDATE t SET id = 20 WHERE id = 2",
        "DELETE FROM line WHERE key = 3",
        "BEGIN",
        "DELETE FROM t WHERE id = 3",
        "UPDATE line SET t_id = 4 WHERE t_id = 3",
        "COMMIT",
    )
    run(command, "catch_up")
    assert held(command) == fresh(command)
    assert not any(place.startswith(("ROW#1|", "ROW#2|", "ROW#3|")) for place in held(command))


def test_whatever_becomes_of_children_the_items_are_those_of_a_fresh_load(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(5)
    by_v = ROW | {"name": "V", "key": {"PK": "V#{v}", "SK": "V"}}  # several rows may make it
    command.job["items"] = [ROW, LINE, by_v]
    change(command, FULL, "ALTER TABLE t REPLICA IDENTITY FULL", "CREATE INDEX ON t (v)")
    run(command, "full")
    for part_rows in (1_000, 1, 3):
        parts_of(monkeypatch, part_rows)
        statements = ["BEGIN"]
        for _ in range(40):
            row, other, line = random.randint(1, 10), random.randint(1, 10), random.randint(1, 30)
            statements += random.choice(
                (
                    [f"DELETE FROM line WHERE key = {line}"],
                    [f"DELETE FROM t WHERE id = {row}"],
                    [f"INSERT INTO t VALUES ({row}, 'v{other % 3}') ON CONFLICT DO NOTHING"],
                    [
                        f"INSERT INTO line SELECT {line}, id, 'n{other % 3}', {random.randint(1, 99)} FROM t"
                        f" WHERE id = {row} ON CONFLICT DO NOTHING"
                    ],
                    [f"UPDATE line SET n = 'n{row % 3}', shown = {random.random() < 0.8} WHERE key = {line}"],
                    [f"UPDATE line SET t_id = (SELECT max(id) FROM t WHERE id < {row}) WHERE key = {line}"],
                    [f"UPDATE t SET v = 'v{other % 3}' WHERE id = {row}"],
                    [
                        f"UPDATE t SET id = {other} WHERE id = {row}"
                        f" AND NOT EXISTS (SELECT FROM t WHERE id = {other})"
                    ],
                    ["COMMIT", "BEGIN"],
                )
            )
        change(command, *statements, "COMMIT")
        run(command, "catch_up")
        text = "SELECT coalesce(json_object_agg('V#' || v || '|V', v), '{}')::text FROM t"
        assert held(command) == fresh(command) | json.loads(asyncio.run(asked(command, text)))


@pytest.mark.parametrize(
    ("rule", "embed", "said"),
    [
        ({"key": {"PK": "ROW#{id}", "SK": "{index}"}}, {}, "its place in the list"),
        ({"key": {"PK": "ROW#{id}", "SK": "{other}#{each.n}"}}, {}, "need other of a child's row"),
        ({}, {"on": {"n": "v"}}, "don't belong to their row by source.key (id)"),
        ({}, {"on": {"amount_": "id"}}, "may print in several ways"),
        ({}, {}, "the log doesn't tell t_id, n of rows of public.line that change or go"),
    ],
)
def test_what_a_child_that_is_gone_cannot_tell_is_refused(
    command: Command, rule: dict[str, Any], embed: dict[str, Any], said: str
) -> None:
    change(command, "ALTER TABLE line ADD amount_ numeric")
    command.job["items"] = [LINE | rule]
    command.job["source"]["embed"] = {"lines": EMBED | embed}
    assert said in refused(command)
    assert logs(command) == (0, 0)


def test_a_childs_old_row_takes_no_key_that_another_row_makes_of_the_same_columns(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The children come behind their row in the log, in batches of their own, and tell of its key alone."""
    parts_of(monkeypatch, 1)
    change(
        command,
        "CREATE TABLE p (house int, id int, v text, PRIMARY KEY (house, id))",
        "CREATE TABLE c (house int, p_id int, n int PRIMARY KEY,"
        " FOREIGN KEY (house, p_id) REFERENCES p ON DELETE CASCADE)",
        "ALTER TABLE c REPLICA IDENTITY FULL",
        "INSERT INTO p VALUES (1, 5, 'first'), (1, 6, 'first')",
        "INSERT INTO c VALUES (1, 6, 1), (1, 6, 2)",
    )
    command.job["source"] |= {
        "table": "p",
        "embed": {"cs": {"table": "c", "on": {"house": "house", "p_id": "id"}}},
    }
    command.job["items"] = [
        ROW | {"key": {"PK": "HOUSE#{house}", "SK": "HOUSE"}},
        LINE | {"for_each": "cs", "key": {"PK": "C#{house}", "SK": "{id}#{each.n}"}, "attributes": {}},
    ]
    run(command, "full")
    assert items(command).keys() == {"HOUSE#1|HOUSE", "C#1|6#1", "C#1|6#2"}
    change(command, "DELETE FROM p WHERE id = 6")
    run(command, "catch_up")
    assert items(command).keys() == {"HOUSE#1|HOUSE"}
