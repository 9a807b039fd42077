"""Catch-up runs of jobs in which several rows may make one item: who wins is what a fresh load would say."""

import asyncio
import copy
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import Decimal128
from pymongo import MongoClient

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

EMAIL = {
    "name": "Email",
    "key": {"PK": "EMAIL#{email}", "SK": "EMAIL"},
    "attributes": {"of": "{id}", "v": "{v}"},
    "delete_when": "gone",
}


@pytest.fixture
def command(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    sql = (
        "CREATE TABLE t (id int PRIMARY KEY, email text, v text, gone bool NOT NULL DEFAULT false,"
        " updated_at timestamptz NOT NULL DEFAULT now())",
        "INSERT INTO t SELECT n, 'x' || (n + 1) / 2, 'first', false, timestamptz '2024-01-01Z'"
        " FROM generate_series(1, 200) n",
    )
    asyncio.run(execute(postgres_url, *sql))
    source = {"watermark": "updated_at"}
    return Command(
        tmp_path, loads.job(postgres_url, dynoxide, table_name, source=source, items=[copy.deepcopy(EMAIL)])
    )


def change(command: Command, *statements: str) -> None:
    asyncio.run(execute(command.job["source"]["url"], *statements))


def run(command: Command, kind: str, code: int = 0) -> dict[str, Any]:
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == code, ended.stderr
    loads.assert_balanced(ended.report)
    assert ended.report["kind"] == kind
    return ended.report


def owners(command: Command) -> dict[str, str]:
    """Return whose item each e-mail's is, by the e-mail."""
    target = command.job["target"]
    items = loads.items(target["endpoint_url"], target["table"])
    return {place.partition("|")[0][6:]: str(item["of"]["N"]) for place, item in items.items()}


def assert_whole(command: Command) -> None:
    """Have everything verified."""
    ended = command.here("verify", "--full", "--json")
    assert ended.code == 0, (ended.stdout, ended.stderr)
    assert ended.report["consistency_percent"] == 100


def test_a_changed_row_takes_no_item_from_the_row_that_wins(command: Command) -> None:
    run(command, "full")
    assert owners(command)["x1"] == "2"
    change(command, "UPDATE t SET v = 'new', updated_at = now() WHERE id % 2 = 1")
    run(command, "catch_up")
    assert owners(command) == {f"x{n}": str(2 * n) for n in range(1, 101)}
    assert_whole(command)


def test_the_last_row_in_key_order_wins_when_it_is_deleted_too(command: Command) -> None:
    run(command, "full")
    change(
        command,
        "UPDATE t SET gone = true, updated_at = now() WHERE id % 4 = 1",  # loses against a row that is there
        "UPDATE t SET gone = true, updated_at = now() WHERE id % 4 = 0",  # wins
    )
    run(command, "catch_up")
    assert owners(command) == {f"x{n}": str(2 * n) for n in range(1, 101, 2)}
    assert_whole(command)


def test_rows_of_a_key_that_nobody_touched_are_not_written(command: Command) -> None:
    run(command, "full")
    change(command, "UPDATE t SET v = 'new', updated_at = now() WHERE id = 1")
    report = run(command, "catch_up")
    assert (report["items_emitted"], report["rows_read"]) == (2, 2)
    assert report["items_written"] + report["items_coalesced"] == 2


def test_a_rows_dead_letter_is_told_only_when_the_row_changed(command: Command) -> None:
    """Row 3 shares what row 4 changed, and can't be written itself: that was told by the full run."""
    command.job["items"][0]["attributes"]["n"] = {"value": "{v}", "as": "N"}
    change(command, "UPDATE t SET v = '1'", "UPDATE t SET v = 'no number' WHERE id IN (3, 8)")
    run(command, "full", code=3)
    assert owners(command)["x4"] == "7"
    change(command, "UPDATE t SET v = '2', updated_at = now() WHERE id = 4")
    assert (
        run(command, "catch_up", code=3)["items_dead_lettered"] == 0
    )  # those of the full run are still open
    assert owners(command)["x2"] == "4"


def test_where_the_winner_cannot_be_written_any_more_the_other_row_is(command: Command) -> None:
    command.job["items"][0]["attributes"]["n"] = {"value": "{v}", "as": "N"}
    change(command, "UPDATE t SET v = '1'")
    run(command, "full")
    change(command, "UPDATE t SET v = 'no number', updated_at = now() WHERE id = 4")
    assert run(command, "catch_up", code=3)["items_dead_lettered"] == 1
    assert owners(command)["x2"] == "3"
    assert_whole(command)


def test_a_plan_says_what_catch_up_runs_read_besides(command: Command) -> None:
    warnings = "\n".join(command.here("plan", "--json").report["warnings"])
    assert "the rows that share email with a changed one, too." in warnings
    assert "No index of t begins with email" in warnings
    command.job["items"][0]["key"]["PK"] = "{updated_at:%Y}"
    assert "can't catch up" in "\n".join(command.here("plan", "--json").report["warnings"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"items": [EMAIL, EMAIL | {"name": "Other"}]}, "Email and Other"),
        ({"items": [EMAIL | {"key": {"PK": "{updated_at:%Y}", "SK": "E"}}]}, "doesn't tell a column"),
    ],
)
def test_where_nobody_can_tell_who_else_makes_a_key_nothing_is_caught_up(
    command: Command, changes: dict[str, Any], named: str
) -> None:
    command.job.update(changes)
    full = command.here("run", "--json")
    assert full.code == 0
    assert "can't catch up" in full.stderr
    before = owners(command)
    change(command, "UPDATE t SET v = 'new', updated_at = now() WHERE id = 1")
    ended = command.here("run", "--json")
    assert ended.code == 2
    assert named in ended.report["error"]
    assert "--fresh" in ended.report["error"]
    assert owners(command) == before
    assert command.here("run", "--json", "--fresh").code == 0


@pytest.fixture
def documents(mongodb_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    source = {"type": "mongodb", "url": mongodb_url, "database": table_name.replace("-", "_")}
    source |= {"collection": "c", "watermark": "at"}
    rule = EMAIL | {"attributes": {"of": "{_id}", "v": "{v}"}, "delete_when": "gone = 'true'"}
    job = loads.job("", dynoxide, table_name, items=[rule]) | {"source": source}
    command = Command(tmp_path, job)
    long_ago = datetime(2024, 1, 1, tzinfo=UTC)
    # 1 and "1" print alike, and so do 1.0 and a Decimal128.
    emails = [(n, str(n), float(n), Decimal128(f"{n}.00"))[n % 4] for n in range(100)]
    documents = [
        {"_id": n, "email": emails[n // 2] if n % 2 else str(n // 2), "v": "a", "gone": False, "at": long_ago}
        for n in range(200)
    ]
    with collection(command) as found:
        found.insert_many(documents)
    return command


@contextmanager
def collection(command: Command) -> Iterator[Any]:
    source = command.job["source"]
    with MongoClient[dict[str, Any]](source["url"]) as client:
        yield client[source["database"]][source["collection"]]


def touch(command: Command, where: dict[str, Any], **changes: Any) -> None:
    now = datetime.now(UTC) + timedelta(seconds=1)
    with collection(command) as found:
        found.update_many(where, {"$set": {"at": now, **changes}})


def test_a_changed_document_takes_no_item_from_the_one_that_wins(documents: Command) -> None:
    run(documents, "full")
    assert owners(documents) == {str(n): str(2 * n + 1) for n in range(100)}
    touch(documents, {"_id": {"$mod": [2, 0]}}, v="new")
    run(documents, "catch_up")
    assert owners(documents) == {str(n): str(2 * n + 1) for n in range(100)}
    assert_whole(documents)


def test_documents_that_win_are_deleted_and_others_not(documents: Command) -> None:
    run(documents, "full")
    touch(documents, {"_id": {"$mod": [4, 0]}}, gone=True)
    touch(documents, {"_id": {"$mod": [4, 3]}}, gone=True)
    run(documents, "catch_up")
    assert owners(documents) == {str(n): str(2 * n + 1) for n in range(0, 100, 2)}
    assert_whole(documents)
