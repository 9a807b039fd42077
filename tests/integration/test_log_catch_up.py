"""Catch-up runs from PostgreSQL's log: the table ends as the source says, and nothing is left."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.own_postgres import OwnPostgres, embedded_binaries, own_postgres, system_binaries
from tests.support.pg import execute

LOG = {"type": "log", "slot": "nightly"}

SHARED = {"name": "V", "key": {"PK": "{v}", "SK": "V"}}


@pytest.fixture(scope="module", params=["18", "15"])
def server(request: pytest.FixtureRequest) -> Iterator[OwnPostgres]:
    binaries, user = embedded_binaries(), "pgserver"
    if request.param == "15":
        found = system_binaries()
        if found is None:
            pytest.skip("no PostgreSQL of the system's own is here")
        binaries, user = found, "postgres"
    with own_postgres(binaries, user, "wal_level=logical") as made:
        yield made


@pytest.fixture
def url(server: OwnPostgres, database: str) -> Iterator[str]:
    asyncio.run(execute(server.url(), f"CREATE DATABASE {database}"))
    yield server.url(database=database)
    asyncio.run(cleared(server.url(), database))


async def cleared(url: str, database: str) -> None:
    """Drop a database with the slots in it."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1", database
        )
        for row in await connection.fetch(
            "SELECT slot_name FROM pg_replication_slots WHERE database = $1", database
        ):
            await connection.execute("SELECT pg_drop_replication_slot($1)", row[0])
        await connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
def command(url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    sql = (
        "CREATE TABLE t (id int PRIMARY KEY, v text, keep boolean NOT NULL DEFAULT true)",
        "INSERT INTO t SELECT n, 'first' FROM generate_series(1, 100) n",
    )
    asyncio.run(execute(url, *sql))
    return Command(tmp_path, loads.job(url, dynoxide, table_name, source={"catch_up": LOG}))


def change(command: Command, *statements: str) -> None:
    asyncio.run(execute(command.job["source"]["url"], *statements))


def run(command: Command, kind: str, code: int = 0, *options: str) -> dict[str, Any]:
    ended = command.here("run", "--json", "--workers", "1", *options)
    assert ended.code == code, ended.stderr
    loads.assert_balanced(ended.report)
    assert ended.report["kind"] == kind
    return ended.report


def items(command: Command) -> dict[str, Any]:
    target = command.job["target"]
    return loads.items(target["endpoint_url"], target["table"])


def test_deleted_rows_and_changed_keys_leave_nothing_behind(command: Command) -> None:
    run(command, "full")
    assert len(items(command)) == 100
    change(
        command,
        "DELETE FROM t WHERE id = 1",
        "UPDATE t SET id = 1000 WHERE id = 2",
        "UPDATE t SET v = 'second' WHERE id = 3",
        "INSERT INTO t VALUES (200, 'new')",
        "INSERT INTO t VALUES (201, 'gone again')",
        "DELETE FROM t WHERE id = 201",
    )
    report = run(command, "catch_up")
    found = items(command)
    assert {"ROW#1|ROW", "ROW#2|ROW", "ROW#201|ROW"}.isdisjoint(found)
    assert {"ROW#1000|ROW", "ROW#200|ROW"} <= found.keys()
    assert found["ROW#3|ROW"]["v"] == {"S": "second"}
    assert len(found) == 100
    assert (report["items_written"], report["items_deleted"], report["items_coalesced"]) == (3, 3, 0)
    assert run(command, "catch_up")["items_emitted"] == 0


def refused(command: Command, code: int = 2, *options: str) -> str:
    """Run, see that nothing was done, and return why."""
    before = items(command)
    ended = command.here("run", "--json", "--workers", "1", *options)
    assert ended.code == code, (ended.stdout, ended.stderr)
    assert items(command) == before
    return str(ended.report["error"])


def logs(command: Command) -> tuple[int, int]:
    """Return how many slots and publications there are."""

    async def counted() -> tuple[int, int]:
        connection = await asyncpg.connect(command.job["source"]["url"])
        try:
            slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
            return (
                await connection.fetchval(slots),
                await connection.fetchval("SELECT count(*) FROM pg_publication"),
            )
        finally:
            await connection.close()

    return asyncio.run(counted())


BY_V = [{"name": "V", "key": {"PK": "V#{v}", "SK": "ID#{id}"}}]


def test_keys_of_columns_that_the_identity_lacks_are_refused_with_the_way_out(command: Command) -> None:
    command.job["items"] = BY_V
    assert "ALTER TABLE public.t REPLICA IDENTITY FULL" in refused(command)
    assert logs(command) == (0, 0)
    change(command, "ALTER TABLE t ALTER v SET NOT NULL", "CREATE UNIQUE INDEX covers ON t (v, id)")
    assert "ALTER TABLE public.t REPLICA IDENTITY USING INDEX covers" in refused(command)
    change(command, "ALTER TABLE t REPLICA IDENTITY USING INDEX covers")
    run(command, "full")
    change(command, "UPDATE t SET v = 'second' WHERE id = 1")
    run(command, "catch_up")
    assert "V#first|ID#1" not in items(command)
    assert "V#second|ID#1" in items(command)


def test_full_is_never_advised_where_it_would_break_the_application(command: Command) -> None:
    command.job["items"] = BY_V
    change(command, "ALTER TABLE t ADD length int GENERATED ALWAYS AS (length(v)) STORED")
    said = refused(command)
    if "CREATE UNIQUE INDEX" not in said:  # PostgreSQL 15 takes FULL
        assert "REPLICA IDENTITY FULL" in said
    change(command, "ALTER TABLE t REPLICA IDENTITY FULL")
    ended = command.here("run", "--json", "--workers", "1")
    change(command, "UPDATE t SET v = 'second' WHERE id = 1")  # whatever was set up, this goes on
    assert ended.code == (2 if "CREATE UNIQUE INDEX" in said else 0)


def test_keys_of_generated_columns_are_refused(command: Command) -> None:
    change(command, "ALTER TABLE t ADD upper_v text GENERATED ALWAYS AS (upper(v)) STORED")
    command.job["items"] = [{"name": "V", "key": {"PK": "V#{upper_v}", "SK": "ID#{id}"}}]
    assert "generated column upper_v" in refused(command)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": {"mode": "insert"}}, "target.mode put"),
        ({"source": {"query": "SELECT * FROM t", "key": ["id"]}}, "a query has no log"),
        ({"source": {"watermark": "v"}}, "excludes `watermark`"),
        ({"source": {"table": "seen", "key": ["id"]}}, "has no unique key"),
        ({"items": [SHARED]}, "may be another row's by now"),
        # Of a row that gives no item the word says nothing, and the log tells of it all the same.
        ({"items": [SHARED], "source": {"unique": True, "where": "id > 1"}}, "source.where leaves rows out"),
        ({"items": [{**SHARED, "unique": True, "when": "id > 1"}]}, "items[0].when leaves rows out"),
    ],
)
def test_what_has_no_log_is_refused_before_anything_is_made(
    command: Command, changes: dict[str, Any], said: str
) -> None:
    change(command, "CREATE VIEW seen AS SELECT * FROM t")
    for section, value in changes.items():
        command.job[section] = value if section == "items" else {**command.job[section], **value}
    if "query" in command.job["source"]:
        del command.job["source"]["table"]
    assert said in refused(command)
    assert logs(command) == (0, 0)


def test_each_partition_has_to_tell_its_rows(command: Command) -> None:
    change(
        command,
        "CREATE TABLE p (id int, v text NOT NULL, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (1000)",
        "INSERT INTO p SELECT n, 'first' FROM generate_series(1, 200) n",
        "ALTER TABLE p REPLICA IDENTITY FULL",
        "ALTER TABLE p1 REPLICA IDENTITY FULL",
    )
    command.job["source"]["table"] = "p"
    command.job["items"] = BY_V
    assert "ALTER TABLE public.p2 REPLICA IDENTITY FULL" in refused(command)
    change(command, "ALTER TABLE p2 REPLICA IDENTITY FULL")
    run(command, "full")
    change(
        command,
        "UPDATE p SET v = 'second' WHERE id IN (60, 160)",
        "DELETE FROM p WHERE id = 1",
        "UPDATE p SET id = 800 WHERE id = 2",
    )
    run(command, "catch_up")
    found = items(command)
    assert {"V#second|ID#60", "V#second|ID#160", "V#first|ID#800"} <= found.keys()
    assert {"V#first|ID#60", "V#first|ID#160", "V#first|ID#1", "V#first|ID#2"}.isdisjoint(found)
    change(command, "CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (1000) TO (2000)")
    assert "ALTER TABLE public.p3 REPLICA IDENTITY FULL" in refused(command)


def test_rows_that_leave_what_is_read_lose_their_items_and_come_back(command: Command) -> None:
    command.job["source"]["where"] = "keep"
    command.job["items"][0]["when"] = "v <> 'hidden'"
    run(command, "full")
    change(command, "UPDATE t SET keep = false WHERE id = 1", "UPDATE t SET v = 'hidden' WHERE id = 2")
    run(command, "catch_up")
    assert {"ROW#1|ROW", "ROW#2|ROW"}.isdisjoint(items(command))
    change(command, "UPDATE t SET keep = true WHERE id = 1", "UPDATE t SET v = 'shown' WHERE id = 2")
    run(command, "catch_up")
    assert {"ROW#1|ROW", "ROW#2|ROW"} <= items(command).keys()


def test_an_item_that_cannot_be_written_leaves_what_was_there(command: Command) -> None:
    command.job["items"][0]["attributes"] = {"n": {"value": "{v}", "as": "N"}}
    change(command, "UPDATE t SET v = '1'")
    run(command, "full")
    change(command, "UPDATE t SET v = 'no number' WHERE id = 1", "DELETE FROM t WHERE id = 2")
    run(command, "catch_up", code=3)
    assert items(command)["ROW#1|ROW"]["v"] == {"S": "1"}
    assert "ROW#2|ROW" not in items(command)
    (letter,) = command.dead_letters()
    assert letter["detail"].endswith("; what an earlier run wrote under this key stays as it was")


def test_a_truncated_table_ends_the_run_with_what_to_do(command: Command) -> None:
    run(command, "full")
    change(command, "TRUNCATE t", "INSERT INTO t VALUES (1, 'alone')")
    said = refused(command, 1)
    assert "public.t" in said
    assert "truncated" in said
    assert "--delete-extra" in said
    run(command, "full", 0, "--fresh")
    change(command, "UPDATE t SET v = 'on'")
    run(command, "catch_up")


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["SELECT pg_drop_replication_slot('nightly')"], "isn't there"),
        (["DROP PUBLICATION nightly"], "isn't there"),
        (["ALTER PUBLICATION nightly DROP TABLE t"], 'has no "public"."t" any more'),
        (["ALTER PUBLICATION nightly SET TABLE t WHERE (id > 5)"], "leaves out rows"),
        (["ALTER PUBLICATION nightly SET (publish = 'insert')"], 'ALTER PUBLICATION "nightly" SET (publish'),
        (["ALTER TABLE t REPLICA IDENTITY NOTHING"], "REPLICA IDENTITY USING INDEX t_pkey"),
        (
            ["SELECT pg_replication_slot_advance('nightly', pg_current_wal_lsn())"],
            "somebody else moved it on",
        ),
        (
            [
                "SELECT pg_drop_replication_slot('nightly')",
                "SELECT pg_create_logical_replication_slot('nightly', 'pgoutput')",
            ],
            "somebody else moved it on",
        ),
    ],
)
def test_what_became_of_the_log_is_said_in_a_sentence(
    command: Command, statements: list[str], said: str
) -> None:
    run(command, "full")
    change(command, "UPDATE t SET v = 'second' WHERE id = 1", *statements)
    sentence = refused(command)
    assert said in sentence
    assert "--fresh" in sentence


def test_a_prepared_transaction_is_named_before_a_slot_would_wait_for_it(command: Command) -> None:
    change(command, "BEGIN; INSERT INTO t VALUES (500, 'x'); PREPARE TRANSACTION 'stuck'")
    try:
        assert "stuck" in refused(command)
        assert logs(command) == (0, 0)
    finally:
        change(command, "ROLLBACK PREPARED 'stuck'")


def test_a_job_that_gains_or_loses_its_log_has_to_start_over(command: Command) -> None:
    log = command.job["source"].pop("catch_up")
    command.job["source"]["watermark"] = "at"
    change(command, "ALTER TABLE t ADD at timestamptz DEFAULT now()")
    run(command, "full")
    del command.job["source"]["watermark"]
    command.job["source"]["catch_up"] = log
    assert "--fresh" in refused(command)
    run(command, "full", 0, "--fresh")
    change(command, "DELETE FROM t WHERE id = 1")
    run(command, "catch_up")
    assert len(items(command)) == 99


def test_a_quiet_table_lets_the_slot_move_on(command: Command) -> None:
    run(command, "full")
    change(command, "CREATE TABLE busy AS SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n")
    position = (
        "SELECT (confirmed_flush_lsn - '0/0')::int8 FROM pg_replication_slots WHERE slot_name = 'nightly'"
    )

    async def asked() -> int:
        connection = await asyncpg.connect(command.job["source"]["url"])
        try:
            return int(await connection.fetchval(position))
        finally:
            await connection.close()

    before = asyncio.run(asked())
    assert run(command, "catch_up")["rows_read"] == 0
    assert asyncio.run(asked()) - before > 5_000_000


def test_a_transaction_of_many_parts_and_a_log_of_many_peeks(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is gathered and peeked at a time is bounded; the next peek waits for what is durable."""
    monkeypatch.setattr("connectors.postgres.feed.PART_ROWS", 7)
    monkeypatch.setattr("connectors.postgres.feed.PEEK_CHANGES", 50)
    run(command, "full")
    change(
        command,
        "UPDATE t SET id = id + 1000",
        *(f"UPDATE t SET v = 'v{n}' WHERE id = {1000 + n}" for n in range(1, 101)),
        "UPDATE t SET id = id - 1000",
        "DELETE FROM t WHERE id % 10 = 0",
    )
    report = run(command, "catch_up")
    assert {place: item["v"] for place, item in items(command).items()} == {
        f"ROW#{n}|ROW": {"S": f"v{n}"} for n in range(1, 101) if n % 10
    }
    assert report["rows_read"] > 300
    assert run(command, "catch_up")["rows_read"] == 0


def test_a_commit_that_queries_do_not_see_yet_is_waited_for(command: Command, server: OwnPostgres) -> None:
    """The log has it, and its transaction waits for a synchronous standby: rows look as they were."""
    run(command, "full")
    log = command.folder / "log"

    async def setting(value: str) -> None:
        for sql in (f"ALTER SYSTEM SET synchronous_standby_names = '{value}'", "SELECT pg_reload_conf()"):
            await execute(server.url(), f"SET synchronous_commit = local; {sql}" if "reload" in sql else sql)

    async def scene() -> int:
        await setting("nobody")
        try:
            writer = await asyncpg.connect(command.job["source"]["url"])
            await writer.execute("SET synchronous_commit = on")
            hanging = asyncio.create_task(writer.execute("UPDATE t SET v = 'unseen' WHERE id = 1"))
            await asyncio.sleep(0.5)
            process = command.start("run", "--workers", "1", log=log)
            while process.poll() is None and "no query sees it yet" not in log.read_text():
                await asyncio.sleep(0.05)
            assert not hanging.done()
        finally:
            await setting("")
        await hanging
        await writer.close()
        await asyncio.to_thread(process.communicate)
        return process.returncode

    assert asyncio.run(scene()) == 0, log.read_text()
    assert items(command)["ROW#1|ROW"]["v"] == {"S": "unseen"}


def test_drop_lets_the_log_go_and_status_tells_what_it_holds(command: Command) -> None:
    run(command, "full")
    status = command.here("status", "--json").report
    assert status["log_retained_bytes"] > 0
    assert "of its log for this job (nightly)" in command.here("status").stdout
    assert "holds back" in "\n".join(command.here("plan", "--json").report["warnings"])
    path = command.write_job()
    dropped = command.here("log drop")
    assert dropped.code == 0, (dropped.stderr, path)
    assert "dropped replication slot nightly" in dropped.stderr
    assert "dropped publication nightly" in dropped.stderr
    assert logs(command) == (0, 0)
    assert "--fresh" in refused(command)
    assert command.here("status", "--json").report["log_retained_bytes"] is None


def test_a_publication_with_other_tables_stays(command: Command) -> None:
    change(
        command, "CREATE TABLE other (id int PRIMARY KEY)", "CREATE PUBLICATION nightly FOR TABLE other, t"
    )
    run(command, "full")
    assert "left publication nightly: it has public.other, too" in command.here("log drop").stderr
    assert logs(command) == (0, 1)


def test_a_log_of_others_changes_is_covered_by_the_checkpoint_too(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peeks that give nothing of ours come to an end, and the slot is never ahead of the checkpoint."""
    monkeypatch.setattr("connectors.postgres.feed.PEEK_CHANGES", 50)
    monkeypatch.setattr("connectors.postgres.feed.PART_ROWS", 1)
    change(
        command, "CREATE TABLE other (id int PRIMARY KEY)", "CREATE PUBLICATION nightly FOR TABLE other, t"
    )
    run(command, "full")
    change(
        command,
        "UPDATE t SET v = 'second' WHERE id = 1",
        *(f"INSERT INTO other SELECT generate_series({n}, {n} + 30)" for n in range(0, 400, 40)),
        "UPDATE t SET v = 'second' WHERE id = 2",
    )
    run(command, "catch_up")
    assert {items(command)[f"ROW#{n}|ROW"]["v"]["S"] for n in (1, 2)} == {"second"}
    assert run(command, "catch_up")["rows_read"] == 0
