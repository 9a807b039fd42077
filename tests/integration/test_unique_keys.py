"""Fourteen ordinary jobs, and the way that each goes: what proves its keys to differ, or what is done."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from bench import servers
from engine.commands.ends import open_ends
from engine.commands.plan.key_ways import KeyWay, key_ways
from engine.commands.run.ways import foreseen
from engine.job.model import Job
from engine.registry import TARGETS
from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

TABLES = (
    """
    CREATE TABLE users (id int PRIMARY KEY, uid uuid NOT NULL UNIQUE, email text NOT NULL UNIQUE,
        username text UNIQUE, contact text, region text NOT NULL, code text NOT NULL, day date NOT NULL,
        addresses jsonb NOT NULL, UNIQUE (region, code))
    """,
    """
    INSERT INTO users SELECT g, md5(g::text)::uuid, 'u' || g || '@x', nullif('n' || g, 'n7'), 'c' || g,
        'r' || g % 5, 'c' || g, date '2024-01-01' + g, '[{"type": "home"}, {"type": "work"}]'
    FROM generate_series(1, 200) AS g
    """,
    "CREATE VIEW active AS SELECT id, email AS mail FROM users WHERE region <> 'r1'",
    "CREATE MATERIALIZED VIEW stored AS SELECT id, email FROM users",
    "ANALYZE",
)
HOOK = "def enrich(frame):\n    import polars as pl\n    return frame.with_columns(pl.lit(1).alias('one'))\n"
NOWHERE = "http://127.0.0.1:1"
"""No target is asked anything here."""
USERS: dict[str, Any] = {"table": "users"}


def rule(pk: str, sk: str = "X", **more: Any) -> dict[str, Any]:
    return {"name": "Row", "key": {"PK": pk, "SK": sk}, **more}


# Each with its source, its rules, its hook; the ways of its rules, and what is said of the first.
JOBS: dict[str, tuple[dict[str, Any], list[dict[str, Any]], Any, list[str], str]] = {
    "the primary key": (USERS, [rule("USER#{id}")], None, ["proved"], "{id} is one row's alone"),
    "a unique e-mail": (USERS, [rule("{email}")], None, ["proved"], "{email} is one row's alone"),
    "a uuid beside text": (USERS, [rule("{uid}#{contact}")], None, ["proved"], "{uid}"),
    "two rules of one partition": (
        USERS,
        [rule("USER#{id}", "PROFILE"), {**rule("USER#{id}", "ORDER#{day:%Y-%m-%d}#{id}"), "name": "Order"}],
        None,
        ["proved", "proved"],
        "{id}",
    ),
    "a list by its index": (
        USERS,
        [rule("USER#{id}", "ADDRESS#{index}", for_each="addresses")],
        None,
        ["proved"],
        "{id} and {index}",
    ),
    "an e-mail without an index": (
        USERS,
        [rule("USER#{contact}")],
        None,
        ["settled"],
        "doesn't show which row",
    ),
    "a name that may be null": (USERS, [rule("USER#{username}")], None, ["proved"], "{username}"),
    "two texts, unique together": (USERS, [rule("USER#{region}#{code}")], None, ["settled"], "doesn't show"),
    "two attributes, unique together": (
        USERS,
        [rule("R#{region}", "{code}")],
        None,
        ["proved"],
        "{code} and {region}",
    ),
    "a list by a field of its elements": (
        USERS,
        [rule("USER#{username}", "ADDRESS#{each.type}", for_each="addresses")],
        None,
        ["settled"],
        "doesn't show which element of addresses",
    ),
    "a view": ({"table": "active", "key": ["id"]}, [rule("USER#{id}")], None, ["proved"], "{id}"),
    "a materialized view without an index": (
        {"table": "stored", "key": ["id"]},
        [rule("USER#{id}")],
        None,
        ["settled"],
        "no column that is proved to be unique",
    ),
    "a query": (
        {"query": "SELECT id, email FROM users WHERE id > 0", "key": ["id"]},
        [rule("USER#{id}")],
        None,
        ["proved"],
        "{id}",
    ),
    "a hook that adds a column": (
        USERS,
        [rule("USER#{id}")],
        "adding:enrich",
        ["settled"],
        "transform adding:enrich",
    ),
    # What their words or one index make of some of them:
    "a hook that says what it keeps": (
        USERS,
        [rule("USER#{id}")],
        {"hook": "adding:enrich", "keeps": ["id"]},
        ["proved"],
        "{id}",
    ),
    "a word on columns": (
        {**USERS, "unique": ["contact"]},
        [rule("USER#{contact}")],
        None,
        ["said"],
        "doesn't show which row",
    ),
    "a word in one rule of two": (
        USERS,
        [rule("USER#{contact}", unique=True), {**rule("R#{region}", "{code}"), "name": "Region"}],
        None,
        ["said", "proved"],
        "doesn't show which row",
    ),
    "two rules that may meet": (
        USERS,
        [rule("{id}"), {**rule("{id}"), "name": "Again"}],
        None,
        ["proved", "proved", "settled"],
        "{id}",
    ),
}


@pytest.fixture(scope="module")
def users(postgres_server: str) -> str:
    """One database with all tables, which no job writes."""
    asyncio.run(servers.admin_execute(postgres_server, "CREATE DATABASE fourteen"))
    url = servers.database_url(postgres_server, "fourteen")
    asyncio.run(execute(url, *TABLES))
    return url


async def ways(job: dict[str, Any], folder: Path) -> tuple[KeyWay, ...]:
    """Return the way of each rule, as two workers would go it over a source that is cut in two."""
    made = Job.model_validate(
        job | {"target": {**job["target"], "create": {}}}, context={"directory": folder}
    )
    async with AsyncExitStack() as stack:
        opened = await open_ends(stack, made, target=TARGETS[made.target.type].planned(made))
        return key_ways(opened.proof, foreseen(opened, workers=2, segments=2, rows=None), 200, 400)


@pytest.mark.parametrize("name", JOBS)
async def test_each_job_goes_its_way_and_says_why(name: str, users: str, tmp_path: Path) -> None:
    source, rules, hook, expected, why = JOBS[name]
    (tmp_path / "adding.py").write_text(HOOK)
    found = await ways(
        loads.job(users, NOWHERE, "items", source=source, items=rules, transform=hook), tmp_path
    )
    assert [way.way for way in found] == expected
    assert why in found[0].why
    for way in found:
        assert (way.cost == "nothing") == (way.way == "proved")
        assert (way.way_out is None) == (way.way == "proved")


@pytest.mark.parametrize(
    ("field", "more", "way"),
    [
        ("_id", {}, "proved"),
        ("name", {}, "proved"),  # texts in an index of their own
        ("mixed", {}, "settled"),  # 1 and "1" are two values of its index, and one text
        ("city", {}, "settled"),
        ("city", {"unique": ["city"]}, "said"),
    ],
)
async def test_documents_go_by_what_their_indexes_hold(
    field: str, more: dict[str, Any], way: str, mongodb_url: str, database: str, tmp_path: Path
) -> None:
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        collection = client[database].c
        collection.create_index("name", unique=True)
        collection.create_index("mixed", unique=True)
        collection.insert_many(
            [{"name": f"n{n}", "mixed": n if n % 2 else f"m{n}", "city": f"c{n}"} for n in range(20)]
        )
    job = loads.job("", NOWHERE, "items", items=[rule(f"D#{{{field}}}")])
    place = {"type": "mongodb", "url": mongodb_url, "database": database, "collection": "c"}
    (found,) = await ways(job | {"source": {**place, **more}}, tmp_path)
    assert found.way == way


def test_one_worker_reads_in_order_and_the_text_says_so(
    users: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    rules = [rule("USER#{contact}"), {**rule("R#{region}", "{code}"), "name": "Region"}]
    job = loads.job(users, dynoxide, table_name, source=USERS | {"segments": 2}, items=rules)
    job["target"]["create"] = {}
    command = Command(tmp_path, job)
    ended = command.here("plan", "--workers", "1", "--sample", "100", "--json")
    first, second = ended.report["keys"]
    assert (first["way"], second["way"]) == ("in order", "proved")
    assert first["why"].endswith("; there is one worker")
    assert "so the source is read in one ordered segment" in " ".join(ended.report["warnings"])
    said = command.here("plan", "--workers", "2", "--sample", "100").stdout
    assert "keys of rule" in said
    assert "settled" in said
    assert "ordered segment" not in said
