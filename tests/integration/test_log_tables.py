"""What is done to the tables of a job that goes by PostgreSQL's log is followed, or noticed."""

import asyncio
import threading
from pathlib import Path

import pytest

from engine.errors import PermanentError
from tests.support import loads
from tests.support.command import Command
from tests.support.logged import (
    LOG,
    TABLE,
    as_source,
    asked,
    change,
    followed,
    items,
    once_looked_up,
    refused,
    run,
    seen,
    until,
    values,
)

PARTITIONED = (
    "CREATE TABLE t (id int PRIMARY KEY, v text, keep boolean NOT NULL DEFAULT true) PARTITION BY RANGE (id)",
    "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (50)",
    "CREATE TABLE high PARTITION OF t FOR VALUES FROM (50) TO (1000)",
    "INSERT INTO t SELECT n, 'first' FROM generate_series(1, 100) n",
    "CREATE TABLE empty PARTITION OF t FOR VALUES FROM (5000) TO (6000)",
)
BULK = "INSERT INTO t SELECT n, 'bulk' FROM generate_series(5001, 5010) n"
OUTSIDE = "CREATE TABLE new (LIKE t INCLUDING ALL)"
FILLED = "INSERT INTO new SELECT n, 'before' FROM generate_series(1000, 1010) n"
GONE = "DELETE FROM t WHERE id = 1"
ATTACHED = "ALTER TABLE t ATTACH PARTITION new FOR VALUES FROM (1000) TO (2000)"


@pytest.fixture
def command(logged_database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    return Command(tmp_path, loads.job(logged_database, dynoxide, table_name, source={"catch_up": LOG}))


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (("ALTER TABLE t DETACH PARTITION high",), "public.high was detached or dropped"),
        (("DROP TABLE high",), "public.high was detached or dropped"),
        (("TRUNCATE high",), "public.high was truncated"),
        ((OUTSIDE, FILLED, ATTACHED), "public.new was attached with rows in it"),
        (("; ".join(("BEGIN", OUTSIDE, FILLED, ATTACHED, "COMMIT")),), "public.new was attached with rows"),
        (
            ("ALTER TABLE empty SET UNLOGGED", BULK, "ALTER TABLE empty SET LOGGED"),
            "public.empty was written anew",
        ),
        (
            (
                "DROP TABLE empty",
                "CREATE UNLOGGED TABLE bulk PARTITION OF t FOR VALUES FROM (5000) TO (6000)",
                BULK,
                "ALTER TABLE bulk SET LOGGED",
                "GRANT SELECT ON bulk TO pg_monitor",
            ),
            "public.bulk was written anew",
        ),
    ],
)
def test_rows_that_come_or_go_with_a_partition_are_noticed(
    command: Command, statements: tuple[str, ...], said: str
) -> None:
    """The log has no word of them."""
    change(command, *PARTITIONED)
    run(command, "full")
    change(command, "UPDATE t SET v = 'second' WHERE id IN (10, 60)", *statements)
    sentence = refused(command)
    assert said in sentence
    assert "--fresh" in sentence
    run(command, "full", 0, "--fresh")


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (("ALTER TABLE t ALTER v TYPE text USING v || '!'",), "public.t was written anew"),
        (("ALTER TABLE t ALTER v TYPE text USING upper(v)", "VACUUM FULL t"), "public.t was written anew"),
        (
            ("ALTER TABLE t ADD noted int DEFAULT random() * 9, ALTER v TYPE text USING upper(v)",),
            "public.t was written anew",
        ),
        (
            ("ALTER TABLE t DROP v", "ALTER TABLE t ADD v text DEFAULT 'new'"),
            "column v of public.t is another column of that name now",
        ),
        (
            ("SET TimeZone = 'UTC'; ALTER TABLE t ALTER at TYPE timestamptz",),
            "column at of public.t has another type now",
        ),
        (
            ("ALTER TYPE mood RENAME VALUE 'glad' TO 'merry'",),
            "column moods of public.t: values of its enum type, or attributes of its composite type, were",
        ),
    ],
)
def test_values_that_change_without_a_word_in_the_log_are_noticed(
    command: Command, statements: tuple[str, ...], said: str
) -> None:
    change(
        command,
        *TABLE,
        "CREATE TYPE mood AS ENUM ('glad', 'sad')",
        "ALTER TABLE t ADD moods mood[] DEFAULT '{glad}', ADD at timestamp DEFAULT '2026-01-01'",
    )
    run(command, "full")
    change(command, "UPDATE t SET v = 'second' WHERE id = 10", *statements)
    sentence = refused(command)
    assert said in sentence
    assert "the log doesn't tell" in sentence
    run(command, "full", 0, "--fresh")
    assert values(command) == as_source(command)


def test_what_becomes_of_columns_that_arent_read_doesnt_matter(command: Command) -> None:
    change(command, *TABLE, "ALTER TABLE t ADD other text DEFAULT 'x'")
    command.job["source"]["columns"] = ["id", "v"]
    run(command, "full")
    change(
        command,
        "ALTER TABLE t DROP other, ADD added int",
        "ALTER TABLE t ADD other int DEFAULT 7",
        "ALTER TABLE t ALTER v SET NOT NULL",
        "VACUUM FULL t",
        "UPDATE t SET v = 'second' WHERE id = 10",
    )
    run(command, "catch_up")
    assert values(command) == as_source(command)


def test_a_table_that_is_written_anew_with_the_same_values_is_followed(command: Command) -> None:
    change(command, *TABLE)
    run(command, "full")
    for statement in (
        "VACUUM FULL t",
        "ALTER TABLE t ADD noted int DEFAULT (random() * 10)::int",
        "ALTER TABLE t ALTER id TYPE bigint",
    ):
        change(command, statement, "UPDATE t SET v = 'second' WHERE id = 10")
        run(command, "catch_up")
    assert values(command) == as_source(command)


def test_partitions_that_are_written_anew_with_a_wider_or_a_new_column_are_followed(command: Command) -> None:
    change(command, *PARTITIONED, "ALTER TABLE t ADD n int DEFAULT 3")
    run(command, "full")
    wider = "ALTER TABLE t ALTER n TYPE bigint, ADD noted int DEFAULT (random() * 10)::int"
    change(command, wider, "VACUUM FULL t", "UPDATE t SET v = 'second' WHERE id IN (10, 60)")
    run(command, "catch_up")
    assert values(command) == as_source(command)
    change(command, "ALTER TABLE t ADD other int DEFAULT (random() * 10)::int", "TRUNCATE high")
    assert "public.high was truncated" in refused(command)


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ((OUTSIDE, FILLED, ATTACHED), "public.new was attached with rows in it"),
        (("DROP TABLE low",), "public.low was detached or dropped"),
        (
            ("ALTER PUBLICATION nightly DROP TABLE t", GONE, "ALTER PUBLICATION nightly ADD TABLE t"),
            "publication nightly was altered",
        ),
    ],
)
def test_what_happens_while_a_run_by_the_log_is_broken_off_is_noticed_when_it_goes_on(
    command: Command, monkeypatch: pytest.MonkeyPatch, statements: tuple[str, ...], said: str
) -> None:
    change(command, *PARTITIONED)
    run(command, "full")
    change(command, "UPDATE t SET v = 'second' WHERE id > 10")

    def broken_off() -> None:
        raise PermanentError("it ends here")

    once_looked_up(monkeypatch, broken_off)
    assert command.here("run", "--workers", "1").code == 1
    change(command, *statements)
    for _ in range(2):
        assert said in refused(command)
    run(command, "full", 0, "--fresh")


def test_partitions_that_came_and_went_while_it_was_followed_are_known_later(command: Command) -> None:
    change(command, *PARTITIONED)
    run(command, "full")

    def emptied() -> bool:
        change(command, "VACUUM low")
        return asyncio.run(asked(command, "SELECT pg_relation_size('low')")) == 0

    def scene(_: threading.Event) -> None:
        change(
            command,
            "CREATE TABLE newer PARTITION OF t FOR VALUES FROM (2000) TO (3000)",
            "INSERT INTO t VALUES (2500, 'made')",
            "DELETE FROM t WHERE id < 50",
        )
        seen(command, "second")
        until(emptied, "there are pages in it")
        seen(command, "third")
        change(command, "DROP TABLE low")
        seen(command, "fourth")

    ended = followed(command, scene)
    assert ended.code == 0, ended.stderr
    assert items(command).keys() == as_source(command).keys()
    change(command, "DROP TABLE newer")
    assert "public.newer was detached or dropped" in refused(command)


def test_partitions_that_bring_no_rows_and_take_none_are_followed(command: Command) -> None:
    change(command, *PARTITIONED, "CREATE TABLE filled PARTITION OF t FOR VALUES FROM (7000) TO (8000)")
    run(command, "full")
    change(
        command,
        OUTSIDE,
        ATTACHED,
        "INSERT INTO t VALUES (1500, 'attached')",
        "CREATE TABLE newer PARTITION OF t FOR VALUES FROM (2000) TO (3000)",
        "INSERT INTO t VALUES (2500, 'made')",
        "BEGIN; CREATE TABLE newest PARTITION OF t FOR VALUES FROM (3000) TO (4000);"
        " INSERT INTO t VALUES (3500, 'at once'); COMMIT",
        "DROP TABLE empty",
        "INSERT INTO t VALUES (7500, 'where none was')",
        "VACUUM FULL filled",
        "VACUUM FULL newer",
        "UPDATE t SET id = 1600 WHERE id = 60",
        "VACUUM FULL high",
        "DELETE FROM t WHERE id = 10",
    )
    run(command, "catch_up")
    found = items(command)
    assert {f"ROW#{n}|ROW" for n in (1500, 2500, 3500, 1600, 7500)} <= found.keys()
    assert {"ROW#60|ROW", "ROW#10|ROW"}.isdisjoint(found)
    run(command, "catch_up")


def test_a_partition_whose_rows_were_deleted_before_may_go(command: Command) -> None:
    change(command, *PARTITIONED)
    run(command, "full")
    change(command, "DELETE FROM t WHERE id >= 50", "VACUUM high")
    run(command, "catch_up")
    change(command, "ALTER TABLE t DETACH PARTITION high", "DELETE FROM t WHERE id = 1")
    run(command, "catch_up")
    assert items(command).keys() == {f"ROW#{n}|ROW" for n in range(2, 50)}


def test_a_publication_that_tells_of_partitions_alone_is_refused_with_what_to_run(command: Command) -> None:
    change(command, *PARTITIONED, "CREATE PUBLICATION nightly FOR TABLE t")
    said = refused(command)
    todo = 'ALTER PUBLICATION "nightly" SET (publish_via_partition_root = true)'
    assert todo in said
    change(command, todo)
    run(command, "full")
    change(command, "UPDATE t SET id = 99 + id WHERE id IN (40, 60)", "DELETE FROM t WHERE id = 1")
    run(command, "catch_up")
    assert {"ROW#40|ROW", "ROW#60|ROW", "ROW#1|ROW"}.isdisjoint(items(command))
    assert {"ROW#139|ROW", "ROW#159|ROW"} <= items(command).keys()


@pytest.mark.parametrize("identity", ["FULL", "USING INDEX covers"])
def test_values_that_are_stored_apart_and_were_not_touched_are_known(command: Command, identity: str) -> None:
    """The log leaves them out of the new row; keys are made of the old one's."""
    change(
        command,
        "CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL, other text)",
        "ALTER TABLE t ALTER v SET STORAGE EXTERNAL",
        "CREATE UNIQUE INDEX covers ON t (v, id)",
        f"ALTER TABLE t REPLICA IDENTITY {identity}",
        "INSERT INTO t SELECT n, 'first' || repeat('x', 1000), repeat('y', 2500)"
        " FROM generate_series(1, 5) n",
    )
    command.job["items"] = [{"name": "V", "key": {"PK": "ID#{id}", "SK": "{v}"}, "include": ["other"]}]
    run(command, "full")
    change(
        command,
        "UPDATE t SET other = 'shorter' WHERE id IN (1, 2)",
        "UPDATE t SET v = 'second' || repeat('x', 1000) WHERE id = 2",
        "UPDATE t SET id = 30 WHERE id = 3",
        "DELETE FROM t WHERE id = 4",
    )
    run(command, "catch_up")
    held = {place[:14]: item["other"]["S"] for place, item in items(command).items()}
    long = "y" * 2500
    assert held == {
        "ID#1|firstxxxx": "shorter",
        "ID#2|secondxxx": "shorter",
        "ID#30|firstxxx": long,
        "ID#5|firstxxxx": long,
    }


def test_columns_that_come_and_go_between_two_runs(command: Command) -> None:
    change(command, *TABLE, "ALTER TABLE t REPLICA IDENTITY FULL")
    command.job["items"] = [{"name": "V", "key": {"PK": "V#{v}", "SK": "ID#{id}"}, "include": "all"}]
    run(command, "full")
    change(
        command,
        "UPDATE t SET v = 'second' WHERE id = 1",
        "ALTER TABLE t DROP keep",
        "UPDATE t SET v = 'second' WHERE id = 2",
        "ALTER TABLE t ADD extra int DEFAULT 7",
        "UPDATE t SET v = 'second' WHERE id = 3",
    )
    run(command, "catch_up")
    found = items(command)
    assert {f"V#first|ID#{n}" for n in (1, 2, 3)}.isdisjoint(found)
    assert [found[f"V#second|ID#{n}"]["extra"]["N"] for n in (1, 2, 3)] == [7, 7, 7]
    change(command, "UPDATE t SET v = 'third' WHERE id = 1", "ALTER TABLE t DROP v")
    assert "there is no column 'v'" in refused(command)


def test_a_needed_column_that_was_missing_for_a_while_ends_the_run(command: Command) -> None:
    """It is there again, but the log of the time between tells nothing of it."""
    change(command, *TABLE, "ALTER TABLE t REPLICA IDENTITY FULL")
    command.job["items"] = [{"name": "V", "key": {"PK": "V#{v}", "SK": "ID#{id}"}}]
    run(command, "full")
    change(
        command,
        "ALTER TABLE t RENAME v TO w",
        "UPDATE t SET w = 'second' WHERE id = 1",
        "ALTER TABLE t RENAME w TO v",
    )
    said = refused(command, 1)
    assert "the log told no v" in said
    assert "--delete-extra" in said


def test_generated_columns_are_read_from_the_table_and_may_change(command: Command) -> None:
    change(command, *TABLE, "ALTER TABLE t ADD loud text GENERATED ALWAYS AS (upper(v)) STORED")
    run(command, "full")
    change(command, "UPDATE t SET v = 'second' WHERE id = 1", "DELETE FROM t WHERE id = 2")
    run(command, "catch_up")
    assert items(command)["ROW#1|ROW"]["loud"] == {"S": "SECOND"}
    assert "ROW#2|ROW" not in items(command)
