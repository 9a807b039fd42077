"""What a user's rules make of rows: every feature of `items`, at a real table, against items by hand."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute
from tests.support.plain_values import plain

HOME = {"type": "home", "street": "Str. 1"}
HOSTILE = "a,b\"c'd\\e\n\t\\N {x} é😀"

PEOPLE = (
    """
    CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, email text, status text NOT NULL,
        born date, joined timestamptz NOT NULL, tags text[], addresses jsonb, secret text,
        deleted_at timestamptz, score numeric(8,3), "we.ird" int, blob bytea)
    """,
    "CREATE TABLE phones (person_id int NOT NULL, line_no int NOT NULL, number text, note text,"
    " PRIMARY KEY (person_id, line_no))",
    """
    INSERT INTO people VALUES
    (1, 'Ana', 'ANA@Example.com', 'active', '1990-02-28', '2024-01-15 12:00:00.5+02', '{b,a}',
     '[{"type": "home", "street": "Str. 1", "zip": 1.50}, {"type": "work", "street": null}]', 'x', NULL,
     12.500, 7, '\\x00ff'),
    (2, 'Bo {x} "q"', NULL, 'active', NULL, '2024-03-01 00:00Z', '{}', '[]', 'y', NULL, NULL, NULL, NULL),
    (3, 'Cy', 'cy@example.com', 'blocked', '0044-03-15 BC', '2023-01-01Z', NULL, NULL, NULL, NULL, -1, 0, ''),
    (4, 'Di', 'di@example.com', 'active', '2000-01-01', '2024-02-01Z', '{z}', '[{"type": "home"}]', NULL,
     '2024-05-01Z', 0, 1, NULL),
    (5, '', 'empty@example.com', 'active', '2000-01-01', '2024-02-01Z', '{""}', '[{"street": "no type"}]',
     NULL, NULL, 0, 1, NULL)
    """,
)


async def fill(url: str) -> None:
    await execute(url, *PEOPLE)
    connection = await asyncpg.connect(url)
    try:
        rows = [(1, 2, HOSTILE, None), (1, 1, "", "first"), (1, 10, "[]", '{"a": 1}'), (3, 1, None, None)]
        await connection.executemany("INSERT INTO phones VALUES ($1, $2, $3, $4)", rows)
    finally:
        await connection.close()


@pytest.fixture
def people(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Any:
    """Run a job over the people with these changes; give the command's end and what is in the table."""
    asyncio.run(fill(postgres_url))
    loads.create_table(dynoxide, table_name)

    def run(code: int = 0, **changes: Any) -> tuple[Command, dict[str, Any], dict[str, Any]]:
        source = {"table": "people", **changes.pop("source", {})}
        command = Command(tmp_path, loads.job(postgres_url, dynoxide, table_name, source=source, **changes))
        ended = command.here("run", "--json", "--workers", "1")
        assert ended.code == code, ended.stderr
        loads.assert_balanced(ended.report)
        return command, ended.report, loads.items(dynoxide, table_name)

    return run


def wire(**attributes: Any) -> dict[str, Any]:
    return {name: plain(value) for name, value in attributes.items()}


def test_embedded_children_arrive_in_order_and_unharmed(people: Any) -> None:
    phones = {"table": "phones", "on": {"person_id": "id"}, "order_by": ["line_no"]}
    rule = {
        "name": "Row",
        "key": {"PK": "P#{id}", "SK": "P"},
        "attributes": {"phones": "{phones}", "extra": "{extra}"},
    }
    embed = {
        "phones": {**phones, "columns": ["number", "note"]},
        "extra": {**phones, "order_by": ["person_id", "line_no"], "where": "note IS NOT NULL"},
    }
    _, report, items = people(source={"embed": embed}, items=[rule])
    assert report["items_written"] == 5
    first = {"number": "", "note": "first"}
    third = {"number": "[]", "note": '{"a": 1}'}
    keys = [{"person_id": 1, "line_no": 10}, {"person_id": 1, "line_no": 1}]
    assert items["P#1|P"] == wire(
        PK="P#1",
        SK="P",
        phones=[first, {"number": HOSTILE}, third],
        extra=[{**keys[1], **first}, {**keys[0], **third}],
    )
    assert items["P#2|P"] == wire(PK="P#2", SK="P", phones=[], extra=[])
    assert items["P#3|P"] == wire(PK="P#3", SK="P", phones=[{}], extra=[])


def test_each_rule_sees_each_row(people: Any) -> None:
    rules = [
        {
            "name": "Person",
            "when": "status <> 'blocked'",
            "delete_when": "deleted_at IS NOT NULL",
            "key": {"PK": "USER#{id}", "SK": "PROFILE#{joined:%Y-%m-%d}"},
            "include": ["name", "tags", "score", "we.ird"],
            "attributes": {
                "Type": "Person",
                "Braces": "{{id}}",
                "Email": {"sql": "lower(email)"},
                "Double": {"sql": "id * 2"},
                "Joined": {"value": "{joined}", "as": "epoch_s"},
                "JoinedMs": {"value": "{joined}", "as": "epoch_ms"},
                "Text": "{id}/{score}/{born}/{joined}",
                "IdText": {"value": "{id}", "as": "S"},
                "Tags": {"value": "{tags}", "as": "SS"},
                "Odd": '{"we.ird"}',
                "Blob": "{blob}",
                "Doc": {"sql": "home", "as": "json"},
                "Version": 3,
                "On": True,
            },
        },
        {
            "name": "Address",
            "for_each": "addresses",
            "when": "id < 10",
            "key": {"PK": "USER#{id}", "SK": "ADDRESS#{each.type}#{index:03d}"},
            "attributes": {"street": "{each.street}", "zip": "{each.zip}", "at": "{index}", "all": "{each}"},
        },
    ]
    query = "SELECT *, (addresses -> 0)::text AS home FROM people"
    command, report, items = people(3, source={"query": query, "key": ["id"]}, items=rules)
    active = {"Type": "Person", "Braces": "{id}", "Version": 3, "On": True}
    assert items == {
        "USER#1|PROFILE#2024-01-15": wire(
            PK="USER#1",
            SK="PROFILE#2024-01-15",
            name="Ana",
            tags=["b", "a"],
            score=Decimal("12.5"),
            Email="ana@example.com",
            Double=2,
            Joined=1705312800,
            JoinedMs=1705312800500,
            Text="1/12.500/1990-02-28/2024-01-15T10:00:00.5Z",
            IdText="1",
            Odd=7,
            Doc=HOME | {"zip": Decimal("1.5")},
            **active,
        )
        | {"we.ird": plain(7), "Blob": {"B": b"\x00\xff"}, "Tags": {"SS": ["a", "b"]}},
        "USER#5|PROFILE#2024-02-01": wire(
            PK="USER#5",
            SK="PROFILE#2024-02-01",
            name="",
            tags=[""],
            score=0,
            Email="empty@example.com",
            Double=10,
            Joined=1706745600,
            JoinedMs=1706745600000,
            Text="5/0.000/2000-01-01/2024-02-01T00:00:00Z",
            IdText="5",
            Odd=1,
            Doc={"street": "no type"},
            **active,
        )
        | {"we.ird": plain(1), "Tags": {"SS": [""]}},
        "USER#1|ADDRESS#home#000": wire(
            PK="USER#1",
            SK="ADDRESS#home#000",
            street="Str. 1",
            zip=Decimal("1.5"),
            at=0,
            all=HOME | {"zip": Decimal("1.5")},
        ),
        "USER#1|ADDRESS#work#001": wire(
            PK="USER#1", SK="ADDRESS#work#001", street=None, at=1, all={"type": "work", "street": None}
        ),
        "USER#4|ADDRESS#home#000": wire(PK="USER#4", SK="ADDRESS#home#000", at=0, all={"type": "home"}),
    }
    assert (report["items_deleted"], report["items_written"]) == (1, 5)
    found = {
        (letter["rule"], letter["source_key"]["id"]): letter["reason"] for letter in command.dead_letters()
    }
    assert found == {("Person", "2"): "set_invalid", ("Address", "5"): "key_null"}


def test_include_all_but_some(people: Any) -> None:
    rule = {
        "name": "Row",
        "key": {"PK": "{email}", "SK": "#{id}"},
        "include": "all",
        "exclude": ["secret", "addresses", "tags", "blob", "joined"],
        "attributes": {"status": "mine"},
        "when": "email IS NOT NULL AND deleted_at IS NULL",
    }
    _, _, items = people(items=[rule])
    assert items["ANA@Example.com|#1"] == wire(
        PK="ANA@Example.com", SK="#1", id=1, name="Ana", email="ANA@Example.com", status="mine",
        born="1990-02-28", score=Decimal("12.5"),
    ) | {"we.ird": plain(7)}  # fmt: skip
    assert items["cy@example.com|#3"]["born"] == {"S": "-0043-03-15"}
    assert len(items) == 3


def test_a_hook_shapes_the_rows(people: Any, tmp_path: Path) -> None:
    (tmp_path / "shop_hook.py").write_text(
        "import polars as pl\n\n\ndef enrich(frame: pl.LazyFrame) -> pl.LazyFrame:\n"
        "    return frame.filter(pl.col('id') != 2).with_columns(\n"
        "        (pl.col('name') + '!').alias('loud'), (pl.col('id') * 10).alias('tenfold'))\n"
    )
    rule = {
        "name": "Row",
        "key": {"PK": "P#{id}", "SK": "P"},
        "attributes": {"loud": "{loud}", "tenfold": "{tenfold}", "score": "{score}", "born": "{born}"},
    }
    _, report, items = people(items=[rule], transform="shop_hook:enrich")
    assert report["rows_read"] == 5
    assert items["P#1|P"] == wire(
        PK="P#1", SK="P", loud="Ana!", tenfold=10, score=Decimal("12.5"), born="1990-02-28"
    )
    assert sorted(items) == ["P#1|P", "P#3|P", "P#4|P", "P#5|P"]


def test_keys_that_cant_be_are_dead_letters_with_their_reasons(people: Any) -> None:
    rules = [
        {"name": "Null", "key": {"PK": "{email}", "SK": "x"}, "when": "id = 2"},
        {"name": "Empty", "key": {"PK": "{name}", "SK": "x"}, "when": "id = 5"},
        {"name": "Gap", "key": {"PK": "a#{secret}", "SK": "{addresses.type}"}, "when": "id = 3"},
        {"name": "Long", "key": {"PK": "{long}", "SK": "x"}},
        {"name": "Type", "key": {"PK": "{id:02d}", "SK": "ok"}, "when": "id = 1"},
    ]
    query = "SELECT *, repeat('é', 512 * id) AS long FROM people"
    command, report, items = people(3, source={"query": query, "key": ["id"]}, items=rules)
    found = {
        (letter["rule"], letter["source_key"]["id"]): letter["reason"] for letter in command.dead_letters()
    }
    assert found == {
        ("Null", "2"): "key_null",
        ("Empty", "5"): "key_empty",
        ("Gap", "3"): "key_null",
        ("Long", "3"): "key_too_long",
        ("Long", "4"): "key_too_long",
        ("Long", "5"): "key_too_long",
    }
    assert report["items_dead_lettered"] == 6
    assert sorted(items) == sorted(["é" * 512 + "|x", "é" * 1024 + "|x", "01|ok"])
