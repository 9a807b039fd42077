"""A job that goes by PostgreSQL's log: what is done to its table, and what its runs say."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from connectors.postgres.looking_up import LookUps
from tests.support import loads
from tests.support.command import Command, Ended
from tests.support.pg import execute

WAIT_S = 120.0
"""How long anything may take on a machine that is busy with other things."""
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


def as_source(command: Command) -> dict[str, str]:
    """Return what each item has to say, by the source."""
    rows = asyncio.run(asked(command, "SELECT coalesce(json_object_agg(id, v), '{}')::text FROM t"))
    return {f"ROW#{key}|ROW": value for key, value in json.loads(rows).items()}


def values(command: Command) -> dict[str, str]:
    """Return what each item says."""
    return {place: item["v"]["S"] for place, item in items(command).items()}


def refused(command: Command, code: int = 2, *options: str) -> str:
    """Run, see that nothing was done, and return why."""
    before = items(command)
    ended = command.here("run", "--json", "--workers", "1", *options)
    assert ended.code == code, (ended.stdout, ended.stderr)
    assert items(command) == before
    return str(ended.report["error"])


def once_looked_up(patch: pytest.MonkeyPatch, what: Callable[[], None]) -> None:
    """Have something happen once a run of several peeks has looked its first rows up."""
    looked_up, left = LookUps.looked_up, [what]

    async def wrapped(look_ups: LookUps, *arguments: Any) -> Any:
        found = await looked_up(look_ups, *arguments)
        if found is not None and left:
            await asyncio.to_thread(left.pop())
        return found

    patch.setattr(LookUps, "looked_up", wrapped)
    patch.setattr("connectors.postgres.slot_reading.PEEK_CHANGES", 20)


def parts_of(patch: pytest.MonkeyPatch, rows: int) -> None:
    """Have so many rows looked up together, at most."""
    patch.setattr("connectors.log_progress.PART_ROWS", rows)
    patch.setattr("connectors.log_progress.PART_ROWS_MAX", rows)
    patch.setattr("connectors.postgres.slot_reading.FETCH_ROWS", rows)


def logs(command: Command) -> tuple[int, int]:
    """Return how many slots and publications there are."""
    slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    publications = "SELECT count(*) FROM pg_publication"
    return asyncio.run(asked(command, slots)), asyncio.run(asked(command, publications))


def until(happened: Callable[[], bool], what: str) -> None:
    """Wait for something. Raises: AssertionError when it takes too long."""
    deadline = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def seen(command: Command, value: str) -> None:
    """Change row 100, and wait until the target has it: then it has all that was committed before, too."""
    change(command, f"UPDATE t SET v = '{value}' WHERE id = 100")
    until(lambda: items(command).get("ROW#100|ROW", {}).get("v") == {"S": value}, f"{value} isn't there")


def followed(command: Command, scene: Callable[[threading.Event], None], *options: str) -> Ended:
    """Follow the log in this process while a scene plays beside it; at its end the follower is told to stop.

    The scene sees the follower at work before it ends, and is told when that is over.
    """
    over, failed = threading.Event(), []

    def play() -> None:
        try:
            scene(over)
        except BaseException as error:
            failed.append(error)
        while not over.is_set():
            if signal.getsignal(signal.SIGTERM) is not early:
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(0.1)

    def early(*_: object) -> None:
        """Take a signal that comes before the follower, or behind it."""

    before, playing = signal.signal(signal.SIGTERM, early), threading.Thread(target=play)
    playing.start()
    try:
        ended = command.here("run", "--json", "--follow", "--workers", "1", *options)
    finally:
        over.set()
        playing.join()
        signal.signal(signal.SIGTERM, before)
    if failed:
        raise failed[0]
    return ended
