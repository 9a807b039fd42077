"""Whatever rows share keys and however they change: each catch-up run leaves what a fresh load would."""

import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import loads
from tests.support.colliding import (
    POOLS,
    SHAPES,
    Bring,
    Colliding,
    held,
    in_mongodb,
    in_postgres,
    loaded_by,
)
from tests.support.command import Command

EXAMPLES = 2
"""A few here; the campaign tries as many as one likes (`--keys`), with kills."""


@settings(max_examples=EXAMPLES)
@given(st.randoms(use_true_random=False), st.sampled_from(SHAPES), st.sampled_from(sorted(POOLS)))
def test_a_table_that_changes_is_caught_up_with(
    postgres_server: str, dynoxide: str, random: Random, shape: str, kind: str
) -> None:
    table = Colliding(random, shape, kind)
    with in_postgres(postgres_server, table) as (source, bring):
        caught_up_with(table, source, dynoxide, bring)


@settings(max_examples=EXAMPLES)
@given(st.randoms(use_true_random=False), st.sampled_from(SHAPES))
def test_a_collection_that_changes_is_caught_up_with(
    mongodb_url: str, dynoxide: str, random: Random, shape: str
) -> None:
    table = Colliding(random, shape, "")
    with in_mongodb(mongodb_url, table) as (source, bring):
        caught_up_with(table, source, dynoxide, bring)


def caught_up_with(table: Colliding, source: dict[str, Any], endpoint: str, bring: Bring) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bf-colliding-"))
    try:
        command = loaded_by(folder, source, table, endpoint)
        table.fill(8)
        bring(table.rows, long_ago=True)
        run(command, "full")
        for _ in range(2):
            bring(table.turn(3))
            run(command, "catch_up")
            assert held(command) == table.expected()
        verified = command.here("verify", "--full", "--json")
        assert verified.code == 0, (verified.stdout, verified.stderr)
        assert verified.report["consistency_percent"] == 100
        fresh = loaded_by(folder / "fresh", source, table, endpoint)
        run(fresh, "full")
        assert held(fresh) == table.expected()
    finally:
        shutil.rmtree(folder)


def run(command: Command, kind: str) -> None:
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code in (0, 3), ended.stderr  # a row without an e-mail is a dead letter
    loads.assert_balanced(ended.report)
    assert ended.report["kind"] == kind
