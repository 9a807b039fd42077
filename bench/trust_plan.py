"""Plans held against what the target then reports, for three jobs; and plans of a large table.

Invariant: nothing of a plan is adjusted here; a job's error is that of its worst figure, table or index.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench import compare, orders, plan_at_size, servers

SAMPLE_ROWS = 1_000
PERCENT = 100

Command = Callable[..., Any]

_ROWS = """
CREATE TABLE people (id int PRIMARY KEY, email text, status text NOT NULL, bio text NOT NULL,
    joined timestamptz NOT NULL, addresses jsonb NOT NULL);
INSERT INTO people
SELECT g, CASE WHEN g % 3 > 0 THEN 'user' || g || '@example.com' END,
    (ARRAY['active', 'blocked'])[1 + g % 2], repeat('é', (g * 37) % 1900),
    timestamptz '2024-01-01Z' + g * interval '1 minute',
    jsonb_path_query_array(jsonb_build_array(
        jsonb_build_object('type', 'home', 'street', repeat('x', (g * 91) % 1500)),
        jsonb_build_object('type', 'work', 'street', 'Street ' || g)), '$[0 to $n]',
        jsonb_build_object('n', g % 2))
FROM generate_series(1, 50000) AS g;
CREATE TABLE phones (person_id int NOT NULL, line_no int NOT NULL, number text NOT NULL,
    PRIMARY KEY (person_id, line_no));
INSERT INTO phones SELECT g, n, repeat('7', g % 900)
FROM generate_series(1, 50000) AS g, generate_series(1, 1 + g % 4) AS n;
ANALYZE
"""
"""Items of 100 bytes to 5 KB, so that units aren't simply items; a third has no email."""

_KEY = {"PK": "P#{id}", "SK": "P"}
_PHONES = {"table": "phones", "on": {"person_id": "id"}, "order_by": ["line_no"]}

JOBS: Mapping[str, Mapping[str, Any]] = {
    "flat": {
        "source": {"table": "people"},
        "items": [{"name": "Person", "key": _KEY, "include": "all"}],
    },
    "embedded": {
        "source": {"table": "people", "embed": {"phones": _PHONES}},
        "items": [{"name": "Person", "key": _KEY, "include": "all", "exclude": ["bio"]}],
    },
    "fan-out, two indexes": {
        "source": {"table": "people"},
        "create": {
            "gsi": [
                {"name": "ByEmail", "partition_key": "GSI1PK", "projection": ["bio"]},
                {"name": "ByType", "partition_key": "kind", "sort_key": "joined"},
            ]
        },
        "items": [
            {
                "name": "Person",
                "key": _KEY,
                "include": ["bio", "status", "joined"],
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
    },
}


def held_against_facts(
    server: str, endpoint: str, command: Command, tell: compare.Tell
) -> dict[str, dict[str, Any]]:
    """Plan each job, run it, and return by how much its write units were off. Units: percent."""
    servers.execute(server, "CREATE DATABASE people_planned")
    source = servers.database_url(server, "people_planned")
    try:
        servers.execute(source, _ROWS)
        return {name: _held(name, source, endpoint, command, tell) for name in JOBS}
    finally:
        servers.execute(server, "DROP DATABASE people_planned WITH (FORCE)")


def at_size(server: str, endpoint: str, rows: int, tell: compare.Tell) -> dict[str, Any]:
    """Plan a table of orders from a sample and from all of it; return seconds and MB by case."""
    found: dict[str, Any] = {"rows": rows}
    with compare.table_of(server, rows) as source, tempfile.TemporaryDirectory() as folder:
        job = orders.job(source, endpoint)
        job["target"] |= {"table": "orders_planned", "create": {}}
        for name, planned, options in plan_at_size.cases(job):
            elapsed, rss_mb, _ = plan_at_size.measure(planned, Path(folder), *options)
            found[name] = {"elapsed_s": round(elapsed, 1), "peak_rss_mb": round(rss_mb, 1)}
            tell(f"plan of {rows:,} rows, {name}: {elapsed:.1f} s, {rss_mb:.0f} MB")
    return found


def _held(name: str, source: str, endpoint: str, command: Command, tell: compare.Tell) -> dict[str, Any]:
    parts = JOBS[name]
    table = f"people-{name.partition(',')[0]}"
    job = {
        "name": table,
        "source": {"type": "postgres", "url": source, **parts["source"]},
        "target": {
            "type": "dynamodb",
            "table": table,
            "region": "us-east-1",
            "endpoint_url": endpoint,
            "create": parts.get("create", {}),
        },
        "items": parts["items"],
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        planned = command(folder, job, "plan", "--json", "--sample", str(SAMPLE_ROWS)).report["write_units"]
        command(folder, job, "table create")
        fact = command(folder, job, "run", "--json", "--workers", "1").report["consumed_wcu"]
    off = {"table": _off(planned["table"], fact["table"])}
    off |= {index: _off(planned["gsi"].get(index, 0.0), units) for index, units in fact["gsi"].items()}
    worst = max(off.values(), key=abs)
    units, used = f"{planned['table']:,.0f}", f"{fact['table']:,.0f}"
    tell(f"plan, {name}: {units} write units planned for the table, {used} used, {worst:+.1f} % at worst")
    return {"planned": planned, "used": fact, "off_percent": worst, "off_percent_by_part": off}


def _off(planned: float, fact: float) -> float:
    return round((planned / fact - 1) * PERCENT, 2)
