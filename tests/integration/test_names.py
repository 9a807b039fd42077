"""Names that mean something to a library or to SQL, from a real source to a real target and back."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from bench import readback
from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

NAMES = (
    *("^v.*$", "*", "^.*$", "^$", "^[$", "value", "{}", "{0}", "a{b}", "a'b", "%s", "$1", ":x"),
    *("row", "delete", "flaw", "each", "index", "__row_", "s", "select", "ü\n\t", "a.b", "-- x", "name.*"),
)
"""Patterns to Polars and what they would match; marks of formats, parameters and statements; inner words."""

PATTERN = "^v+$"
"""One without a dot, which begins a path in MongoDB."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def verified(command: Command) -> None:
    ended = command.here("verify", "--full", "--json")
    assert ended.code == 0, ended.stderr


def test_columns_children_fields_and_sql(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    columns = ", ".join(f"{quoted(name)} text" for name in (*NAMES, 'q"q'))
    values = ", ".join("'" + name.replace("'", "''") + "!'" for name in (*NAMES, 'q"q'))
    some = ", ".join(f"{quoted(name)} text" for name in NAMES[:6])
    told = ", ".join("'" + name + "!'" for name in NAMES[:6])
    asyncio.run(
        execute(
            postgres_url,
            f"CREATE TYPE pair AS ({some})",
            f"CREATE TABLE t (id int PRIMARY KEY, pair pair, pairs pair[], {columns})",
            f"INSERT INTO t VALUES (1, ROW({told}), ARRAY[ROW({told})::pair], {values})",
            f'CREATE TABLE child ("^id$" int, {some})',
            f"INSERT INTO child VALUES (1, {told})",
        )
    )
    loads.create_table(dynoxide, table_name)
    rules: list[dict[str, Any]] = [
        {"name": "Row", "key": {"PK": "ROW#{id}", "SK": "ROW"}, "include": "all"},
        {
            "name": "Each",
            "for_each": "pairs",
            "key": {"PK": "ROW#{id}", "SK": "{each.^v.*$}"},
            "attributes": {
                "*": "{each.*}",
                "sql": {"sql": 'upper("^v.*$") || "*"'},
                "f": "{pair.^.*$}",
                "of row": '{"each"}{"index"}{index}',
            },
        },
    ]
    source = {"embed": {"^kids$": {"table": "child", "on": {"^id$": "id"}, "columns": list(NAMES[:6])}}}
    command = Command(tmp_path, loads.job(postgres_url, dynoxide, table_name, source=source, items=rules))
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    pair = {name: f"{name}!" for name in NAMES[:6]}
    found = readback.scan(dynoxide, table_name)
    assert found["ROW#1", "ROW"] == {
        "PK": "ROW#1",
        "SK": "ROW",
        "id": 1,
        "pair": pair,
        "pairs": [pair],
        "^kids$": [pair],
        **{name: f"{name}!" for name in (*NAMES, 'q"q')},
    }
    assert found["ROW#1", "^v.*$!"] == {
        "PK": "ROW#1",
        "SK": "^v.*$!",
        "*": "*!",
        "sql": "^V.*$!*!",
        "f": "^.*$!",
        "of row": "each!index!0",
    }
    verified(command)


@pytest.mark.parametrize("include", ["all", "named"])
def test_fields_of_documents(
    include: str, mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    names = ["vv", *(name for name in NAMES if "." not in name and name != "$1"), PATTERN]
    inner = {name: f"{name}?" for name in names}
    with MongoClient(mongodb_url) as client:
        client[database].c.insert_one({"_id": 1, "doc": inner, "list": [inner], **inner})
    loads.create_table(dynoxide, table_name)
    named = [PATTERN, "*", "vv"]
    job = loads.job(mongodb_url, dynoxide, table_name)
    job["source"] = {"type": "mongodb", "url": mongodb_url, "database": database, "collection": "c"}
    job["items"] = [
        {
            "name": "Doc",
            "key": {"PK": "D#{_id}", "SK": "{^v+$}"},
            "include": "all" if include == "all" else named,
            "attributes": {"in": "{doc.*}", "sql": {"sql": 'lower("^v+$") || "*"'}},
        },
        {
            "name": "Each",
            "for_each": "list",
            "key": {"PK": "D#{_id}", "SK": "E{index}"},
            "attributes": {
                "a": "{each.^v+$}",
                "b": "{each.*}",
                "c": "{each.vv}",
                "of row": '{"each"}{"index"}{index}',
            },
        },
    ]
    command = Command(tmp_path, job)
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    found = readback.scan(dynoxide, table_name)
    rest = {"_id": 1, "doc": inner, "list": [inner], **inner}
    expected = rest if include == "all" else {name: inner[name] for name in named}
    assert found["D#1", "^v+$?"] == {
        "PK": "D#1",
        "SK": "^v+$?",
        "in": "*?",
        "sql": "^v+$?*?",
        **expected,
    }
    each = {"a": "^v+$?", "b": "*?", "c": "vv?", "of row": "each?index?0"}
    assert found["D#1", "E0"] == {"PK": "D#1", "SK": "E0", **each}
    verified(command)
