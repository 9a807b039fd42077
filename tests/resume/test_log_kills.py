"""Seeds of an application that changes everything, with catch-up runs from the log that are killed.

An independent reading of the source says what the table has to hold: all of it, and nothing else.
"""

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support import loads
from tests.support.command import Command, kill_group
from tests.support.pg import execute

ORDERS, LINES = 400, 3
RULES = [
    {
        "name": "Order",
        "when": "status <> 'draft'",
        "key": {"PK": "USER#{customer}", "SK": "ORDER#{id}"},
        "attributes": {"status": "{status}", "lines": "{lines}"},
    },
    {"name": "Tag", "for_each": "tags", "key": {"PK": "ORDER#{id}", "SK": "TAG#{each}"}},
]
SCHEMA = (
    "CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, status text NOT NULL, tags jsonb"
    " NOT NULL, hidden boolean NOT NULL DEFAULT false)",
    "CREATE TABLE lines (order_id int, line int, product text, PRIMARY KEY (order_id, line))",
    "ALTER TABLE orders REPLICA IDENTITY FULL",
    f"INSERT INTO orders SELECT n, n % 7, 'open', '[\"a\", \"b\"]' FROM generate_series(1, {ORDERS}) n",
    f"INSERT INTO lines SELECT n, m, 'p' || m FROM generate_series(1, {ORDERS}) n,"
    f" generate_series(1, {LINES}) m",
)


@pytest.fixture
def command(logged_database: str, database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    asyncio.run(execute(logged_database, *SCHEMA))
    loads.create_table(dynoxide, table_name)
    source = {
        "table": "orders",
        "where": "NOT hidden",
        "unique": True,
        "embed": {"lines": {"table": "lines", "on": {"order_id": "id"}, "columns": ["line", "product"]}},
        "catch_up": {"type": "log", "slot": f"s_{database}"},
    }
    job = loads.job(logged_database, dynoxide, table_name, source=source, items=RULES)
    return Command(tmp_path, job)


async def changed(url: str, random_: random.Random, transactions: int) -> None:
    """Be the application for a while."""
    connection = await asyncpg.connect(url)
    try:
        for _ in range(transactions):
            transaction = connection.transaction()
            await transaction.start()
            for _ in range(random_.choice((1, 1, 2, 5, 300))):
                await connection.execute(statement(random_))
            if random_.random() < 0.15:
                await transaction.rollback()
            else:
                await transaction.commit()
    finally:
        await connection.close()


def statement(random_: random.Random) -> str:
    one, other = random_.randint(1, ORDERS), random_.randint(1, ORDERS)
    line = random_.randint(1, LINES)
    tags = json.dumps(random_.sample("abcdef", random_.randint(0, 4)))
    return random_.choice(
        (
            f"UPDATE orders SET customer = {random_.randint(0, 9)} WHERE id = {one}",
            f"UPDATE orders SET status = '{random_.choice(('open', 'draft', 'done'))}' WHERE id = {one}",
            f"UPDATE orders SET tags = '{tags}' WHERE id = {one}",
            f"UPDATE orders SET hidden = NOT hidden WHERE id = {one}",
            f"UPDATE orders SET id = id + {ORDERS} WHERE id = {one}"
            f" AND NOT EXISTS (SELECT FROM orders o WHERE o.id = {one + ORDERS})",
            f"UPDATE orders SET id = {one} WHERE id = {one + ORDERS}"
            f" AND NOT EXISTS (SELECT FROM orders o WHERE o.id = {one})",
            f"DELETE FROM orders WHERE id = {one}",
            f"INSERT INTO orders VALUES ({one}, 1, 'open', '{tags}') ON CONFLICT DO NOTHING",
            f"DELETE FROM lines WHERE order_id = {one} AND line = {line}",
            f"INSERT INTO lines VALUES ({one}, {line}, 'again') ON CONFLICT DO NOTHING",
            f"UPDATE lines SET product = product || '.' WHERE order_id = {one}",
            f"UPDATE lines SET order_id = {other} WHERE order_id = {one} AND line = {line}"
            f" AND NOT EXISTS (SELECT FROM lines l WHERE l.order_id = {other} AND l.line = {line})",
        )
    )


async def expected(url: str) -> dict[str, Any]:
    """Return the items that the source has now, by a way of its own."""
    connection = await asyncpg.connect(url)
    try:
        orders = await connection.fetch("SELECT * FROM orders WHERE NOT hidden")
        lines = await connection.fetch("SELECT * FROM lines ORDER BY order_id, line")
    finally:
        await connection.close()
    made: dict[str, Any] = {}
    for row in orders:
        if row["status"] != "draft":
            of = [
                {"M": {"line": {"N": each["line"]}, "product": {"S": each["product"]}}}
                for each in lines
                if each["order_id"] == row["id"]
            ]
            made[f"USER#{row['customer']}|ORDER#{row['id']}"] = {
                "status": {"S": row["status"]},
                "lines": {"L": of},
            }
        for tag in json.loads(row["tags"]):
            made[f"ORDER#{row['id']}|TAG#{tag}"] = {}
    return made


def held(command: Command) -> dict[str, Any]:
    target = command.job["target"]
    return {
        place: {name: value for name, value in item.items() if name not in ("PK", "SK")}
        for place, item in loads.items(target["endpoint_url"], target["table"]).items()
    }


@pytest.mark.parametrize("seed", [1])
def test_whatever_changes_and_whenever_a_run_is_killed_nothing_is_missing_or_left(
    command: Command, seed: int
) -> None:
    random_ = random.Random(seed)
    url = command.job["source"]["url"]
    assert command.here("run", "--workers", "1").code == 0
    for number in range(4):
        asyncio.run(changed(url, random_, 40))
        if number % 2:
            process = command.start("run", "--workers", "1")
            deadline = time.monotonic() + random_.uniform(1.0, 3.0)
            while process.poll() is None and time.monotonic() < deadline:
                asyncio.run(changed(url, random_, 1))
            kill_group(process)
        else:
            ended = command.here("run", "--json", "--workers", "1")
            assert ended.code == 0, ended.stderr
            loads.assert_balanced(ended.report)
    for _ in range(2):  # one that was killed is gone on with, then what came behind it is read
        ended = command.here("run", "--json", "--workers", "1")
        assert ended.code == 0, ended.stderr
    assert held(command) == asyncio.run(expected(url))
