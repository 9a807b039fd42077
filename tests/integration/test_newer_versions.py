"""`mode: newer` writes the newer row, or refuses the version before anything is written."""

import asyncio
from datetime import UTC, datetime

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.mongo_load import Loaded
from tests.support.pg import execute

EARLY, LATE = "2024-01-15 10:00:00+00", "2024-01-15 10:00:00.5+00"


def postgres(url, endpoint, table, folder, version):
    asyncio.run(
        execute(
            url,
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, n int)",
            f"INSERT INTO t VALUES (1, '{EARLY}', 1), (2, '{LATE}', 1)",
        )
    )
    loads.create_table(endpoint, table)
    job = loads.job(url, endpoint, table, target={"mode": "newer", "version": "v"})
    job["items"][0] |= {"include": ["n"], "attributes": {"v": version}}
    return Command(folder, job)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_moment_as_text_is_refused_before_anything_is_written(
    postgres_url, dynoxide, table_name, tmp_path, command
):
    ended = postgres(postgres_url, dynoxide, table_name, tmp_path, "{at}").here(command)
    assert ended.code == 2
    assert "target.version: v of items[0] is a timestamptz as text" in ended.stderr
    assert loads.items(dynoxide, table_name) == {}


@pytest.mark.parametrize(
    "version", ["{at:%Y-%m-%dT%H:%M:%S.%fZ}", {"value": "{at}", "as": "epoch_us"}], ids=["format", "epoch_us"]
)
def test_the_newer_row_is_written_and_the_older_left_alone(
    postgres_url, dynoxide, table_name, tmp_path, version
):
    command = postgres(postgres_url, dynoxide, table_name, tmp_path, version)
    assert command.here("run", "--workers", "1").code == 0
    asyncio.run(
        execute(
            postgres_url,
            f"UPDATE t SET n = 2, at = '{LATE}' WHERE id = 1",
            f"UPDATE t SET n = 2, at = '{EARLY}' WHERE id = 2",
        )
    )
    report = command.here("run", "--workers", "1", "--fresh", "--json").report
    assert (report["items_written"], report["items_skipped"]) == (1, 1)
    found = {key: item["n"]["N"] for key, item in loads.items(dynoxide, table_name).items()}
    assert found == {"ROW#1|ROW": 2, "ROW#2|ROW": 1}
    assert command.here("verify", "--full", "--json").report["newer_in_target"] == 1


def test_a_bson_date_as_text_is_a_dead_letter_and_none_as_a_number(
    mongodb_url, database, dynoxide, table_name, tmp_path
):
    made = Loaded(mongodb_url, database, dynoxide, table_name, tmp_path, "_id")
    made.command.job["target"] |= {"mode": "newer", "version": "v"}
    del made.command.job["items"][1]
    moment = datetime(2024, 1, 15, 10, tzinfo=UTC)
    made.collection.insert_many(
        [{"_id": 1, "v": moment}, {"_id": 2, "v": moment.replace(microsecond=500_000)}]
    )
    made.run(code=3)
    assert {letter["reason"] for letter in made.command.dead_letters()} == {"value_unsupported"}
    assert all("as: epoch_ms" in letter["detail"] for letter in made.command.dead_letters())
    assert made.items() == {}
    made.command.job["items"][0]["attributes"]["v"] = {"value": "{v}", "as": "epoch_ms"}
    made.run()
    assert len(made.items()) == 2
    made.mongo.close()
