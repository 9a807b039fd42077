"""Bad days of a catch-up run from PostgreSQL's log: what is huge, restarts, goes away or dies meanwhile."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.servers import free_port
from tests.support import loads
from tests.support.command import Command, kill_group
from tests.support.kills import finish
from tests.support.logged import LOG, TABLE, asked, change, items, once_looked_up, refused, run
from tests.support.own_postgres import OwnPostgres, embedded_binaries, own_postgres
from tests.support.pg import execute
from tests.support.switch_proxy import SwitchProxy

HUGE_ROWS, HUGE_BYTES = 200_000, 500
SPARE_MB = 60
"""Half of what the rows of one huge transaction take as text, without what anything costs besides."""


@pytest.fixture(scope="module")
def logical_postgres() -> Iterator[OwnPostgres]:
    """The newest PostgreSQL alone: what is seen here is no matter of versions."""
    with own_postgres(embedded_binaries(), "pgserver", "wal_level=logical") as server:
        yield server


@pytest.fixture
def command(logged_database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *TABLE))
    return Command(tmp_path, loads.job(logged_database, dynoxide, table_name, source={"catch_up": LOG}))


def many(command: Command) -> None:
    """Change 90 rows in as many transactions, and take 5 away."""
    change(
        command,
        *(f"UPDATE t SET v = 'second' WHERE id = {n}" for n in range(1, 91)),
        "DELETE FROM t WHERE id > 95",
    )


def assert_caught_up(command: Command) -> None:
    found = {place: item["v"]["S"] for place, item in items(command).items()}
    assert found == {f"ROW#{n}|ROW": "second" if n <= 90 else "first" for n in range(1, 96)}


def test_one_transaction_of_very_many_rows_takes_no_more_memory(command: Command, null_target: str) -> None:
    command.job["target"]["endpoint_url"] = null_target
    peaks = []
    assert command.run("run", "--workers", "1").code == 0
    for rows in (1_000, HUGE_ROWS):
        change(
            command,
            f"INSERT INTO t SELECT n, repeat('x', {HUGE_BYTES}) FROM generate_series(1001, {rows} + 1000) n"
            " ON CONFLICT (id) DO UPDATE SET v = excluded.v || 'y'",
        )
        ended = command.run("run", "--json", "--workers", "1")
        assert ended.code == 0, ended.stderr
        assert ended.report["items_written"] == rows
        peaks.append(ended.report["peak_rss_mb"])
    assert peaks[1] - peaks[0] < SPARE_MB, peaks


def test_thousands_of_changes_of_one_key_are_one_item(command: Command) -> None:
    run(command, "full")
    change(
        command,
        "DO $$ BEGIN FOR n IN 1..5000 LOOP UPDATE t SET v = 'v' || n WHERE id = 1; COMMIT; END LOOP; END $$",
        "DO $$ BEGIN FOR n IN 1..500 LOOP UPDATE t SET id = 1000 + n % 3 WHERE id >= 1000 OR id = 2; COMMIT;"
        " END LOOP; END $$",
    )
    report = run(command, "catch_up")
    assert items(command)["ROW#1|ROW"]["v"] == {"S": "v5000"}
    assert items(command).keys() == {f"ROW#{n}|ROW" for n in (1, *range(3, 101), 1002)}
    assert report["items_emitted"] < 20


def test_a_full_run_that_is_killed_while_the_log_grows_misses_nothing(command: Command) -> None:
    change(command, "INSERT INTO t SELECT n, 'first' FROM generate_series(101, 1500) n")
    command.job["target"]["max_wcu"] = 300
    process = command.start("run", "--workers", "1")
    places: set[str] = set()
    while not places:
        assert process.poll() is None
        places = set(items(command))
        time.sleep(0.1)
    change(
        command,
        "UPDATE t SET v = 'second' WHERE id % 2 = 0",
        "DELETE FROM t WHERE id % 7 = 0",
        "UPDATE t SET id = id + 5000 WHERE id % 11 = 0",
    )
    kill_group(process)
    change(command, "UPDATE t SET v = 'third' WHERE id % 3 = 0", "DELETE FROM t WHERE id % 13 = 0")
    del command.job["target"]["max_wcu"]
    ended = finish(command, 1)
    assert (ended.code, ended.report["kind"], ended.report["resumed"]) == (0, "full", True), ended.stderr
    run(command, "catch_up")
    rows = asyncio.run(asked(command, "SELECT jsonb_object_agg('ROW#' || id || '|ROW', v)::text FROM t"))
    assert {place: item["v"]["S"] for place, item in items(command).items()} == json.loads(rows)


@pytest.mark.parametrize("how", ["restarted", "crashed"])
def test_a_server_that_restarts_in_the_middle_of_a_pass_is_read_on(
    command: Command, monkeypatch: pytest.MonkeyPatch, logical_postgres: OwnPostgres, how: str
) -> None:
    run(command, "full")
    many(command)
    how_said = signal.SIGINT if how == "restarted" else signal.SIGQUIT
    once_looked_up(monkeypatch, lambda: logical_postgres.restart(how_said))
    run(command, "catch_up")
    assert_caught_up(command)
    assert run(command, "catch_up")["items_emitted"] == 0


def test_a_target_that_is_away_in_the_middle_of_a_pass_is_waited_for(
    command: Command, monkeypatch: pytest.MonkeyPatch, dynoxide: str
) -> None:
    with SwitchProxy(dynoxide) as proxy:
        command.job["target"]["endpoint_url"] = proxy.endpoint
        run(command, "full")
        many(command)

        def away() -> None:
            proxy.switch(f"http://127.0.0.1:{free_port()}")
            threading.Timer(2.0, proxy.switch, (dynoxide,)).start()

        once_looked_up(monkeypatch, away)
        ended = command.here("run", "--json", "--workers", "1")
    command.job["target"]["endpoint_url"] = dynoxide
    assert ended.code == 0, ended.stderr
    assert_caught_up(command)


def test_a_standby_that_was_promoted_without_the_slot_is_told_from_the_primary(
    command: Command, logical_postgres: OwnPostgres
) -> None:
    run(command, "full")
    with logical_postgres.standby() as standby:
        change(command, "UPDATE t SET v = 'second' WHERE id = 1")
        url = command.job["source"]["url"]
        command.job["source"]["url"] = url.replace(f":{logical_postgres.port}/", f":{standby.port}/")
        assert "is a standby" in refused(command)
        asyncio.run(execute(command.job["source"]["url"], "SELECT pg_promote()"))
        said = refused(command)
        assert "a standby that never had it was promoted" in said
        assert "--delete-extra" in said
        run(command, "full", 0, "--fresh")
        change(command, "DELETE FROM t WHERE id = 2")
        run(command, "catch_up")
        assert "ROW#2|ROW" not in items(command)
        command.job["source"]["url"] = url
