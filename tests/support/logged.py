"""A job that goes by PostgreSQL's log: what is done to its table, and what its runs say."""

import asyncio
from typing import Any

import asyncpg

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

LOG = {"type": "log", "slot": "nightly"}
TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, v text, keep boolean NOT NULL DEFAULT true)",
    "INSERT INTO t SELECT n, 'first' FROM generate_series(1, 100) n",
)


def change(command: Command, *statements: str) -> None:
    """Be the application."""
    asyncio.run(execute(command.job["source"]["url"], *statements))


async def asked(command: Command, sql: str) -> Any:
    """Return the one value that a query gives."""
    connection = await asyncpg.connect(command.job["source"]["url"])
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def run(command: Command, kind: str, code: int = 0, *options: str) -> dict[str, Any]:
    """Run, see that it was of this kind and that its numbers balance, and return its report."""
    ended = command.here("run", "--json", "--workers", "1", *options)
    assert ended.code == code, ended.stderr
    loads.assert_balanced(ended.report)
    assert ended.report["kind"] == kind
    return ended.report


def items(command: Command) -> dict[str, Any]:
    """Return what the target has, by key."""
    target = command.job["target"]
    return loads.items(target["endpoint_url"], target["table"])


def refused(command: Command, code: int = 2, *options: str) -> str:
    """Run, see that nothing was done, and return why."""
    before = items(command)
    ended = command.here("run", "--json", "--workers", "1", *options)
    assert ended.code == code, (ended.stdout, ended.stderr)
    assert items(command) == before
    return str(ended.report["error"])


def logs(command: Command) -> tuple[int, int]:
    """Return how many slots and publications there are."""
    slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    publications = "SELECT count(*) FROM pg_publication"
    return asyncio.run(asked(command, slots)), asyncio.run(asked(command, publications))
