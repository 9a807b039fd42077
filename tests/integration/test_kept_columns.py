"""What a hook promises to keep, through the whole command: believed in reading, held to before a write."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

ROWS = 2_000
HOOK = """
import polars as pl

def adds(frame):
    return frame.with_columns(pl.lit("x").alias("more"))

def shifts(frame):
    return frame.with_columns(pl.when(pl.col("id") > 1500).then(1).otherwise(pl.col("id")).alias("id"))

def repeats(frame):
    return pl.concat([frame, frame.filter(pl.col("id") == 1999)])
"""


@pytest.fixture
def load(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Any:
    """Make a view over a table, and a job with a hook; give the command."""
    loads.create_table(dynoxide, table_name)
    asyncio.run(
        execute(
            postgres_url,
            "CREATE TABLE users (id int PRIMARY KEY, name text)",
            f"INSERT INTO users SELECT g, 'n' || g FROM generate_series(1, {ROWS}) AS g",
            "CREATE VIEW t AS SELECT name, id FROM users",
        )
    )

    def make(name: str, function: str) -> Command:
        # Python imports a module once in a process, so that each test has its own.
        (tmp_path / f"{name}.py").write_text(HOOK)
        job = loads.job(postgres_url, dynoxide, table_name, source={"key": ["id"], "segments": 4})
        job["transform"] = {"hook": f"{name}:{function}", "keeps": ["id"]}
        return Command(tmp_path, job)

    return make


def test_a_hook_that_keeps_what_tells_rows_is_read_side_by_side(load: Any) -> None:
    command = load("hook_keeps", "adds")
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    assert "ordered segment" not in ended.stderr
    assert ended.report["segments"]["total"] == 4
    assert ended.report["items_written"] == ROWS
    target = command.job["target"]
    items = loads.items(target["endpoint_url"], target["table"])
    assert items.keys() == {f"ROW#{n}|ROW" for n in range(1, ROWS + 1)}
    assert {item["more"]["S"] for item in items.values()} == {"x"}


@pytest.mark.parametrize(
    ("name", "function", "sentence"),
    [
        (
            "hook_shifts",
            "shifts",
            "hook_shifts:shifts changes id, which transform.keeps says it leaves alone",
        ),
        ("hook_repeats", "repeats", "hook_repeats:repeats gives a row twice, and transform.keeps promises"),
    ],
)
def test_a_broken_promise_ends_the_run_before_the_batch_is_written(
    load: Any, name: str, function: str, sentence: str
) -> None:
    command = load(name, function)
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 1
    assert sentence in ended.stderr
    target = command.job["target"]
    written = loads.items(target["endpoint_url"], target["table"])
    assert "ROW#1999|ROW" not in written
    assert not written or "ROW#1|ROW" not in written or written["ROW#1|ROW"]["name"] == {"S": "n1"}
