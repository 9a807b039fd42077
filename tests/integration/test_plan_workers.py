"""plan --full over several processes says what one says, whoever of them dies."""

import asyncio
import contextlib
import os
import signal
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from engine.commands import helpers
from engine.commands.plan import whole
from engine.commands.plan.orders import MeasureOrder
from tests.integration.test_plan import FAN_OUT, PEOPLE
from tests.support import loads
from tests.support.command import Command
from tests.support.helped import asked_of_all
from tests.support.pg import execute


@pytest.fixture
def command(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    """Rows in several segments, of which some repeat keys, and some make dead letters."""
    repeated = "UPDATE people SET bio = CASE WHEN id % 500 = 0 THEN NULL ELSE (id % 2900)::text END"
    asyncio.run(
        execute(postgres_url, *PEOPLE, "ALTER TABLE people ALTER bio DROP NOT NULL", repeated, "ANALYZE")
    )
    job = loads.job(postgres_url, dynoxide, table_name, **deepcopy(FAN_OUT))
    job["source"]["segments"] = 12
    job["items"][0]["key"]["PK"] = "P#{bio}"
    return Command(tmp_path, job)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[MeasureOrder]:
    return asked_of_all(monkeypatch, whole)


def planned(command: Command, workers: int) -> dict[str, Any]:
    ended = command.here("plan", "--json", "--full", "--sample", "200", "--workers", str(workers))
    assert ended.code == 4, ended.stderr
    return ended.report


def told(plan: dict[str, Any]) -> dict[str, Any]:
    """What was counted, without the examples, of which any will do. What a run does depends on workers."""
    letters = [(each["rule"], each["reason"], each["expected"]) for each in plan["dead_letters"]["by_reason"]]
    collisions = {name: value for name, value in plan["collisions"].items() if name != "examples"}
    counted = {name: plan[name] for name in ("looked_at", "items", "write_units", "item_bytes")}
    return {**counted, "dead_letters": letters, "collisions": collisions}


def test_two_processes_say_what_one_says(command: Command, asked: list[MeasureOrder]) -> None:
    one = planned(command, 1)
    assert not asked
    two = planned(command, 2)
    assert {order.suspects is None for order in asked} == {True, False}, "both times"
    assert told(two) == told(one)
    assert one["collisions"]["keys"] > 50
    assert one["dead_letters"]["by_reason"]
    shown = {tuple(each["key"]): each["items"] for each in one["collisions"]["examples"]}
    assert shown == {tuple(each["key"]): each["items"] for each in two["collisions"]["examples"]}


def test_a_helper_that_dies_is_counted_nowhere(
    command: Command, asked: list[MeasureOrder], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, ask = planned(command, 1), helpers.Helper.ask

    async def killed(self, order):
        if len(asked) > 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        return await ask(self, order)

    monkeypatch.setattr(helpers.Helper, "ask", killed)
    assert told(planned(command, 2)) == told(one)


def test_a_plan_without_a_place_for_temporary_files_says_so(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(command.folder / "gone"))
    ended = command.here("plan", "--full", "--sample", "200")
    assert ended.code == 1, ended.stderr
    assert "temporary files can't be written (No such file or directory): set TMPDIR" in ended.stderr
