"""Keys that aren't proved apart: looked at first, then loaded side by side, as one cursor would."""

import asyncio
from typing import Any

import pytest

from tests.support import loads, pg
from tests.support.command import Command, Ended

ROWS = 3_000
"""Over six segments and batches of 200."""


@pytest.fixture
def load(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Any) -> Any:
    def make(*statements: str, **changes: Any) -> Command:
        loads.create_table(dynoxide, table_name)
        asyncio.run(pg.execute(postgres_url, *statements))
        source = {"batch_rows": 200, "segments": 6, **changes.pop("source", {})}
        return Command(tmp_path, loads.job(postgres_url, dynoxide, table_name, source=source, **changes))

    return make


def run(command: Command, *arguments: str, code: int = 0) -> Ended:
    ended = command.run("run", "--json", *arguments)
    assert ended.code == code, ended.stderr
    return ended


def texts(command: Command) -> dict[str, str]:
    target = command.job["target"]
    found = loads.items(target["endpoint_url"], target["table"])
    return {place: item["v"]["S"] for place, item in found.items()}


ITEMS = [{"name": "Last", "key": {"PK": "A#{account}", "SK": "LAST"}, "attributes": {"v": "{v}"}}]
TABLE = "CREATE TABLE t (id int PRIMARY KEY, account int NOT NULL, v text, gone bool DEFAULT false)"
ROWS_SQL = f"INSERT INTO t SELECT n, n * 7919 % 500, 'v' || n FROM generate_series(1, {ROWS}) n"


@pytest.mark.parametrize("workers", ["2", "1"])
def test_of_rows_with_one_item_key_the_last_wins(load: Any, workers: str) -> None:
    command = load(TABLE, ROWS_SQL, items=ITEMS)
    ended = run(command, "--workers", workers)
    assert texts(command) == {f"A#{n * 7919 % 500}|LAST": f"v{n}" for n in range(1, ROWS + 1)}
    loads.assert_balanced(ended.report)
    if workers == "1":
        assert "one ordered segment" in ended.stderr
        return
    assert "500 keys are made by several rows" in ended.stderr
    assert ended.report["segments"]["total"] == 6
    assert ended.report["items_written"] == 500
    assert ended.report["items_coalesced"] == ROWS - 500


def test_where_nothing_meets_all_is_loaded_side_by_side(load: Any) -> None:
    """Nothing can be read out of these keys, so the source can't be asked."""
    items = [{**ITEMS[0], "key": {"PK": "{v}{account}", "SK": "LAST"}}]
    command = load(
        TABLE, f"INSERT INTO t SELECT n, n, 'v' || n FROM generate_series(1, {ROWS}) n", items=items
    )
    ended = run(command, "--workers", "2")
    assert texts(command) == {f"v{n}{n}|LAST": f"v{n}" for n in range(1, ROWS + 1)}
    assert "looking at keys" in ended.stderr
    assert "no two rows make one key" in ended.stderr
    assert ended.report["segments"]["total"] == 6
    assert ended.report["items_coalesced"] == 0


def said(load: Any, rows: str) -> Command:
    return load(TABLE, f"INSERT INTO t {rows}", items=ITEMS, source={"unique": ["account"]})


def test_the_users_word_is_believed_and_checked(load: Any) -> None:
    command = said(load, f"SELECT n, n, 'v' || n FROM generate_series(1, {ROWS}) n")
    ended = run(command, "--workers", "2")
    assert "checked as items go by" in ended.stderr
    assert "looking at keys" not in ended.stderr
    assert ended.report["segments"]["total"] == 6
    assert texts(command) == {f"A#{n}|LAST": f"v{n}" for n in range(1, ROWS + 1)}


@pytest.mark.parametrize(("workers", "other"), [("2", 2_900), ("1", 2_900), ("1", 8)])
def test_a_broken_word_ends_the_run_with_the_two_rows(load: Any, workers: str, other: int) -> None:
    rows = f"SELECT n, CASE n WHEN {other} THEN 7 ELSE n END, 'v' || n FROM generate_series(1, {ROWS}) n"
    command = said(load, rows)
    ended = run(command, "--workers", workers, code=1)
    assert f"the rows id=7 and id={other} make one item, A#7 LAST" in ended.stderr
    assert "--fresh" in ended.stderr
    word = command.job["source"].pop("unique")
    again = command.here("run", "--json")
    assert again.code == 2
    assert "has found that the rows" in again.stderr, "the word is taken back, what was written isn't"
    command.job["source"]["unique"] = word
    mended = f"UPDATE t SET account = {other} WHERE id = {other}"
    asyncio.run(pg.execute(command.job["source"]["url"], mended))
    again = command.here("run", "--json")
    assert again.code == 2
    assert "--fresh" in again.stderr, "mending the rows mends no item of theirs"
    fresh = run(command, "--workers", workers, "--fresh")
    assert fresh.report["outcome"] == "complete"
    assert texts(command)["A#7|LAST"] == "v7"
