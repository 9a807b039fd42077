"""A PostgreSQL source that moves: tables, what happens to them, and what is said of it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from connectors.postgres.section import PostgresSection
from connectors.postgres.source import PostgresSource, open_source
from engine.batch import Segment
from tests.support.cutting_proxy import CuttingProxy

ROWS = 20_000
WHOLE = Segment(0, None, None, None)
FILL = f"INSERT INTO t SELECT n, repeat('x', 1500), 'a' FROM generate_series(1, {ROWS}) AS n"
TABLE = (
    "CREATE TYPE mood AS ENUM ('a', 'b')",
    "CREATE TABLE t (id int PRIMARY KEY, v text, m mood)",
    FILL,
)
PARTITIONED = (
    "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (15000)",
    "CREATE TABLE high PARTITION OF t FOR VALUES FROM (15000) TO (30000)",
    f"INSERT INTO t SELECT n, repeat('x', 1500) FROM generate_series(1, {ROWS}) AS n",
)
VIEW = (*TABLE, "CREATE VIEW w AS SELECT * FROM t")
CHILDREN = (
    *TABLE,
    "CREATE TABLE c (t_id int, n int)",
    f"INSERT INTO c SELECT n, 1 FROM generate_series(1, {ROWS}) AS n",
    "CREATE INDEX ON c (t_id)",
)
BY_TEXT = (
    "CREATE TABLE t (id text PRIMARY KEY, v text)",
    f"INSERT INTO t SELECT lpad(n::text, 6, '0'), repeat('x', 1500) FROM generate_series(1, {ROWS}) AS n",
)
EMBED: dict[str, Any] = {"embed": {"kids": {"table": "c", "on": {"t_id": "id"}}}}
BY_VIEW: dict[str, Any] = {"table": "w", "key": ["id"]}
BY_QUERY: dict[str, Any] = {"table": None, "query": "SELECT * FROM t", "key": ["id"]}


@dataclass(frozen=True)
class Move:
    """What moves: the statements that make the source, those that move it, and what is said of it.

    `said` is None where reading goes on, `between` where only that differs between two runs.
    """

    make: Sequence[str]
    move: Sequence[str]
    said: str | None
    source: dict[str, Any] = field(default_factory=dict)


SWAP = ("ALTER TABLE t RENAME TO old", "CREATE TABLE t (LIKE old INCLUDING ALL)", FILL)
MOVES = {
    "truncated": Move(TABLE, ("TRUNCATE t",), "public.t was truncated"),
    "reloaded": Move(TABLE, ("TRUNCATE t", FILL), "public.t was truncated"),
    "reloaded and vacuumed": Move(TABLE, ("TRUNCATE t", FILL, "VACUUM FULL t"), "public.t was truncated"),
    "swapped": Move(TABLE, SWAP, "another took its name|no longer the table"),
    "partition detached": Move(PARTITIONED, ("ALTER TABLE t DETACH PARTITION high",), "high was dropped or"),
    "partition dropped": Move(PARTITIONED, ("DROP TABLE high",), "high was dropped or detached"),
    "partition truncated": Move(PARTITIONED, ("TRUNCATE high",), "public.high was truncated"),
    "view redefined": Move(
        VIEW,
        ("CREATE OR REPLACE VIEW w AS SELECT * FROM t WHERE id % 2 = 0",),
        "view public.w was redefined",
        BY_VIEW,
    ),
    "table below a view truncated": Move(VIEW, ("TRUNCATE t", FILL), "public.t was truncated", BY_VIEW),
    "table of a query swapped": Move(TABLE, SWAP, "public.t was dropped or another took its name", BY_QUERY),
    "table of a query truncated": Move(TABLE, ("TRUNCATE t",), "public.t was truncated", BY_QUERY),
    "children swapped": Move(
        CHILDREN, ("DROP TABLE c", "CREATE TABLE c (t_id int, n int)"), "public.c was dropped", EMBED
    ),
    "children truncated": Move(CHILDREN, ("TRUNCATE c",), "public.c was truncated", EMBED),
    "children truncated beside a wider column": Move(
        CHILDREN, ("ALTER TABLE t ALTER id TYPE bigint", "TRUNCATE c"),
        "public.c was truncated", EMBED,
    ),
    "truncated beside a longer text": Move(
        (TABLE[0], "CREATE TABLE t (id int PRIMARY KEY, v varchar(1500), m mood)", FILL),
        ("ALTER TABLE t ALTER v TYPE text", "TRUNCATE t", FILL), "public.t was truncated",
    ),
    "padded": Move(TABLE, ("ALTER TABLE t ALTER v TYPE char(1600)",), "column v of public.t has another"),
    "cut": Move(TABLE, ("ALTER TABLE t ALTER v TYPE varchar(1600)",), "column v of public.t has another"),
    "another column of that name": Move(
        TABLE, ("ALTER TABLE t DROP v", "ALTER TABLE t ADD v text"), "column v of public.t is another column"
    ),
    "collation of the key": Move(
        BY_TEXT, ('ALTER TABLE t ALTER id TYPE text COLLATE "POSIX"',), "id of public.t has another collation"
    ),
    "enum value renamed": Move(TABLE, ("ALTER TYPE mood RENAME VALUE 'a' TO 'z'",), "values of its enum"),
    "enum value renamed deep in a type": Move(
        (
            TABLE[0],
            "CREATE TYPE pair AS (m mood, n int)",
            "CREATE DOMAIN pairs AS pair[]",
            "CREATE TABLE t (id int PRIMARY KEY, v text, p pairs)",
            FILL.replace("'a'", "ARRAY[ROW('a', 1)::pair]"),
        ),
        ("ALTER TYPE mood RENAME VALUE 'a' TO 'z'",),
        "column p of public.t: values of its enum",
    ),
    "vacuum full": Move(TABLE, ("VACUUM FULL t",), None),
    "cluster": Move(TABLE, ("CLUSTER t USING t_pkey",), None),
    "reindex": Move(TABLE, ("REINDEX TABLE t",), None),
    "frozen": Move(TABLE, ("VACUUM FREEZE t", "VACUUM FULL t"), None),
    "partition vacuumed": Move(PARTITIONED, ("VACUUM FULL high",), None),
    "wider key": Move(TABLE, ("ALTER TABLE t ALTER id TYPE bigint",), None),
    "column added": Move(TABLE, ("ALTER TABLE t ADD extra int",), None),
    "enum value added": Move(TABLE, ("ALTER TYPE mood ADD VALUE 'first' BEFORE 'a'",), None),
    "index added": Move(TABLE, ("CREATE INDEX ON t (v)",), None),
    "partition added": Move(
        PARTITIONED, ("CREATE TABLE more PARTITION OF t FOR VALUES FROM (30000) TO (40000)",), None
    ),
    "children vacuumed": Move(CHILDREN, ("VACUUM FULL c",), None, EMBED),
    "others' table": Move(TABLE, ("CREATE TABLE z (id int)", "DROP TABLE z"), None),
}  # fmt: skip


@asynccontextmanager
async def behind_proxy(url: str, **source: Any) -> AsyncIterator[tuple[PostgresSource, CuttingProxy]]:
    parts = urlsplit(url)
    async with CuttingProxy(Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432") as proxy:
        address = f"postgresql://postgres@127.0.0.1:{proxy.port}{parts.path}?sslmode=disable"
        section = PostgresSection(type="postgres", url=address, **{"table": "t", "batch_rows": 500, **source})
        opened_source = await open_source(section, patience_s=20.0)
        try:
            yield opened_source, proxy
        finally:
            await opened_source.close()


async def read_across(source: PostgresSource, cut: Callable[[], Any]) -> list[int]:
    """Read all, and have something happen after the first batch."""
    found: list[int] = []
    async for batch in source.read(WHOLE, None):
        if not found:
            await cut()
        found.extend(int(value) for value in batch.rows.column("id").to_pylist())
    return found


def thinned(statement: str) -> str:
    """Fewer rows, as far up: only what is read across a cut has to be long."""
    return statement.replace(f"generate_series(1, {ROWS})", f"generate_series(1, {ROWS}, 200)")
