"""What becomes of a slot, meanwhile or between two runs: nothing of the log is passed over in silence."""

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.logged import LOG, TABLE, asked, change, items, logs, once_looked_up, refused, run
from tests.support.own_postgres import OwnPostgres
from tests.support.pg import execute

DROP = "SELECT pg_drop_replication_slot('nightly')"
MAKE = "SELECT pg_create_logical_replication_slot('nightly', 'pgoutput')"
ADVANCE = "SELECT pg_replication_slot_advance('nightly', pg_current_wal_lsn())"
ENTERED_S = 120.0


@pytest.fixture
def command(logged_database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *TABLE))
    return Command(tmp_path, loads.job(logged_database, dynoxide, table_name, source={"catch_up": LOG}))


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ((DROP,), "isn't there: it was dropped"),
        ((ADVANCE,), "somebody else moved it on"),
        ((DROP, MAKE), "somebody else moved it on"),
    ],
)
def test_what_is_done_to_a_slot_while_it_is_read_ends_the_run(
    command: Command, monkeypatch: pytest.MonkeyPatch, statements: tuple[str, ...], said: str
) -> None:
    run(command, "full")
    change(command, *(f"UPDATE t SET v = 'second' WHERE id = {n}" for n in range(1, 91)))
    once_looked_up(monkeypatch, lambda: change(command, *statements))
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 1, ended.stderr
    assert said in ended.report["error"]
    assert "--delete-extra" in ended.report["error"]
    assert said in refused(command), "and the next one sees it, too"
    run(command, "full", 0, "--fresh")
    assert {item["v"]["S"] for place, item in items(command).items() if int(place[4:-4]) <= 90} == {"second"}


@pytest.mark.parametrize(
    "statements",
    [
        ("ALTER PUBLICATION nightly DROP TABLE t", "ALTER PUBLICATION nightly ADD TABLE t"),
        (
            "ALTER PUBLICATION nightly SET (publish = 'insert')",
            "ALTER PUBLICATION nightly SET (publish = 'insert, update, delete, truncate')",
        ),
    ],
)
def test_what_was_not_published_for_a_while_is_noticed(command: Command, statements: tuple[str, str]) -> None:
    """Everything is as it was again, and nothing in the log says that something was left out."""
    run(command, "full")
    first, last = statements
    change(command, first, "DELETE FROM t WHERE id = 1", last)
    said = refused(command)
    assert "publication nightly was altered" in said
    assert "--fresh" in said
    run(command, "full", 0, "--fresh")
    change(command, "CREATE TABLE u (id int)", "ALTER PUBLICATION nightly ADD TABLE u", "DROP TABLE u")
    run(command, "catch_up")


def invalidated(command: Command, *fill: str) -> None:
    """Have the server look whether slots are to be given up, until it has given this one up."""
    deadline = time.monotonic() + ENTERED_S
    while asyncio.run(asked(command, STATUS)) != "lost":
        assert time.monotonic() < deadline
        change(command, *fill, "SELECT pg_switch_wal()", "CHECKPOINT")


STATUS = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'nightly'"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("max_slot_wal_keep_size = '1MB'", "is lost ("),
        ("idle_replication_slot_timeout = '1s'", "idle_timeout"),
    ],
)
def test_a_slot_that_the_server_gave_up_is_lost_and_made_again(
    command: Command, logical_postgres: OwnPostgres, setting: str, said: str
) -> None:
    name = setting.split()[0]
    if not asyncio.run(asked(command, f"SELECT count(*) FROM pg_settings WHERE name = '{name}'")):
        pytest.skip("this server gives up no slot for that")
    run(command, "full")
    change(command, "UPDATE t SET v = 'second' WHERE id = 1")
    server = logical_postgres.url()
    asyncio.run(execute(server, f"ALTER SYSTEM SET {setting}", "SELECT pg_reload_conf()"))
    try:
        fill = "CREATE TABLE IF NOT EXISTS filler AS SELECT repeat('x', 1000) FROM generate_series(1, 3000)"
        invalidated(command, fill)
    finally:
        asyncio.run(execute(server, f"ALTER SYSTEM RESET {name}", "SELECT pg_reload_conf()"))
    sentence = refused(command)
    assert said in sentence
    assert "--delete-extra" in sentence
    assert command.here("status").code == 0
    run(command, "full", 0, "--fresh")
    change(command, "DELETE FROM t WHERE id = 2")
    run(command, "catch_up")
    assert items(command)["ROW#1|ROW"]["v"] == {"S": "second"}
    assert "ROW#2|ROW" not in items(command)


def test_a_slot_that_somebody_else_reads_is_named_with_its_pid(
    command: Command, logical_postgres: OwnPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.postgres.keep_log.BUSY_S", 0.3)
    run(command, "full")
    url = command.job["source"]["url"]
    other = subprocess.Popen(
        [logical_postgres.binaries / "pg_recvlogical", "-d", url, "--slot", "nightly", "--start",
         "-f", "-", "-o", "proto_version=1", "-o", "publication_names=nightly"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        active = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'nightly'"
        deadline = time.monotonic() + ENTERED_S
        while (pid := asyncio.run(asked(command, active))) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sentence = refused(command)
        assert f"in use by pid {pid} (pg_recvlogical)" in sentence
        assert "one process at a time goes by a slot" in sentence
    finally:
        other.terminate()
        other.wait()


@pytest.mark.parametrize("rights", [(), ("GRANT CREATE ON DATABASE {database} TO {role}",), ("REPLICATION",)])
def test_whoever_may_runs_what_a_role_without_rights_is_told(
    command: Command, database: str, logical_postgres: OwnPostgres, rights: tuple[str, ...]
) -> None:
    """The sentence is SQL that makes the next run work, whichever right is there already."""
    role, url = f"r_{database}", command.job["source"]["url"]
    replicates = "REPLICATION" if "REPLICATION" in rights else ""
    asyncio.run(
        execute(
            url,
            f"CREATE ROLE {role} LOGIN {replicates} PASSWORD 'p'",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
            *(each.format(database=database, role=role) for each in rights if each != "REPLICATION"),
        )
    )
    try:
        command.job["source"]["url"] = f"postgresql://{role}:p@127.0.0.1:{logical_postgres.port}/{database}"
        sentence = refused(command)
        assert logs(command) == (0, 0)
        _, _, todo = sentence.partition("have this run by whoever may: ")
        asyncio.run(execute(url, todo.rstrip(";")))
        run(command, "full")
        asyncio.run(execute(url, "DELETE FROM t WHERE id = 1", "CREATE TABLE u (id int PRIMARY KEY)"))
        run(command, "catch_up")
        assert "ROW#1|ROW" not in items(command)
        # A publication that is there, but lacks a table: only its owner adds one.
        asyncio.run(execute(url, "ALTER PUBLICATION nightly SET TABLE u"))
        _, _, todo = refused(command, 2, "--fresh").partition("have this run by whoever may: ")
        asyncio.run(execute(url, todo.rstrip(";")))
        run(command, "full", 0, "--fresh")
    finally:
        command.job["source"]["url"] = url
        assert command.here("log drop").code == 0
        asyncio.run(execute(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}"))


def test_no_run_by_the_log_has_more_connections_than_it_says(
    command: Command, database: str, logical_postgres: OwnPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, most, connect = list[Any](), 0, asyncpg.connect

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal most
        opened.append(await connect(*arguments, **options))
        most = max(most, sum(not each.is_closed() for each in opened))
        return opened[-1]

    monkeypatch.setattr("connectors.postgres.session.asyncpg.connect", counted)
    monkeypatch.setattr("engine.commands.run.following.ASK_S", 0.1)
    monkeypatch.setattr("connectors.postgres.slot_reading.PEEK_CHANGES", 20)
    command.job["source"] |= {"max_connections": 4, "segments": 8, "batch_rows": 10}
    run(command, "full")
    change(command, *(f"UPDATE t SET v = 'second' WHERE id = {n}" for n in range(1, 91)))
    run(command, "catch_up")
    assert most in (3, 4)
    monkeypatch.setattr("connectors.postgres.session.asyncpg.connect", connect)
    role, url = f"r_{database}", command.job["source"]["url"]
    made = f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 3 PASSWORD 'p'"
    asyncio.run(execute(url, made, f"GRANT SELECT ON t TO {role}"))
    try:
        command.job["source"]["url"] = f"postgresql://{role}:p@127.0.0.1:{logical_postgres.port}/{database}"
        assert "may have 3 connections at a time" in refused(command)
    finally:
        asyncio.run(execute(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}"))
