"""A source that moves while it is read, or between two runs: never read on as what it was.

What matters ends the reading with a sentence; what changes nothing that is read doesn't stop it.
"""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from engine.errors import PermanentError
from engine.state.fingerprint import compare, fingerprint
from tests.support import loads
from tests.support.command import Command
from tests.support.own_postgres import OwnPostgres
from tests.support.pg import execute, opened
from tests.support.postgres_moves import BY_VIEW, MOVES, ROWS, VIEW, behind_proxy, read_across, thinned

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]


@pytest.mark.parametrize("name", MOVES)
async def test_once_every_connection_was_lost(postgres_url: str, name: str) -> None:
    move = MOVES[name]
    await execute(postgres_url, *move.make)
    async with behind_proxy(postgres_url, **move.source) as (source, proxy):

        async def cut() -> None:
            await proxy.cut_all()
            await execute(postgres_url, *move.move)

        if move.said is None:
            assert await read_across(source, cut) == list(range(1, ROWS + 1))
            assert any("snapshot is gone" in notice for notice in source.notices)
        else:
            with pytest.raises(PermanentError, match=move.said):
                await read_across(source, cut)


@pytest.mark.parametrize(
    ("move", "said"),
    [
        ("ALTER TYPE mood RENAME VALUE 'a' TO 'z'", "values of the enum public.mood were renamed"),
        ("ALTER TYPE mood ADD VALUE 'z' BEFORE 'a'", None),
    ],
)
async def test_an_enum_that_is_altered_between_two_segments(
    postgres_url: str, move: str, said: str | None
) -> None:
    """No lock of a reader keeps anybody from it, and the same snapshot prints other names from then on."""
    await execute(postgres_url, *map(thinned, MOVES["enum value renamed"].make), "ANALYZE t")
    async with opened(postgres_url, table="t") as source:
        first, *others = await source.segments(4)
        assert others
        assert [batch async for batch in source.read(first, None)]
        await execute(postgres_url, move)
        with nullcontext() if said is None else pytest.raises(PermanentError, match=said):
            assert [batch async for batch in source.read(others[0], None)]


async def assert_judged_between_two_runs(url: str, name: str) -> None:
    """Make a move between the opening of a run and that of its resume, which says what it says."""
    move = MOVES[name]
    section = {"table": "t", **move.source}
    await execute(url, *map(thinned, move.make))
    async with opened(url, **section) as source:
        standing, identity = source.standing, source.identity
    assert standing is not None
    await execute(url, *map(thinned, move.move))
    async with opened(url, **section) as source:
        misfit = await source.misfit(standing, goes_on=True)
        prints = fingerprint({}, identity, {}), fingerprint({}, source.identity, {})
        same = compare(*prints, same_positions=source._section.same_positions) is None
        assert any("a newer snapshot" in notice for notice in source.notices) == (misfit is None)
    assert (misfit is None and same) == (move.said is None), (name, misfit)


@pytest.mark.parametrize("name", MOVES)
async def test_between_a_kill_and_its_resume(postgres_url: str, name: str) -> None:
    await assert_judged_between_two_runs(postgres_url, name)


@pytest.mark.parametrize("name", ["reloaded", "vacuum full"])
async def test_while_others_have_transactions_open(postgres_url: str, name: str) -> None:
    """Their ids lie beyond any snapshot's end, and make no row look older than it is."""
    move = MOVES[name]
    others = [await asyncpg.connect(postgres_url) for _ in range(5)]
    try:
        await execute(postgres_url, *map(thinned, move.make))
        async with opened(postgres_url, table="t") as source:
            standing = source.standing
        assert standing is not None
        await execute(postgres_url, *map(thinned, move.move))
        for other in others:
            await other.execute("BEGIN; SELECT txid_current()")
        async with opened(postgres_url, table="t") as source:
            misfit = await source.misfit(standing, goes_on=True)
        assert (misfit is None) == (move.said is None), misfit
    finally:
        for other in others:
            await other.close()


async def misfit_of_a_catch_up(url: str, make: Sequence[str], move: Sequence[str], **section: Any) -> Any:
    """Return what a catch-up run says of a move since the run before it."""
    await execute(url, *make)
    async with opened(url, **section) as source:
        standing = source.standing
    assert standing is not None
    await execute(url, *move)
    async with opened(url, **section) as source:
        return await source.misfit(standing, goes_on=False)


@pytest.mark.parametrize(
    "name", ["truncated", "reloaded", "partition detached", "vacuum full", "wider key", "column added"]
)
async def test_a_catch_up_run_follows_on_rows_that_come_and_go(postgres_url: str, name: str) -> None:
    move = MOVES[name]
    assert await misfit_of_a_catch_up(postgres_url, move.make, move.move, table="t") is None


async def test_a_view_that_was_redefined_stops_a_catch_up_run(postgres_url: str) -> None:
    moved = MOVES["view redefined"].move
    said = await misfit_of_a_catch_up(postgres_url, VIEW, moved, **BY_VIEW)
    assert said == "the view public.w was redefined"


@pytest.mark.parametrize("name", MOVES)
async def test_positions_and_rows_of_the_system_s_own_version(
    system_postgres: OwnPostgres, name: str
) -> None:
    """What tells an emptied table from one that was written anew is the same in older versions."""
    url = system_postgres.url()
    await execute(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    await assert_judged_between_two_runs(url, name)


async def test_the_command_says_2_between_two_runs_and_names_what_moved(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    fill = "INSERT INTO t SELECT generate_series(1, 900)"
    await execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)", fill)
    loads.create_table(dynoxide, table_name)
    job = loads.job(postgres_url, dynoxide, table_name, target={"max_wcu": 100})
    command = Command(tmp_path, job)

    def interrupted() -> None:
        process = command.start("run", "--workers", "1")
        assert process.stderr is not None
        next(line for line in process.stderr if "segment" in line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        assert process.returncode == 130

    await asyncio.to_thread(interrupted)
    await execute(postgres_url, "TRUNCATE t", fill)
    refused = await asyncio.to_thread(command.run, "run")
    assert refused.code == 2, refused.stderr
    assert "the source changed (public.t was truncated" in refused.stderr
    assert "--fresh" in refused.stderr
