"""Catch-up from PostgreSQL's log where several rows make one item: it is whose a fresh load says it is."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from connectors.postgres.feeding import LogReading
from engine.batch import Batch
from tests.support import loads
from tests.support.command import Command
from tests.support.log_keys import BY_K, BY_R, BY_TAG, OWN, PARTITIONED, TABLE, application, fresh, held
from tests.support.logged import LOG, change, parts_of, run
from tests.support.pg import execute


@pytest.fixture
def command(logged_database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *TABLE))
    changes = {"source": {"catch_up": LOG, "where": "keep"}, "items": [BY_K]}
    return Command(tmp_path, loads.job(logged_database, dynoxide, table_name, **changes))


# Row 2n - 1 loses the key xn to row 2n; who has it behind the statements, and who has others.
SCENES: Sequence[tuple[str, dict[str, int]]] = (
    ("DELETE FROM t WHERE id = 2", {"x1": 1}),
    ("DELETE FROM t WHERE id = 3", {"x2": 4}),
    ("DELETE FROM t WHERE id IN (5, 6)", {}),
    ("DELETE FROM t WHERE id = 8; DELETE FROM t WHERE id = 7", {}),
    ("UPDATE t SET k = 'y5' WHERE id = 10", {"x5": 9, "y5": 10}),
    ("UPDATE t SET k = NULL WHERE id = 12", {"x6": 11}),
    ("UPDATE t SET k = 'x7' WHERE id = 16", {"x7": 16, "x8": 15}),
    ("UPDATE t SET k = 'x10' WHERE id = 18", {"x9": 17, "x10": 20}),
    ("INSERT INTO t VALUES (100, 'x11', 'new')", {"x11": 100}),
    ("UPDATE t SET id = 0 WHERE id = 24", {"x12": 23}),
    ("BEGIN; UPDATE t SET k = 'x14' WHERE id = 26; UPDATE t SET k = 'x13' WHERE id = 28; COMMIT",
     {"x13": 28, "x14": 27}),
    ("UPDATE t SET keep = false WHERE id = 30", {"x15": 29}),
    ("UPDATE t SET v = 'hidden' WHERE id = 32", {"x16": 31}),
    ("UPDATE t SET gone = true WHERE id = 34", {}),
    ("UPDATE t SET gone = true WHERE id = 35", {"x18": 36}),
    ("BEGIN; DELETE FROM t WHERE id = 38; COMMIT; INSERT INTO t VALUES (38, 'x19', 'again')", {"x19": 38}),
    ("UPDATE t SET k = 'x20' WHERE id = 1; UPDATE t SET k = 'x1' WHERE id = 1", {"x20": 40}),
)  # fmt: skip


@pytest.mark.parametrize("part_rows", [1_000, 1], ids=["one batch", "a batch for each change"])
def test_who_has_a_key_is_found_among_the_rows_as_they_are(
    command: Command, part_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts_of(monkeypatch, part_rows)
    run(command, "full")
    assert {of for of, _ in held(command).values()} == {2 * n for n in range(1, 21)}
    change(command, *(statement for statements, _ in SCENES for statement in statements.split("; ")))
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    assert "No index of t begins with k, so it is scanned at every thousand changes" in ended.stderr
    expected = {key: row for _, owners in SCENES for key, row in owners.items()}
    assert {place[2:-2]: of for place, (of, _) in held(command).items()} == expected
    assert held(command) == fresh(command)
    assert run(command, "catch_up")["items_emitted"] == 0


def test_whatever_an_application_does_the_items_are_those_of_a_fresh_load(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(17)
    command.job["items"] = [BY_K, BY_TAG, BY_R, OWN]
    change(command, "TRUNCATE t", *application(random, 60))
    run(command, "full")
    assert held(command) == fresh(command)
    for part_rows in (1_000, 1, 3, 2, 7):
        parts_of(monkeypatch, part_rows)
        monkeypatch.setattr("connectors.deciding.DECIDING_BYTES", random.choice((1, 1_000_000)))
        monkeypatch.setattr("connectors.postgres.copy.CHUNK_BYTES", random.choice((50, 2_000_000)))
        change(command, *application(random, 40))
        run(command, "catch_up")
        assert held(command) == fresh(command)


def test_rows_of_several_partitions_take_keys_from_each_other(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that moves to another partition is, in the log, one that goes and another that comes."""
    random = Random(23)
    command.job["items"] = [BY_K, BY_TAG, BY_R, OWN]
    change(command, *PARTITIONED)
    run(command, "full")
    assert held(command) == fresh(command)
    for part_rows in (1_000, 5):
        parts_of(monkeypatch, part_rows)
        moves = [
            f"UPDATE t SET id = 60 - id WHERE id = {random.choice((n, 60 - n))}"
            " AND NOT EXISTS (SELECT FROM t AS other WHERE other.id = 60 - t.id)"
            for n in range(1, 6)
        ]
        change(command, *application(random, 25), *moves)
        run(command, "catch_up")
        assert held(command) == fresh(command)
    change(command, *(scene for scenes, _ in SCENES[:4] for scene in scenes.split("; ")))
    run(command, "catch_up")
    assert held(command) == fresh(command)


def test_a_key_that_very_many_rows_make_takes_little_memory(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 3,000 rows that share a value those alone go through that decide."""
    monkeypatch.setattr("connectors.deciding.DECIDING_BYTES", 100_000)
    monkeypatch.setattr("connectors.postgres.copy.CHUNK_BYTES", 50_000)
    change(command, "INSERT INTO t SELECT n, 'x1', repeat('v', 500) FROM generate_series(101, 3100) n")
    run(command, "full")
    batch_of, sizes = LogReading._batch, []

    def noted(reading: LogReading, *arguments: Any) -> Batch:
        made = batch_of(reading, *arguments)
        sizes.append(made.rows.nbytes)
        return made

    monkeypatch.setattr(LogReading, "_batch", noted)
    change(command, "DELETE FROM t WHERE id = 3100", "UPDATE t SET v = 'second' WHERE id = 1")
    report = run(command, "catch_up")
    assert max(sizes) < 200_000
    assert (report["items_written"], report["items_deleted"]) == (1, 0)
    assert held(command)["K#x1|K"][0] == 3099
