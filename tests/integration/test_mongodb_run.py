"""Whole runs over a collection: every mode with `include: all`, catch-up, deletes, hooks, indexes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from bench import readback
from tests.support import loads
from tests.support.command import Command

HOSTILE = {"it's": 1, 'a"b': "x", "back\\slash": [1], "dotted.name": {"$d": None}, "ü": True, "v": 5}


class Case:
    """A collection, a table, and the command between them."""

    def __init__(self, url: str, database: str, endpoint: str, table: str, folder: Path) -> None:
        self.endpoint, self.table = endpoint, table
        self.collection = MongoClient(url)[database].c
        job = loads.job(url, endpoint, table)
        job["source"] = {"type": "mongodb", "url": url, "database": database, "collection": "c"}
        job["items"] = [{"name": "Doc", "key": {"PK": "D#{_id}", "SK": "D"}, "include": "all"}]
        self.command = Command(folder, job)

    @property
    def job(self) -> dict[str, Any]:
        return self.command.job

    def run(self, *arguments: str) -> Any:
        ended = self.command.here("run", "--json", "--workers", "1", *arguments)
        assert ended.code == 0, ended.stderr
        loads.assert_balanced(ended.report)
        return ended.report

    def items(self) -> dict[str, dict[str, Any]]:
        return {key[0]: item for key, item in readback.scan(self.endpoint, self.table).items()}


@pytest.fixture
def case(mongodb_url, database, dynoxide, table_name, tmp_path):
    loads.create_table(dynoxide, table_name)
    made = Case(mongodb_url, database, dynoxide, table_name, tmp_path)
    yield made
    made.collection.database.client.close()


def stored(number: int, **changes: Any) -> dict[str, Any]:
    plain = {"it's": Decimal(1), "back\\slash": [Decimal(1)], "v": Decimal(5)}
    return {"PK": f"D#{number}", "SK": "D", "_id": Decimal(number), **HOSTILE, **plain, **changes}


def test_insert_keeps_what_is_there(case):
    case.collection.insert_many([{"_id": 1, **HOSTILE}, {"_id": 2, **HOSTILE}, {"_id": 3}])
    case.job["target"]["mode"] = "insert"
    table = readback.client(case.endpoint).Table(case.table)
    table.put_item(Item={"PK": "D#2", "SK": "D", "mine": True})
    report = case.run()
    assert (report["items_written"], report["items_skipped"]) == (2, 1)
    assert case.items() == {
        "D#1": stored(1),
        "D#2": {"PK": "D#2", "SK": "D", "mine": True},
        "D#3": {"PK": "D#3", "SK": "D", "_id": Decimal(3)},
    }


def test_newer_compares_a_field_that_only_include_all_brings(case):
    case.collection.insert_many([{"_id": n, **HOSTILE} for n in (1, 2, 3)])
    case.job["target"] |= {"mode": "newer", "version": "v"}
    table = readback.client(case.endpoint).Table(case.table)
    table.put_item(Item={"PK": "D#1", "SK": "D", "v": 4})
    table.put_item(Item={"PK": "D#2", "SK": "D", "v": 6})
    report = case.run()
    assert (report["items_written"], report["items_skipped"]) == (2, 1)
    assert case.items() == {
        "D#1": stored(1),
        "D#2": {"PK": "D#2", "SK": "D", "v": Decimal(6)},
        "D#3": stored(3),
    }


def test_excluded_and_own_attributes_go_before_all_others(case):
    case.collection.insert_one({"_id": 1, "a": 1, "b": 2, "PK": "mine", "secret": "x", "c": {"d": 3}})
    (rule,) = case.job["items"]
    rule |= {"exclude": ["secret", "_id"], "attributes": {"a": "A{a}", "d": "{c.d}", "none": "{zzz}"}}
    case.run()
    assert case.items() == {
        "D#1": {"PK": "D#1", "SK": "D", "a": "A1", "b": Decimal(2), "c": {"d": Decimal(3)}, "d": Decimal(3)}
    }


def test_an_index_key_of_the_wrong_type_is_found_before_it_is_sent(case, tmp_path):
    case.collection.insert_many([{"_id": 1, "mail": "a"}, {"_id": 2, "mail": 5}, {"_id": 3}])
    case.job["target"] |= {
        "table": case.table + "-indexed",
        "create": {"billing": "on_demand", "gsi": [{"name": "ByMail", "partition_key": "mail"}]},
    }
    assert case.command.here("table create").code == 0
    ended = case.command.here("run", "--json", "--workers", "1")
    assert ended.code == 3, ended.stderr
    (letter,) = case.command.dead_letters()
    assert (letter["reason"], letter["source_key"], letter["item"]["mail"]) == (
        "key_type",
        {"_id": "2"},
        {"N": "5"},
    )


def test_catch_up_reads_changes_and_deletes(case):
    old = datetime.now(UTC) - timedelta(days=1)
    case.collection.insert_many([{"_id": n, "at": old, "n": n} for n in range(5)])
    case.job["source"]["watermark"] = "at"
    case.job["items"][0] |= {"delete_when": "gone IS NOT NULL", "exclude": ["at"]}
    assert case.run()["kind"] == "full"
    now = datetime.now(UTC)
    case.collection.update_one({"_id": 1}, {"$set": {"at": now, "n": 100}})
    case.collection.update_one({"_id": 2}, {"$set": {"at": now, "gone": True}})
    case.collection.insert_one({"_id": 9, "n": 9})  # has no time: it may be new
    report = case.run()
    assert (report["kind"], report["rows_read"], report["items_deleted"]) == ("catch_up", 3, 1)
    assert {key: item["n"] for key, item in case.items().items()} == {
        "D#0": 0,
        "D#1": 100,
        "D#3": 3,
        "D#4": 4,
        "D#9": 9,
    }


def test_a_watermark_that_is_gained_and_an_overlap_that_a_clock_needs(case):
    old = datetime.now(UTC) - timedelta(days=1)
    case.collection.insert_many([{"_id": n, "at": old, "n": n} for n in range(5)])
    assert case.run()["kind"] == "full"
    case.collection.update_one({"_id": 1}, {"$set": {"at": datetime.now(UTC), "n": 100}})
    late = datetime.now(UTC) - timedelta(minutes=8)
    case.collection.update_one({"_id": 2}, {"$set": {"at": late, "n": 200}})
    case.job["source"]["watermark"] = {"column": "at", "overlap": "10m"}
    report = case.run()
    assert (report["kind"], report["rows_read"]) == ("catch_up", 2)
    assert any("1 row that changed within 10m before" in notice for notice in report["notices"])


def test_a_view_says_what_a_watermark_doesnt_see_of_it(case):
    case.collection.insert_many([{"_id": n, "at": datetime.now(UTC)} for n in range(3)])
    case.collection.database.command("create", "joined", viewOn="c", pipeline=[])
    case.job["source"] |= {"collection": "joined", "watermark": "at"}
    assert any("($lookup, $unionWith) only where that" in notice for notice in case.run()["notices"])


def test_a_hook_sees_the_fields_that_rules_name(case, tmp_path):
    (tmp_path / "hooks_mongo.py").write_text(
        "import polars as pl\n"
        "def shout(rows):\n"
        "    return rows.with_columns(pl.col('name').str.to_uppercase(), loud=pl.lit(True))\n",
        encoding="utf-8",
    )
    case.collection.insert_many(
        [{"_id": 1, "name": "ana", "n": 1}, {"_id": 2, "name": 5, "n": [1]}, {"_id": 3}]
    )
    case.job["transform"] = "hooks_mongo:shout"
    names = ("name", "n", "loud")
    case.job["items"][0] |= {"include": "none", "attributes": {name: f"{{{name}}}" for name in names}}
    case.run()
    rest = {"SK": "D", "loud": True}
    assert case.items() == {
        "D#1": {"PK": "D#1", "name": "ANA", "n": Decimal(1)} | rest,
        "D#2": {"PK": "D#2", "name": Decimal(5), "n": [Decimal(1)]} | rest,
        "D#3": {"PK": "D#3"} | rest,
    }


def test_include_all_is_not_promised_behind_a_hook(case, tmp_path):
    (tmp_path / "hooks_none.py").write_text("def same(rows):\n    return rows\n", encoding="utf-8")
    case.collection.insert_one({"_id": 1})
    case.job["transform"] = "hooks_none:same"
    ended = case.command.here("run", "--json")
    assert ended.code == 2
    assert "items[0].include: `all` can't be promised behind transform" in ended.stderr


def test_two_documents_of_one_key_coalesce_to_the_later(case):
    case.collection.insert_many([{"_id": n, "name": f"u{n % 3}", "n": n} for n in range(300)])
    case.job["items"][0]["key"]["PK"] = "U#{name}"
    case.run("--workers", "2")
    assert {key: item["n"] for key, item in case.items().items()} == {"U#u0": 297, "U#u1": 298, "U#u2": 299}


def test_an_unreachable_server_is_one_sentence_without_secrets(case):
    case.job["source"]["url"] = "mongodb://user:sesame@127.0.0.1:1/?serverSelectionTimeoutMS=200"
    ended = case.command.run("run", "--json")
    assert ended.code == 1
    assert "sesame" not in ended.stderr + ended.stdout
    assert ended.stderr.count("\n") <= 2
