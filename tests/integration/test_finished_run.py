"""A run that is over doesn't hide that job, source or table are no longer what it was made for."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

ROWS = 50


@pytest.fixture(params=["finished", "to catch up with"])
def done(
    request: pytest.FixtureRequest, postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path
) -> Command:
    """A job whose full run is over, with and without a watermark."""
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(postgres_url, *_table()))
    command = Command(tmp_path, loads.job(postgres_url, dynoxide, table_name))
    if request.param == "to catch up with":
        command.job["source"]["watermark"] = "at"
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    return command


def _table() -> tuple[str, ...]:
    return (
        "DROP TABLE IF EXISTS t",
        "CREATE TABLE t (id int PRIMARY KEY, v text, at timestamptz NOT NULL DEFAULT now())",
        f"INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, {ROWS}) n",
    )


def _edit_mapping(command: Command) -> None:
    command.job["items"][0]["attributes"] = {"extra": "x"}


def _edit_source(command: Command) -> None:
    command.job["source"]["where"] = "id > 0"


def _make_the_table_anew(command: Command) -> None:
    target = command.job["target"]
    loads.client(target["endpoint_url"]).delete_table(TableName=target["table"])
    time.sleep(1.1)  # the table's creation time has seconds
    loads.create_table(target["endpoint_url"], target["table"])


def _make_the_source_anew(command: Command) -> None:
    asyncio.run(execute(command.job["source"]["url"], *_table()))


def _read_another_table(command: Command) -> None:
    url = command.job["source"]["url"]
    asyncio.run(execute(url, "ALTER TABLE t RENAME TO gone", "CREATE TABLE t (LIKE gone INCLUDING ALL)"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_edit_mapping, "the mapping changed"),
        (_edit_source, "the source changed"),
        (_make_the_table_anew, "the target changed (created_at was"),
        (_make_the_source_anew, "the source changed (relation was"),
        (_read_another_table, "the source changed (relation was"),
    ],
)
def test_a_change_is_refused_and_named(done: Command, change: Callable[[Command], None], said: str) -> None:
    change(done)
    ended = done.here("run", "--json", "--workers", "1")
    assert ended.code == 2, ended.stdout
    assert said in ended.stderr
    assert "--fresh" in ended.stderr
    again = done.here("run", "--json", "--workers", "1", "--fresh")
    assert again.code == 0, again.stderr


def test_what_changed_nothing_that_was_written_is_no_change(done: Command) -> None:
    done.job["source"] |= {"batch_rows": 7, "segments": 3}
    done.job["target"]["max_wcu"] = 50_000
    asyncio.run(execute(done.job["source"]["url"], "VACUUM FULL t", "ALTER TABLE t ALTER v SET DEFAULT 'x'"))
    ended = done.here("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr


def test_new_columns_of_the_source_are_said(done: Command) -> None:
    """They aren't in the items that are there: `include: all` takes what columns there are."""
    asyncio.run(execute(done.job["source"]["url"], "ALTER TABLE t ADD note text"))
    ended = done.here("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    assert "Row.note is new; items written before keep their shape until --fresh" in ended.stderr
