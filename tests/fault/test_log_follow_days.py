"""Bad days of `run --follow`, of both sources: a lame network, a target that is away, a clock that is set."""

import asyncio
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pymongo import MongoClient

from tests.support import loads
from tests.support.command import Command, kill_group
from tests.support.jumping_clock import JumpingClock
from tests.support.logged import LOG, TABLE, as_source, followed, run, until, values
from tests.support.own_postgres import OwnPostgres, embedded_binaries, own_postgres
from tests.support.pg import execute
from tests.support.streamed import streaming
from tests.support.switch_proxy import SwitchProxy

pytestmark = pytest.mark.fault

LASTS_S = 1.0
"""How long what goes wrong goes wrong: several of the rounds in which a log is read."""


@dataclass(frozen=True, slots=True)
class Day:
    """A job that goes by its source's log, reached through a proxy, and the application beside it.

    `write` and `remove` see to rows by number; `told` is what the items have to say by now.
    """

    command: Command
    source: SwitchProxy
    write: Callable[[int, str], None]
    remove: Callable[[int], None]
    told: Callable[[], dict[str, str]]

    def seen(self, value: str) -> None:
        """Change row 100, and wait until the target has it: then it has all that came before, too."""
        self.write(100, value)
        until(lambda: value in values(self.command).values(), f"{value} isn't there")
        assert values(self.command) == self.told()


@pytest.fixture(scope="module")
def logical_postgres() -> Iterator[OwnPostgres]:
    """The newest PostgreSQL alone: what is seen here is no matter of versions."""
    with own_postgres(embedded_binaries(), "pgserver", "wal_level=logical") as server:
        yield server


@pytest.fixture(params=["postgres", "mongodb"])
def day(
    request: pytest.FixtureRequest, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> Iterator[Day]:
    with ExitStack() as stack:
        through = _postgres_day if request.param == "postgres" else _mongodb_day
        yield through(request, stack, database, dynoxide, table_name, tmp_path)


def _postgres_day(
    request: pytest.FixtureRequest, stack: ExitStack, database: str, endpoint: str, table: str, folder: Path
) -> Day:
    url: str = request.getfixturevalue("logged_database")
    address = f"127.0.0.1:{request.getfixturevalue('logical_postgres').port}"
    proxy = stack.enter_context(SwitchProxy(f"http://{address}"))
    asyncio.run(execute(url, *TABLE))
    loads.create_table(endpoint, table)
    direct = Command(folder, loads.job(url, endpoint, table, source={"catch_up": LOG}))
    through = url.replace(address, proxy.endpoint.removeprefix("http://"))
    put = "INSERT INTO t VALUES ({}, '{}') ON CONFLICT (id) DO UPDATE SET v = excluded.v"
    return Day(
        Command(folder, loads.job(through, endpoint, table, source={"catch_up": LOG})),
        proxy,
        lambda number, value: asyncio.run(execute(url, put.format(number, value))),
        lambda number: asyncio.run(execute(url, f"DELETE FROM t WHERE id = {number}")),
        lambda: as_source(direct),
    )


def _mongodb_day(
    request: pytest.FixtureRequest, stack: ExitStack, database: str, endpoint: str, table: str, folder: Path
) -> Day:
    url: str = request.getfixturevalue("mongodb_url")
    address = url.removeprefix("mongodb://").partition("/")[0]
    proxy = stack.enter_context(SwitchProxy(f"http://{address}"))
    made = stack.enter_context(streaming(url, database, endpoint, table, folder))
    through = f"mongodb://{proxy.endpoint.removeprefix('http://')}/?directConnection=true"  # not past it
    made.command.job["source"]["url"] = through
    collection: MongoClient = made.collection
    return Day(
        made.command,
        proxy,
        lambda number, value: collection.replace_one({"_id": number}, {"v": value}, upsert=True),
        lambda number: collection.delete_one({"_id": number}),
        lambda: {f"D#{each['_id']}|D": each["v"] for each in collection.find()},
    )


def while_wrong(day: Day, felt: threading.Event, number: int, wrong: AbstractContextManager[None]) -> None:
    """Have the application go on while something goes wrong, and see that all of it arrives afterwards."""
    changed, gone, again = (10 * number + each for each in (1, 2, 3))
    day.seen(f"before {number}")
    with wrong:
        day.write(changed, "meanwhile")
        day.remove(gone)
        day.remove(again)
        until(felt.is_set, f"nobody has met it: {number}")
        day.write(again, "again")
        time.sleep(LASTS_S)
        day.write(changed, "later")
    day.seen(f"behind {number}")


def test_a_network_that_is_gone_or_lame_for_a_while_costs_no_change(day: Day) -> None:
    proxy = day.source
    run(day.command, "full")

    def scene(_: threading.Event) -> None:
        while_wrong(day, proxy.felt, 0, proxy.away())
        while_wrong(day, proxy.felt, 1, proxy.held_up("up", "down"))
        while_wrong(day, proxy.felt, 2, proxy.held_up("up"))
        while_wrong(day, proxy.felt, 3, proxy.held_up("down"))

    ended = followed(day.command, scene)
    assert ended.code == 0, ended.stderr
    loads.assert_balanced(ended.report)
    assert run(day.command, "catch_up")["rows_read"] == 0


def test_a_target_that_is_away_for_a_while_gets_all_of_it_later(day: Day) -> None:
    target = day.command.job["target"]
    with SwitchProxy(target["endpoint_url"]) as proxy:
        direct, target["endpoint_url"] = target["endpoint_url"], proxy.endpoint
        run(day.command, "full")

        def told_there() -> dict[str, str]:
            found = loads.items(direct, target["table"])
            return {place: item["v"]["S"] for place, item in found.items()}

        def scene(_: threading.Event) -> None:
            while_wrong(day, proxy.felt, 0, proxy.away())
            while_wrong(day, proxy.felt, 1, proxy.held_up("up", "down"))
            while_wrong(day, proxy.felt, 2, proxy.held_up("down"))

        ended = followed(day.command, scene)
        assert ended.code == 0, ended.stderr
        loads.assert_balanced(ended.report)
        assert told_there() == day.told()


def test_a_clock_that_is_set_forward_and_back_changes_nothing(day: Day, tmp_path: Path) -> None:
    folder = tmp_path / "clock"
    folder.mkdir()
    clock = JumpingClock(folder)
    run(day.command, "full")
    process = day.command.start(
        "run", "--follow", "--json", "--workers", "1", log=folder / "log", env=clock.env
    )
    try:
        for number, ahead_s in enumerate((0, 3600, -3600)):
            clock.jump(ahead_s)
            day.write(1, f"{ahead_s}")
            day.remove(2 + number)
            day.seen(f"set to {ahead_s}")
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=120)
    except (AssertionError, subprocess.TimeoutExpired):
        kill_group(process)
        raise
    report = json.loads(stdout)
    assert process.returncode == 0, (folder / "log").read_text()
    loads.assert_balanced(report)
    assert report["catch_up_lag_s"] < 1800
    assert 0 < report["elapsed_s"] < 1800
    finished = datetime.fromisoformat(report["finished_at"])
    assert finished < datetime.now(UTC) - timedelta(minutes=50), "the process lived by the clock that was set"
    assert run(day.command, "catch_up")["rows_read"] == 0
