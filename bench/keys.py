"""Twelve ordinary jobs, by how their keys are known to differ: what each costs in two processes.

Invariant: PostgreSQL and the null target are this program's own, and every load is checked to be whole; with
`--against`, another version's runs alternate with this one's over the same tables.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import measure, servers

WORKERS = 2
TABLES = (
    """
    CREATE TABLE users (id int PRIMARY KEY, uid uuid NOT NULL UNIQUE, email text NOT NULL UNIQUE,
        username text UNIQUE, contact text, region text NOT NULL, code text NOT NULL, day date NOT NULL,
        addresses {addresses} NOT NULL, UNIQUE (region, code))
    """,
    """
    INSERT INTO users SELECT g, md5(g::text)::uuid, 'u' || g || '@x', 'n' || g, 'c' || g, 'r' || g % 5,
        'c' || g, date '2024-01-01' + g % 1000, '[{{"type": "home"}}, {{"type": "work"}}]'
    FROM generate_series(1, {rows}) AS g
    """,
    "CREATE VIEW active AS SELECT id, email AS mail, contact, day FROM users WHERE region <> 'r9'",
    "CREATE MATERIALIZED VIEW stored AS SELECT id, email, contact, day FROM users",
    "CREATE INDEX ON stored (id)",
    "VACUUM ANALYZE",
)
USERS: Mapping[str, Any] = {"table": "users"}


def rule(pk: str, sk: str = "X", **more: Any) -> dict[str, Any]:
    """Return a rule that gives the whole row."""
    return {"name": "Row", "key": {"PK": pk, "SK": sk}, "include": "all", **more}


def address(sk: str) -> dict[str, Any]:
    """Return a rule that gives an item for each of a row's two addresses."""
    attributes = {"type": "{each.type}"}
    return rule("USER#{id}", sk, for_each="addresses", include="none", attributes=attributes)


# Each with its source, its rule, and how many items it makes of a row.
JOBS: Mapping[str, tuple[Mapping[str, Any], dict[str, Any], int]] = {
    "primary key": (USERS, rule("USER#{id}"), 1),
    "unique e-mail": (USERS, rule("{email}"), 1),
    "uuid beside text": (USERS, rule("{uid}#{contact}"), 1),
    "list by {index}": (USERS, address("ADDRESS#{index}"), 2),
    "e-mail, no index": (USERS, rule("USER#{contact}"), 1),
    "nullable unique": (USERS, rule("USER#{username}"), 1),
    "{region}#{code}": (USERS, rule("USER#{region}#{code}"), 1),
    "R#{region}, {code}": (USERS, rule("R#{region}", "{code}"), 1),
    "list by {each.type}": (USERS, address("ADDRESS#{each.type}"), 2),
    "view": ({"table": "active", "key": ["id"]}, rule("USER#{id}"), 1),
    "materialized view": ({"table": "stored", "key": ["id"]}, rule("USER#{id}"), 1),
    "query": (
        {"query": "SELECT id, email, contact, day FROM users WHERE id > 0", "key": ["id"]},
        rule("USER#{id}"),
        1,
    ),
}


def job(source: Mapping[str, Any], items: dict[str, Any], url: str, endpoint: str) -> Mapping[str, Any]:
    """Return the job file of one of them."""
    return {
        "name": "keys",
        "source": {"type": "postgres", "url": url, **source},
        "target": {
            "type": "dynamodb",
            "table": "app-data",
            "endpoint_url": endpoint,
            "region": "us-east-1",
        },
        "items": [items],
    }


def figures(samples: Sequence[measure.RunSample]) -> str:
    """Return the medians of some runs in words."""
    one = measure.middle(samples)
    return f"{one.cpu_us_per_item:5.1f} µs {one.rows / one.items_per_s:5.1f} s"


def main() -> None:
    """Fill the tables and print a line a job."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--addresses", choices=("jsonb", "text"), default="jsonb", help="text: plain columns alone"
    )
    parser.add_argument(
        "--against", metavar="PYTHON", help="the interpreter of another version's environment"
    )
    parser.add_argument("jobs", nargs="*", help="the beginnings of their names; none: all")
    said = parser.parse_args()
    programs = [each for each in (said.against, sys.executable) if each]
    with (
        tempfile.TemporaryDirectory(prefix="backfill-bench-keys-") as place,
        servers.embedded_postgres(Path(place) / "data") as admin,
    ):
        servers.execute(admin, "CREATE DATABASE keys")
        url = servers.database_url(admin, "keys")
        for statement in TABLES:
            servers.execute(url, statement.format(rows=said.rows, addresses=said.addresses))
        for name, (source, items, per_row) in JOBS.items():
            if said.jobs and not name.startswith(tuple(said.jobs)):
                continue
            took: dict[str, list[measure.RunSample]] = {each: [] for each in programs}
            for _ in range(said.runs):
                for program in programs:
                    loaded = partial(job, source, items, url)
                    count = per_row * said.rows
                    took[program].append(measure.load(loaded, count, workers=WORKERS, program=program))
            line = " → ".join(figures(took[program]) for program in programs)
            print(f"{name:20} {line}  (load {os.getloadavg()[0]:.1f})", flush=True)


if __name__ == "__main__":
    main()
