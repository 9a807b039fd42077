"""`run --follow`: the target goes on as the source says, until it is told to stop or something ends it."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from engine.errors import TransientError
from engine.retry import Patience
from tests.support import loads
from tests.support.command import Command, kill_group
from tests.support.logged import (
    LOG,
    TABLE,
    as_source,
    asked,
    change,
    followed,
    items,
    run,
    seen,
    until,
    values,
)
from tests.support.own_postgres import OwnPostgres
from tests.support.pg import execute

POSITION = "SELECT (confirmed_flush_lsn - '0/0')::int8 FROM pg_replication_slots WHERE slot_name = 'nightly'"
OLD_VIEWS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'backfill%'
AND (backend_xmin IS NOT NULL OR xact_start < clock_timestamp() - interval '5 seconds')
"""


@pytest.fixture
def command(logged_database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *TABLE))
    return Command(tmp_path, loads.job(logged_database, dynoxide, table_name, source={"catch_up": LOG}))


def ask(command: Command, sql: str) -> Any:
    return asyncio.run(asked(command, sql))


def test_a_full_run_and_then_what_changes_until_it_is_stopped(command: Command) -> None:
    def scene(_: threading.Event) -> None:
        until(lambda: len(items(command)) == 100, "the full run")
        change(
            command,
            "UPDATE t SET id = 1000 WHERE id = 1",
            "UPDATE t SET id = 1 WHERE id = 1000",
            "DELETE FROM t WHERE id = 2",
            "INSERT INTO t VALUES (2, 'again')",
            "DELETE FROM t WHERE id = 3",
            "UPDATE t SET id = 1004 WHERE id = 4",
            "INSERT INTO t VALUES (200, 'new')",
        )
        seen(command, "once")
        assert values(command) == as_source(command)
        until(lambda: ask(command, OLD_VIEWS) == 0, "a view is kept open while nothing happens")
        seen(command, "twice")

    ended = followed(command, scene)
    assert ended.code == 0, ended.stderr
    report = ended.report
    assert (report["kind"], report["outcome"]) == ("catch_up", "complete")
    loads.assert_balanced(report)
    assert report["segments"] == {"total": 1, "complete": 1}
    assert report["catch_up_lag_s"] < 3600
    assert report["log_retained_bytes"] >= 0
    assert ask(command, POSITION) == ask(command, f"SELECT '{report['watermark']['to']}'::pg_lsn - '0/0'")
    assert run(command, "catch_up")["rows_read"] == 0


def test_stopped_in_the_middle_of_changes_nothing_that_was_read_is_left_undone(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long it may take is the machine's affair here: that is what the last figures are for."""
    monkeypatch.setattr("engine.run.pipeline.FINISH_S", 60.0)
    monkeypatch.setattr("engine.run.pipeline.SETTLE_S", 61.0)
    monkeypatch.setattr("engine.run.coordinator.DRAIN_S", 62.0)
    run(command, "full")
    busy = threading.Event()

    async def application() -> None:
        connection = await asyncpg.connect(command.job["source"]["url"])
        number = 0
        while not busy.is_set():
            number += 1
            await connection.execute("UPDATE t SET v = $1 WHERE id = $2", f"v{number}", number % 90)
            await connection.execute("DELETE FROM t WHERE id = $1", 90 + number % 5)
            await connection.execute("INSERT INTO t VALUES ($1, $2)", 90 + number % 5, f"v{number}")
        await connection.close()

    changing = threading.Thread(target=lambda: asyncio.run(application()))

    def scene(_: threading.Event) -> None:
        changing.start()
        seen(command, "under way")

    try:
        ended = followed(command, scene)
    finally:
        busy.set()
        changing.join()
    assert ended.code == 0, ended.stderr
    assert ended.report["outcome"] == "complete"
    assert ask(command, POSITION) == ask(
        command, f"SELECT '{ended.report['watermark']['to']}'::pg_lsn - '0/0'"
    )
    run(command, "catch_up")
    assert values(command) == as_source(command)


def test_a_plain_run_gives_an_end_to_what_a_killed_follower_left(command: Command) -> None:
    run(command, "full")
    process = command.start("run", "--follow", "--workers", "1", log=command.folder / "log")
    seen(command, "followed")
    kill_group(process)
    change(command, "DELETE FROM t WHERE id = 1")
    report = run(command, "catch_up")
    assert report["resumed"]
    assert values(command) == as_source(command)
    assert run(command, "catch_up")["rows_read"] == 0


def test_a_server_that_is_started_again_is_waited_for(
    command: Command, logical_postgres: OwnPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(command, "full")
    missed, wait = threading.Event(), Patience.wait

    async def waited(patience: Patience, error: TransientError) -> None:
        missed.set()
        await wait(patience, error)

    monkeypatch.setattr(Patience, "wait", waited)
    monkeypatch.setattr("engine.absence.TOLD_AFTER_S", 0.0)

    def scene(_: threading.Event) -> None:
        seen(command, "before")
        logical_postgres.stop()
        until(missed.is_set, "nobody has missed the server")
        logical_postgres.start()
        seen(command, "behind")

    ended = followed(command, scene)
    assert ended.code == 0, ended.stderr
    assert "the source can't be read" in ended.stderr
    assert "waiting for it, up to 300 s" in ended.stderr
    assert "the source is back" in ended.stderr
    assert values(command) == as_source(command)


def test_a_quiet_table_lets_the_slot_move_on(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.postgres.feeding.QUIET_S", 0.5)
    run(command, "full")

    def scene(_: threading.Event) -> None:
        seen(command, "under way")
        before = ask(command, POSITION)
        change(command, "CREATE TABLE busy AS SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n")
        until(lambda: ask(command, POSITION) - before > 5_000_000, "the slot stands")

    assert followed(command, scene).code == 0


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT pg_drop_replication_slot('nightly')", "isn't there: it was dropped"),
        ("ALTER PUBLICATION nightly DROP TABLE t", 'has no "public"."t" any more'),
        ("ALTER TABLE t RENAME TO was; CREATE TABLE t (id int PRIMARY KEY, v text, keep boolean)", "--fresh"),
        ("SELECT pg_replication_slot_advance('nightly', pg_current_wal_lsn())", "somebody else moved it on"),
    ],
)
def test_what_becomes_of_the_log_meanwhile_ends_it_with_a_sentence(
    command: Command, monkeypatch: pytest.MonkeyPatch, statement: str, said: str
) -> None:
    monkeypatch.setattr("connectors.postgres.feed.CHECK_S", 0.5)
    monkeypatch.setattr("connectors.postgres.feeding.QUIET_S", 1000.0)
    run(command, "full")

    def scene(over: threading.Event) -> None:
        seen(command, "under way")
        change(command, "CREATE TABLE busy (id int)")
        until(lambda: done(command, statement) or over.is_set(), "the slot is never free")
        until(over.is_set, "it goes on")

    ended = followed(command, scene)
    assert ended.code == 1, ended.stderr
    assert said in ended.report["error"]
    assert "--fresh" in ended.report["error"]


def done(command: Command, statement: str) -> bool:
    """Run a statement that fails where the slot is peeked into at this moment."""
    try:
        change(command, "INSERT INTO busy VALUES (1)", statement)
    except asyncpg.ObjectInUseError:
        return False
    return True


def test_a_second_follower_is_refused(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.postgres.keep_log.BUSY_S", 2.0)
    run(command, "full")
    process = command.start("run", "--follow", "--workers", "1", log=command.folder / "log")
    try:
        seen(command, "followed")
        same = command.here("run", "--json", "--follow", "--workers", "1")
        assert same.code == 2
        assert "already being run" in same.report["error"]
        other = Command(command.folder / "other", command.job)
        other.folder.mkdir()
        elsewhere = other.here("run", "--json", "--workers", "1")
        assert elsewhere.code == 2
        assert "in use by pid" in elsewhere.report["error"]
        seen(command, "still followed")
    finally:
        kill_group(process)


def test_what_cannot_be_followed_is_refused(command: Command) -> None:
    del command.job["source"]["catch_up"]
    ended = command.here("run", "--json", "--follow")
    assert ended.code == 2
    assert "source.catch_up" in ended.report["error"]
