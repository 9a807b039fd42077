"""What PostgreSQL's log has to tell before a job goes by it, and what is said when it no longer does."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.logged import LOG, TABLE, change, items, logs, refused, run
from tests.support.pg import execute

BY_V = [{"name": "V", "key": {"PK": "V#{v}", "SK": "ID#{id}"}}]
SHARED = {"name": "V", "key": {"PK": "{v}", "SK": "V"}}


@pytest.fixture
def command(logged_database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *TABLE))
    return Command(tmp_path, loads.job(logged_database, dynoxide, table_name, source={"catch_up": LOG}))


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
        ({"target": {"mode": "insert"}}, "target.mode put or newer"),
        ({"source": {"query": "SELECT * FROM t", "key": ["id"]}}, "a query has no log"),
        ({"source": {"watermark": "v"}}, "excludes `watermark`"),
        ({"source": {"max_connections": 3}}, "source.max_connections: a run by the log needs 4"),
        ({"source": {"table": "seen", "key": ["id"]}}, "has no unique key"),
        ({"items": [{**SHARED, "key": {"PK": "{v}{id}", "SK": "V"}}]}, "may be another row's by now"),
        ({"items": [SHARED, {**SHARED, "name": "W"}]}, "the rules V and W may give equal keys"),
        # The word says nothing of rows that give no item, nor of what is so within a transaction alone.
        ({"items": [SHARED], "source": {"unique": True}}, "doesn't tell id, v of rows of public.t"),
        ({"items": [{**SHARED, "unique": True}]}, "ALTER TABLE public.t REPLICA IDENTITY FULL"),
        (
            {"items": [SHARED | {"include": ["id"]}], "target": {"mode": "newer", "version": "id"}},
            "with mode newer an item that a row has left behind takes none of a lower version",
        ),
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


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["SELECT pg_drop_replication_slot('nightly')"], "isn't there"),
        (["DROP PUBLICATION nightly"], "isn't there"),
        (["ALTER PUBLICATION nightly DROP TABLE t"], 'has no "public"."t" any more'),
        (["ALTER PUBLICATION nightly SET TABLE t WHERE (id > 5)"], "nightly was altered"),
        (["ALTER PUBLICATION nightly SET (publish = 'insert')"], "nightly was altered"),
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


@pytest.mark.parametrize(
    ("publication", "said"),
    [
        ("FOR TABLE t WHERE (id > 5)", "leaves out rows"),
        ("FOR TABLE t WITH (publish = 'insert')", 'ALTER PUBLICATION "nightly" SET (publish'),
    ],
)
def test_a_publication_that_is_there_and_tells_too_little_is_refused(
    command: Command, publication: str, said: str
) -> None:
    change(command, f"CREATE PUBLICATION nightly {publication}")
    assert said in refused(command)


def test_a_prepared_transaction_is_named_before_a_slot_would_wait_for_it(command: Command) -> None:
    change(command, "BEGIN; INSERT INTO t VALUES (500, 'x'); PREPARE TRANSACTION 'stuck'")
    try:
        assert re.search(r"stuck of 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ; COMMIT PREPARED", refused(command))
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
