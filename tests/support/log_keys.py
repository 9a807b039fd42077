"""A table whose rows make each other's items, an application that changes it, and what a target must hold."""

import asyncio
import json
from random import Random

from tests.support.command import Command
from tests.support.logged import asked, items

TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, k text, v text NOT NULL, keep bool NOT NULL DEFAULT true,"
    " gone bool NOT NULL DEFAULT false, tags text[] NOT NULL DEFAULT '{}', r text)",
    "ALTER TABLE t REPLICA IDENTITY FULL",
    "INSERT INTO t SELECT n, 'x' || (n + 1) / 2, 'first' FROM generate_series(1, 40) n",
)
PARTITIONED = (
    "ALTER TABLE t RENAME TO before",
    "CREATE TABLE t (LIKE before INCLUDING ALL) PARTITION BY RANGE (id)",
    *(
        f"CREATE TABLE {name} PARTITION OF t FOR VALUES FROM ({first}) TO ({end}) PARTITION BY HASH (id)"
        for name, first, end in (("low", "MINVALUE", 13), ("high", 13, "MAXVALUE"))
    ),
    *(
        statement
        for name in ("low", "high")
        for at in range(2)
        for statement in (
            f"CREATE TABLE {name}_{at} PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER {at})",
            f"ALTER TABLE {name}_{at} REPLICA IDENTITY FULL",
        )
    ),
    "INSERT INTO t SELECT * FROM before",
    "DROP TABLE before",
)
"""The same table in partitions of partitions: a row that gets another id may go to another one."""
SHOWN = "v <> 'hidden' AND k IS NOT NULL"
BY_K = {
    "name": "K",
    "key": {"PK": "K#{k}", "SK": "K"},
    "attributes": {"of": "{id}", "v": "{v}"},
    "when": SHOWN,
    "delete_when": "gone",
}
BY_TAG = BY_K | {"name": "Tag", "for_each": "tags", "key": {"PK": "T#{k}", "SK": "{each}"}}
BY_R = {"name": "R", "key": {"PK": "R#{r}", "SK": "R"}, "attributes": BY_K["attributes"], "when": "r > ''"}
OWN = {"name": "Own", "key": {"PK": "ROW#{id}", "SK": "ROW"}, "attributes": {"of": "{id}", "v": "{v}"}}


def held(command: Command) -> dict[str, tuple[int, str]]:
    """Return the row that each item is of, and what it says of it."""
    return {place: (int(item["of"]["N"]), item["v"]["S"]) for place, item in items(command).items()}


def fresh(command: Command) -> dict[str, tuple[int, str]]:
    """Return what rows would make that are written one after the other, by the test's own reckoning."""
    found: dict[str, tuple[int, str]] = {}
    text = asyncio.run(asked(command, "SELECT coalesce(json_agg(t ORDER BY id), '[]')::text FROM t"))
    rules = [rule["name"] for rule in command.job["items"]]
    for row in json.loads(text):
        shown = row["keep"] and row["v"] != "hidden" and row["k"] is not None
        keys = [f"K#{row['k']}|K"] if "K" in rules and shown else []
        keys += [f"T#{row['k']}|{tag}" for tag in row["tags"] if "Tag" in rules and shown]
        for key in keys:
            if row["gone"]:
                found.pop(key, None)
            else:
                found[key] = row["id"], row["v"]
        if "R" in rules and row["keep"] and row["r"]:
            found[f"R#{row['r']}|R"] = row["id"], row["v"]
        if "Own" in rules and row["keep"]:
            found[f"ROW#{row['id']}|ROW"] = row["id"], row["v"]
    return found


def application(random: Random, statements: int) -> list[str]:
    """Return what an application does to a few rows of a few keys, in transactions of any length."""
    made = []
    for _ in range(statements):
        row, other, key = random.randint(1, 25), random.randint(1, 25), random.choice("abc")
        tags = ",".join(random.sample("pqr", random.randint(0, 3)))
        made.append(
            random.choice(
                (
                    f"DELETE FROM t WHERE id = {row}",
                    f"INSERT INTO t VALUES ({row}, '{key}', 'v{random.random()}', {random.random() < 0.8},"
                    f" {random.random() < 0.2}, '{{{tags}}}') ON CONFLICT DO NOTHING",
                    f"UPDATE t SET k = '{key}' WHERE id IN ({row}, {other})",
                    f"UPDATE t SET v = 'v{random.random()}', gone = {random.random() < 0.3} WHERE id = {row}",
                    f"UPDATE t SET k = nullif(k, '{key}'), tags = '{{{tags}}}' WHERE id = {row}",
                    f"UPDATE t SET r = '{random.choice('xyz')}' WHERE id IN ({row}, {other})",
                    f"UPDATE t SET v = 'hidden', keep = {random.random() < 0.8} WHERE id = {row}",
                    f"UPDATE t SET id = {other} WHERE id = {row}"
                    f" AND NOT EXISTS (SELECT FROM t WHERE id = {other})",
                    # Keys are handed round.
                    "UPDATE t AS a SET k = b.k FROM t AS b WHERE b.id ="
                    f" (SELECT min(id) FROM t WHERE id > a.id) AND a.id > {row}",
                    "COMMIT; BEGIN",
                )
            )
        )
    return ["BEGIN", *(each for made_ in made for each in made_.split("; ")), "COMMIT"]
