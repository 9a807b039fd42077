"""`backfill plan` against what then happens: units, losses, dead letters, on real servers."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

ROWS = 3_000
PEOPLE = (
    """
    CREATE TABLE people (id int PRIMARY KEY, email text, status text NOT NULL, bio text NOT NULL,
        score numeric(9,3), joined timestamptz NOT NULL, addresses jsonb NOT NULL)
    """,
    f"""
    INSERT INTO people SELECT g, CASE WHEN g % 3 > 0 THEN 'user' || g || '@example.com' END,
        (ARRAY['active', 'blocked'])[1 + g % 2], repeat('é', (g * 37) % 900), g / 7.0,
        timestamptz '2024-01-01Z' + g * interval '1 minute',
        jsonb_path_query_array(jsonb_build_array(
            jsonb_build_object('type', 'home', 'street', repeat('x', (g * 91) % 1500)),
            jsonb_build_object('type', 'work', 'street', 'Str. ' || g)), '$[0 to $n]',
            jsonb_build_object('n', g % 2))
    FROM generate_series(1, {ROWS}) AS g
    """,
    "CREATE TABLE phones (person_id int NOT NULL, line_no int NOT NULL, number text NOT NULL,"
    " PRIMARY KEY (person_id, line_no))",
    f"INSERT INTO phones SELECT g, n, repeat('7', g % 300) FROM generate_series(1, {ROWS}) AS g,"
    " generate_series(1, 1 + g % 4) AS n",
    "ANALYZE",
)
FLAT: dict[str, Any] = {
    "source": {"table": "people"},
    "items": [{"name": "Person", "key": {"PK": "P#{id}", "SK": "P"}, "include": "all"}],
}
EMBEDDED: dict[str, Any] = {
    "source": {
        "table": "people",
        "embed": {"phones": {"table": "phones", "on": {"person_id": "id"}, "order_by": ["line_no"]}},
    },
    "items": [{"name": "Person", "key": {"PK": "P#{id}", "SK": "P"}, "include": "all", "exclude": ["bio"]}],
}
FAN_OUT: dict[str, Any] = {
    "source": {"table": "people"},
    "target": {
        "create": {
            "gsi": [
                {"name": "ByEmail", "partition_key": "GSI1PK", "projection": ["bio"]},
                {"name": "ByType", "partition_key": "kind", "sort_key": "joined"},
                {"name": "Keys", "partition_key": "status", "projection": "keys_only"},
            ]
        }
    },
    "items": [
        {
            "name": "Person",
            "key": {"PK": "P#{id}", "SK": "P"},
            "include": ["bio", "status", "score", "joined"],
            "attributes": {"GSI1PK": "{email}"},
        },
        {
            "name": "Address",
            "for_each": "addresses",
            "key": {"PK": "P#{id}", "SK": "A#{index:03d}"},
            "include": ["joined"],
            "attributes": {"kind": "{each.type}", "street": "{each.street}"},
        },
    ],
}


@pytest.fixture
def people(postgres_url: str) -> str:
    asyncio.run(execute(postgres_url, *PEOPLE))
    return postgres_url


def near(planned: float, fact: float) -> bool:
    return abs(planned - fact) <= 0.05 * fact


@pytest.mark.parametrize("server", ["dynoxide", "dynamodb_local"])
@pytest.mark.parametrize("job", [FLAT, EMBEDDED, FAN_OUT], ids=["flat", "embedded", "fan-out"])
def test_the_planned_units_are_those_that_the_target_then_counts(
    people: str, server: str, job: dict[str, Any], table_name: str, tmp_path: Path, request: Any
) -> None:
    endpoint = request.getfixturevalue(server)
    changes = {**job, "target": {"create": {}, **job.get("target", {})}}
    command = Command(tmp_path, loads.job(people, endpoint, table_name, **changes))

    planned = command.here("plan", "--json", "--sample", "1000")
    assert planned.code == 0, planned.stderr
    assert planned.report["looked_at"]["rows"] < 0.8 * ROWS
    assert command.here("table create").code == 0
    ran = command.here("run", "--workers", "1", "--json")
    assert ran.code == 0, ran.stderr

    units, fact = planned.report["write_units"], ran.report["consumed_wcu"]
    assert near(units["table"], fact["table"]), (units, fact)
    assert units["gsi"].keys() == fact["gsi"].keys()
    for name, consumed in fact["gsi"].items():
        assert near(units["gsi"][name], consumed), (name, units, fact)
    assert near(planned.report["items"]["total"], ran.report["items_emitted"])


def test_looking_at_every_row_gives_the_units_exactly(
    people: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    command = Command(tmp_path, loads.job(people, dynoxide, table_name, **FAN_OUT))

    planned = command.here("plan", "--json", "--full", "--sample", "1000").report
    assert command.here("table create").code == 0
    ran = command.here("run", "--workers", "1", "--json").report

    assert planned["looked_at"] == {"rows": ROWS, "items": ran["items_emitted"], "whole": True}
    # Servers count a number's bytes by rules of their own, so an item at the edge of a KB may differ.
    exactly = partial(pytest.approx, rel=0.001)
    assert planned["write_units"]["table"] == exactly(ran["consumed_wcu"]["table"])
    assert planned["write_units"]["gsi"] == exactly(ran["consumed_wcu"]["gsi"])


def test_what_would_be_lost_is_counted_and_named(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    asyncio.run(
        execute(
            postgres_url,
            "CREATE TABLE t (id int PRIMARY KEY, email text, big text, n float8)",
            "INSERT INTO t SELECT g, 'u' || g % 1990 || '@x', 'b', 1 FROM generate_series(1, 2000) AS g",
            "INSERT INTO t VALUES (3001, NULL, 'b', 1), (3002, 'big@x', repeat('x', 420000), 1),"
            " (3003, 'nan@x', 'b', 'NaN'), (3004, '', 'b', 1)",
        )
    )
    items = [{"name": "ByEmail", "key": {"PK": "{email}", "SK": "X"}, "include": "all"}]
    command = Command(tmp_path, loads.job(postgres_url, dynoxide, table_name, items=items))
    loads.create_table(dynoxide, table_name)

    for arguments in ((), ("--full", "--sample", "200")):
        planned = command.here("plan", "--json", *arguments)
        assert planned.code == 4, planned.stderr
        collisions, letters = planned.report["collisions"], planned.report["dead_letters"]
        assert (collisions["scope"], collisions["keys"], collisions["lost"]) == ("all", 10, 10)
        ids = {member["source_key"]["id"] for member in collisions["examples"][0]["members"]}
        assert len(ids) == 2
        assert len({int(row) % 1990 for row in ids}) == 1
        assert {found["reason"]: found["expected"] for found in letters["by_reason"]} == {
            "key_null": 1,
            "item_too_large": 1,
            "number_not_finite": 1,
            "key_empty": 1,
        }
    ran = command.here("run", "--workers", "1", "--json")
    assert ran.code == 3
    assert len(loads.items(dynoxide, table_name)) == 1990
    assert ran.report["dead_letters_by_reason"] == dict.fromkeys(
        ("item_too_large", "key_empty", "key_null", "number_not_finite"), 1
    )


def test_nothing_is_written_and_a_screen_says_it_all(
    people: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    command = Command(tmp_path, loads.job(people, dynoxide, table_name, **FAN_OUT))
    shown = command.here("plan", "--sample", "500")
    assert shown.code == 0, shown.stderr
    for words in (
        "to be created",
        "ByEmail",
        "INCLUDE",
        "hottest partition keys",
        "Nothing stands in the way",
    ):
        assert words in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 110
    assert not command.state.exists()
    assert table_name not in loads.client(dynoxide).list_tables()["TableNames"]


def test_a_table_that_nobody_describes_is_a_fault_of_the_job(
    people: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    ended = Command(tmp_path, loads.job(people, dynoxide, table_name, **FLAT)).here("plan")
    assert ended.code == 2
    assert "no target.create" in ended.stderr


def test_a_collection_is_sampled_all_over(
    mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    from pymongo import MongoClient

    with MongoClient(mongodb_url) as client:
        documents = [{"_id": n, "email": f"u{n}", "bio": "x" * (n // 2)} for n in range(4_000)]
        client[database]["people"].insert_many(documents)
    job = loads.job("", dynoxide, table_name)
    job["source"] = {"type": "mongodb", "url": mongodb_url, "database": database, "collection": "people"}
    job["target"]["create"] = {"gsi": [{"name": "ByEmail", "partition_key": "email"}]}
    job["items"] = [{"name": "Person", "key": {"PK": "P#{_id}", "SK": "P"}, "include": "all"}]
    command = Command(tmp_path, job)

    planned = command.here("plan", "--json", "--sample", "1000")
    assert planned.code == 0, planned.stderr
    assert planned.report["looked_at"]["rows"] == pytest.approx(1_000, rel=0.2)
    assert command.here("table create").code == 0
    fact = command.here("run", "--workers", "1", "--json").report["consumed_wcu"]
    assert near(planned.report["write_units"]["table"], fact["table"])
    assert near(planned.report["write_units"]["gsi"]["ByEmail"], fact["gsi"]["ByEmail"])


def test_a_view_whose_rows_the_server_misjudges_is_sampled_all_over(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    asyncio.run(
        execute(
            postgres_url,
            "CREATE TABLE t AS SELECT g AS id, repeat('x', g / 5) AS x FROM generate_series(1, 8000) AS g",
            "CREATE VIEW v AS SELECT * FROM t WHERE (id::text || 'a') LIKE '%a' AND id % 1 = 0",
            "ANALYZE",
        )
    )
    items = [{"name": "Row", "key": {"PK": "R#{id}", "SK": "X"}, "include": "all"}]
    changes = {"source": {"table": "v", "key": ["id"]}, "target": {"create": {}}, "items": items}
    planned = Command(tmp_path, loads.job(postgres_url, dynoxide, table_name, **changes)).here(
        "plan", "--json", "--sample", "1000"
    )
    assert planned.code == 0, planned.stderr
    assert planned.report["source"]["rows"] == 8_000
    assert planned.report["looked_at"]["rows"] == pytest.approx(1_000, rel=0.2)
    assert near(
        planned.report["write_units"]["table"], sum(max(1, -(-(n // 5 + 20) // 1024)) for n in range(8_001))
    )
