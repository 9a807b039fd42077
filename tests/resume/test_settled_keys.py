"""Kills, stops and lost snapshots of runs whose keys were settled first; rows may change meanwhile."""

import asyncio
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest

from connectors.postgres.readers import VIEW_LOST
from connectors.postgres.session import Exported
from engine.commands.run import settled_keys
from engine.plain import dumped, loaded
from engine.state.beside import KeptView
from tests.support import loads, pg
from tests.support.command import Command, kill_group
from tests.support.kills import finish, run_with_kills

KEYS = 1_500
"""Each is made by the row of this number, and by the row that many behind it, which wins."""
SLOW = 300
"""Write units per second: the run takes five seconds."""


@pytest.fixture
def load(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Any:
    def make(rows: int = 2 * KEYS, max_wcu: int | None = None) -> Command:
        loads.create_table(dynoxide, table_name)
        statements = (
            "CREATE TABLE t (id int PRIMARY KEY, account int NOT NULL, v text)",
            f"INSERT INTO t SELECT n, (n - 1) % {KEYS}, 'v' || n FROM generate_series(1, {rows}) n",
        )
        asyncio.run(pg.execute(postgres_url, *statements))
        job = loads.job(
            postgres_url,
            dynoxide,
            table_name,
            source={"batch_rows": 50, "segments": 12},
            items=[{"name": "Last", "key": {"PK": "A#{account}", "SK": "LAST"}, "attributes": {"v": "{v}"}}],
        )
        if max_wcu is not None:
            job["target"]["max_wcu"] = max_wcu
        return Command(tmp_path, job)

    return make


def texts(command: Command) -> dict[str, str]:
    target = command.job["target"]
    found = loads.items(target["endpoint_url"], target["table"])
    return {place.partition("|")[0]: item["v"]["S"] for place, item in found.items()}


def when(command: Command, process: Any, ready: Callable[[], bool]) -> None:
    """Wait until something is so while the command runs."""
    deadline = time.monotonic() + 200
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def sql(command: Command, *statements: str) -> None:
    asyncio.run(pg.execute(command.job["source"]["url"], *statements))


def test_a_row_that_lost_and_wins_now_is_written_though_it_was_read(load: Any) -> None:
    """The winners move to other keys behind a kill: what they beat was left out, and makes its keys alone."""
    command = load(max_wcu=SLOW)
    process = command.start("run", "--workers", "2")
    when(command, process, lambda: len(texts(command)) > KEYS // 4)
    kill_group(process)
    assert 0 < len(texts(command)) < KEYS, "the kill came too late to mean anything"
    sql(command, f"UPDATE t SET account = account + 10000 WHERE id > {KEYS}")
    del command.job["target"]["max_wcu"]
    ended = finish(command, 2)
    assert ended.code == 0, ended.stderr
    assert "all keys are looked at again" in ended.stderr
    assert "items of rows that win now" in ended.stderr
    found = texts(command)
    assert {key: found.get(key) for key in (f"A#{n}" for n in range(KEYS))} == {
        f"A#{n}": f"v{n + 1}" for n in range(KEYS)
    }
    loads.assert_balanced(ended.report)


async def kept(command: Command, while_kept: Callable[[], Any]) -> Any:
    """Keep the run's view by a session of its own, as a worker of another host does, meanwhile."""
    view = command.folder / ".backfill" / command.job["name"] / "view"
    before = loaded(KeptView, view.read_text())
    snapshot = loaded(Exported, before.names[0])
    connection = await asyncpg.connect(command.job["source"]["url"])
    try:
        await connection.execute(
            f"BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot.name}'"
        )
        again = await connection.fetchval("SELECT pg_export_snapshot()")
        view.write_text(dumped(replace(before, names=(dumped(replace(snapshot, name=again)),))))
        return await asyncio.to_thread(while_kept)
    finally:
        await connection.close()


def test_in_a_view_that_was_kept_what_was_settled_holds(load: Any) -> None:
    command = load(max_wcu=SLOW)
    process = command.start("run", "--workers", "2")
    when(command, process, lambda: len(texts(command)) > KEYS // 4)

    def go_on() -> Any:
        kill_group(process)
        assert 0 < len(texts(command)) < KEYS, "the kill came too late to mean anything"
        sql(command, f"UPDATE t SET account = account + 10000 WHERE id > {KEYS}")
        del command.job["target"]["max_wcu"]
        return finish(command, 2)

    ended = asyncio.run(kept(command, go_on))
    assert ended.code == 0, ended.stderr
    assert "what was found holds" in ended.stderr
    assert "looked at again" not in ended.stderr
    assert texts(command) == {f"A#{n}": f"v{n + KEYS + 1}" for n in range(KEYS)}, "as it was then"
    loads.assert_balanced(ended.report)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_killed_several_times_makes_what_one_cursor_makes(load: Any, seed: int) -> None:
    command = load(max_wcu=SLOW)
    ended, killed = run_with_kills(command, random.Random(seed), kills=3, longest_s=6.0, workers=2)
    assert killed >= 1, "the kills came too late to mean anything"
    assert ended.code == 0, ended.stderr
    assert texts(command) == {f"A#{n}": f"v{n + KEYS + 1}" for n in range(KEYS)}
    assert ended.report["items_written"] == ended.report["items_coalesced"] == KEYS
    loads.assert_balanced(ended.report)


def test_a_kill_in_the_pass_leaves_nothing_behind(load: Any, tmp_path: Path) -> None:
    command = load(rows=20_000)
    log = tmp_path / "log"
    process = command.start("run", "--workers", "2", log=log)
    when(command, process, lambda: "looking at keys" in log.read_text())
    kill_group(process)
    assert texts(command) == {}
    ended = finish(command, 2)
    assert ended.code == 0, ended.stderr
    last = 20_000 - 20_000 % KEYS
    assert texts(command) == {
        f"A#{n}": f"v{(last if n < 20_000 % KEYS else last - KEYS) + n + 1}" for n in range(KEYS)
    }
    assert [path.name for path in (command.state / "load").iterdir() if path.name == "keys"] == []


def test_a_stop_in_the_pass_ends_it(load: Any, tmp_path: Path) -> None:
    command = load(rows=20_000)
    log = tmp_path / "log"
    process = command.start("run", "--workers", "2", log=log)
    when(command, process, lambda: "looking at keys" in log.read_text())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130, log.read_text()
    assert texts(command) == {}


def test_a_view_that_is_lost_ends_the_run_which_then_goes_on(load: Any) -> None:
    command = load(max_wcu=SLOW)
    process = command.start("run", "--workers", "2")
    when(command, process, lambda: len(texts(command)) > 50)
    sql(
        command,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'backfill'"
        " AND datname = current_database()",
    )
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1, stderr
    assert VIEW_LOST in stderr
    del command.job["target"]["max_wcu"]
    ended = finish(command, 2)
    assert ended.code == 0, ended.stderr
    assert texts(command) == {f"A#{n}": f"v{n + KEYS + 1}" for n in range(KEYS)}


def test_without_what_was_settled_a_run_is_not_gone_on_with(load: Any) -> None:
    command = load(max_wcu=SLOW)
    process = command.start("run", "--workers", "2")
    when(command, process, lambda: len(texts(command)) > KEYS // 4)
    kill_group(process)
    kept = command.state / "load" / settled_keys.NAME
    kept.write_bytes(kept.read_bytes().replace(pl.__version__.encode(), b"0.0.1", 1))
    other = finish(command, 2)
    assert other.code == 2, other.stderr
    assert "another version of backfill or of Polars; go on with that one, or start over" in other.stderr
    kept.unlink()
    ended = finish(command, 2)
    assert ended.code == 2, ended.stderr
    assert "--fresh" in ended.stderr
