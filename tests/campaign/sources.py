"""The source of a seed: its rows in a database of its own, and how they move.

Invariant: a move does its worst at once: whoever reads loses the connection in the same moment.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import asyncpg
from bson import Decimal128
from pymongo import MongoClient

from bench import servers
from tests.campaign.plan import Plan
from tests.campaign.rows import Row
from tests.support import mongo_moves

TABLE = """CREATE TABLE {name} (id bigint PRIMARY KEY, grp int NOT NULL, rev bigint NOT NULL, k text NOT NULL,
  state text NOT NULL, name text NOT NULL, amount numeric NOT NULL, flag bool NOT NULL,
  at timestamptz NOT NULL, body jsonb, tags jsonb NOT NULL)"""
COLUMNS = ("id", "grp", "rev", "k", "state", "name", "amount", "flag", "at", "body", "tags")
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class Source(Protocol):
    """Where a seed's rows are."""

    section: dict[str, Any]

    def fill(self, rows: Sequence[Row]) -> None: ...

    def move(self, name: str, rows: Sequence[Row]) -> None:
        """Do what moves the source; a name says what."""
        ...


class PostgresRows:
    """A table in a database of its own."""

    def __init__(self, url: str, plan: Plan) -> None:
        self.url = url
        self._partitioned = plan.move is not None and plan.move.name == "detach"
        self.section: dict[str, Any] = {
            "type": "postgres",
            "url": url,
            "table": "t",
            "segments": plan.segments,
        }

    def fill(self, rows: Sequence[Row]) -> None:
        asyncio.run(self._fill(rows))

    async def _fill(self, rows: Sequence[Row]) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            table = TABLE.format(name="t")
            if self._partitioned:
                half = len(rows) // 2
                await connection.execute(
                    f"{table} PARTITION BY RANGE (id);"
                    f"CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO ({half});"
                    f"CREATE TABLE t_high PARTITION OF t FOR VALUES FROM ({half}) TO (1000000000)"
                )
            else:
                await connection.execute(table)
            await self._copy(connection, rows)
            await connection.execute("ANALYZE t")
        finally:
            await connection.close()

    @staticmethod
    async def _copy(connection: Any, rows: Sequence[Row]) -> None:
        records = [
            (
                *(getattr(row, name) for name in COLUMNS[:9]),
                row.body and json.dumps(row.body),
                json.dumps(row.tags),
            )
            for row in rows
        ]
        await connection.copy_records_to_table("t", records=records, columns=COLUMNS)

    def move(self, name: str, rows: Sequence[Row]) -> None:
        asyncio.run(self._move(name, rows))

    async def _move(self, name: str, rows: Sequence[Row]) -> None:
        other = TABLE.format(name="other")
        half = "INSERT INTO {name} SELECT * FROM {old} WHERE id % 2 = 0"
        statements = {
            "truncate": "TRUNCATE t",
            "truncate_reload": "CREATE TEMP TABLE old AS SELECT * FROM t; TRUNCATE t;"
            + half.format(name="t", old="old"),
            "drop": "DROP TABLE t",
            "swap": f"{other}; {half.format(name='other', old='t')};"
            "ALTER TABLE t RENAME TO gone; ALTER TABLE other RENAME TO t",
            "recreate": f"{other}; {half.format(name='other', old='t')};"
            "DROP TABLE t; ALTER TABLE other RENAME TO t",
            "detach": "ALTER TABLE t DETACH PARTITION t_high",
        }
        connection = await asyncpg.connect(self.url)
        try:
            # Those who come back queue behind the statement's lock, and find the work done.
            moving = asyncio.ensure_future(connection.execute(statements[name]))
            cutter = await asyncpg.connect(self.url)
            try:
                mine = connection.get_server_pid()
                while not moving.done():
                    await cutter.execute(f"{CUT} AND pid <> {mine}")
                    await asyncio.wait({moving}, timeout=0.05)
            finally:
                await cutter.close()
            await moving
        finally:
            await connection.close()


class MongoRows:
    """A collection in a database of its own."""

    def __init__(self, url: str, database: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(url)
        self._database = self._client[database]
        self.section: dict[str, Any] = {
            "type": "mongodb", "url": url, "database": database, "collection": "c",
        }  # fmt: skip

    def fill(self, rows: Sequence[Row]) -> None:
        documents = []
        for row in rows:
            document = {name: getattr(row, name) for name in COLUMNS}
            document |= {"_id": row.id, "amount": Decimal128(row.amount)}
            if row.body is None:
                del document["body"]
            documents.append(document)
        self._database.c.insert_many(documents)

    def move(self, name: str, rows: Sequence[Row]) -> None:
        mongo_moves.MOVES[name](self._database)

    def close(self) -> None:
        self._client.drop_database(self._database.name)
        self._client.close()


@contextmanager
def source_of(plan: Plan, postgres: str, mongodb: str) -> Iterator[PostgresRows | MongoRows]:
    """Make a seed's database on the servers that run, and drop it at the end."""
    name = f"campaign_{plan.seed}"
    if plan.source == "mongodb":
        source = MongoRows(mongodb, name)
        try:
            yield source
        finally:
            source.close()
        return
    servers.execute(postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    servers.execute(postgres, f"CREATE DATABASE {name}")
    try:
        yield PostgresRows(servers.database_url(postgres, name), plan)
    finally:
        servers.execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")
