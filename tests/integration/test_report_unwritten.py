"""A report that can't be written: the load stands as it ended, and the user hears of it once."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine import report as reports
from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

ROWS = 50


@pytest.fixture
def command(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    fill = f"INSERT INTO t SELECT n, nullif(n, 7)::text FROM generate_series(1, {ROWS}) n"
    asyncio.run(execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY, v text)", fill))
    return Command(tmp_path, loads.job(postgres_url, dynoxide, table_name))


def test_a_complete_load_is_complete_whatever_becomes_of_its_report(command: Command) -> None:
    (command.state / "load" / "report.json").mkdir(parents=True)  # nothing can take its place
    ended = command.run("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    (told,) = [line for line in ended.stderr.splitlines() if "report.json" in line]
    assert "can't write .backfill/load/report.json: Is a directory" in told
    assert "report on stdout" in told
    assert "Traceback" not in ended.stderr
    assert (ended.report["outcome"], ended.report["items_written"]) == ("complete", ROWS)
    assert any("report.json" in notice for notice in ended.report["notices"])
    assert command.here("status", "--json").report["outcome"] == "complete"
    assert "nothing to catch" in command.here("run").stderr, "the load would be done again"


def test_dead_letters_still_answer_3(command: Command) -> None:
    (command.state / "load" / "report.json").mkdir(parents=True)
    command.job["items"][0]["key"]["SK"] = "{v}"
    ended = command.here("run", "--json")
    assert (ended.code, ended.report["items_dead_lettered"]) == (3, 1)
    assert len(command.dead_letters()) == 1


def test_a_folder_that_is_gone_doesnt_turn_a_load_into_a_failure(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = reports.write

    def write_nowhere(report: Any, path: Path) -> None:
        shutil.rmtree(path.parent)
        write(report, path)

    monkeypatch.setattr("engine.commands.run.runner.write", write_nowhere)
    ended = command.here("run", "--json")
    assert (ended.code, ended.report["outcome"]) == (0, "complete")
    assert "No such file or directory" in ended.stderr
    assert len(loads.items(command.job["target"]["endpoint_url"], command.job["target"]["table"])) == ROWS


def test_a_failed_load_names_its_own_cause(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was hidden behind the report's: on a full disk both fail."""
    (command.state / "load" / "report.json").mkdir(parents=True)
    command.job["items"][0]["key"]["SK"] = "{v}"
    command.job["options"] = {"on_invalid": "fail"}
    ended = command.here("run", "--json")
    assert (ended.code, ended.report["outcome"]) == (1, "failed")
    assert "report.json" not in ended.stderr.splitlines()[-1], ended.stderr
    assert "key_null" in ended.stderr.splitlines()[-1], ended.stderr
