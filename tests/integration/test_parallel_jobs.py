"""`run --parallel-jobs N`: jobs of a file at one time, in their order where they may make the same items."""

import asyncio
import json
import os
import signal
import subprocess
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from connectors.dynamodb import sharing
from engine.commands.run import runner
from engine.run.coordinator import Coordinator
from tests.support import loads
from tests.support.command import Command, Ended, kill_group
from tests.support.logged import until
from tests.support.pg import execute

GATE = """
CREATE FUNCTION gate() RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        EXIT WHEN pg_try_advisory_lock_shared(7);
        PERFORM pg_sleep(0.05);
    END LOOP;
    RETURN true;
END $$
"""
HELD = "SELECT id, v FROM {} WHERE gate()"
"""Gives no row before the gate is open."""


@pytest.fixture
def command(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    """Four jobs of 20 rows each, into one table."""
    loads.create_table(dynoxide, table_name)
    statements = [
        f"CREATE TABLE {name} AS SELECT n AS id, '{name}' AS v FROM generate_series(1, 20) n"
        for name in "abcd"
    ]
    asyncio.run(execute(postgres_url, *statements, GATE))
    jobs = [
        {
            "name": name,
            "source": {
                "type": "postgres",
                "url": postgres_url,
                "query": f"SELECT id, v FROM {name}",
                "key": ["id"],
            },
            "items": [{"name": name, "key": {"PK": f"{name}#{{id}}", "SK": "ROW"}, "include": "all"}],
        }
        for name in "abcd"
    ]
    target = {"type": "dynamodb", "table": table_name, "endpoint_url": dynoxide, "region": "us-east-1"}
    return Command(tmp_path, {"target": target, "jobs": jobs})


def hold(command: Command, *names: str) -> None:
    for job in command.job["jobs"]:
        if job["name"] in names:
            job["source"]["query"] = HELD.format(job["name"])


def there(command: Command) -> dict[str, dict[str, Any]]:
    target = command.job["target"]
    return loads.items(target["endpoint_url"], target["table"])


@pytest.fixture
def gate(postgres_url: str) -> Iterator[threading.Event]:
    """Close the gate, and open it when the event is set."""
    opened, closed = threading.Event(), threading.Event()

    async def keep() -> None:
        connection = await asyncpg.connect(postgres_url)
        try:
            await connection.execute("SELECT pg_advisory_lock(7)")
            closed.set()
            await asyncio.to_thread(opened.wait)
        finally:
            await connection.close()

    keeping = threading.Thread(target=asyncio.run, args=(keep(),))
    keeping.start()
    assert closed.wait(60)
    yield opened
    opened.set()
    keeping.join()


def carried(command: Command, scene: Callable[["subprocess.Popen[str]", Path], None], *more: str) -> Ended:
    """Run all jobs, two at a time, while something happens."""
    log = command.folder / "stderr.txt"
    process = command.start("run", "--json", "--workers", "1", "--parallel-jobs", "2", *more, log=log)
    try:
        scene(process, log)
        stdout, _ = process.communicate(timeout=240)
    except BaseException:
        kill_group(process)
        print(log.read_text())  # pytest shows it
        raise
    return Ended(process.returncode, stdout, log.read_text())


def ended(command: Command, *names: str) -> bool:
    return all((command.state / name / "report.json").exists() for name in names)


def test_others_go_on_while_one_waits_for_its_source(command: Command, gate: threading.Event) -> None:
    hold(command, "a")

    def scene(_: object, __: Path) -> None:
        until(lambda: ended(command, "b", "c", "d"), "the others don't go on")
        assert not ended(command, "a")
        gate.set()

    done = carried(command, scene)
    assert done.code == 0, done.stderr
    reports = done.report["jobs"]
    assert [(report["job"], report["outcome"]) for report in reports] == [(n, "complete") for n in "abcd"]
    for report in reports:
        loads.assert_balanced(report)
    assert len(there(command)) == 80
    assert "a: full run" in done.stderr
    assert ", job 4 of 4" in done.stderr


def test_of_two_that_make_one_item_the_later_has_it(command: Command, gate: threading.Event) -> None:
    hold(command, "a")
    command.job["jobs"][1]["items"][0]["key"]["PK"] = "a#{id}"

    def scene(_: object, log: Path) -> None:
        until(lambda: ended(command, "c", "d"), "those that are apart don't go on")
        assert not ended(command, "b")
        gate.set()

    done = carried(command, scene)
    assert done.code == 0, done.stderr
    assert "b waits for a: their items may have the same keys" in done.stderr
    assert {item["v"]["S"] for place, item in there(command).items() if place.startswith("a#")} == {"b"}


def test_one_that_fails_has_none_begun_and_those_that_go_on_end(
    command: Command, gate: threading.Event
) -> None:
    hold(command, "a")
    command.job["jobs"][1]["source"]["query"] = "SELECT id, v FROM nowhere"

    def scene(_: object, log: Path) -> None:
        until(lambda: "no other job is begun" in log.read_text(), "it isn't said")
        gate.set()

    done = carried(command, scene)
    assert done.code == 2, done.stderr
    assert done.report["error"].startswith("b: ")
    assert [report["job"] for report in done.report["jobs"]] == ["a"]
    assert {place[0] for place in there(command)} == {"a"}


def test_a_stop_meets_all_of_them_and_the_same_command_goes_on(
    command: Command, gate: threading.Event
) -> None:
    hold(command, "a", "b")

    def scene(process: "subprocess.Popen[str]", log: Path) -> None:
        until(lambda: all(f"{name}: full run" in log.read_text() for name in "ab"), "they don't begin")
        process.send_signal(signal.SIGTERM)

    done = carried(command, scene)
    assert done.code == 130, done.stderr
    assert [(r["job"], r["outcome"]) for r in done.report["jobs"]] == [(n, "interrupted") for n in "ab"]
    gate.set()
    again = carried(command, lambda *_: None)
    assert again.code == 0, again.stderr
    assert len(there(command)) == 80


def test_it_is_about_loads(command: Command) -> None:
    refused = command.here("run", "--json", "--follow", "--parallel-jobs", "2")
    assert refused.code == 2
    assert "--parallel-jobs is about loads" in refused.report["error"]


def counts(endpoint: str) -> Counter[str]:
    """Count what has come to the null target: connections, and operations by their names."""
    with urllib.request.urlopen(f"{endpoint}/counts", timeout=10) as answer:
        told = json.load(answer)
    return Counter({"connections": told["connections"], **told["asked"]})


@pytest.mark.parametrize("abreast", ["1", "4"])
def test_jobs_that_write_to_one_table_share_its_description_and_its_connections(
    command: Command, null_target: str, abreast: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "FRESH_S", float("inf"))  # however slow this machine is
    command.job["target"]["endpoint_url"] = null_target
    before = counts(null_target)
    done = command.here("run", "--json", "--fresh", "--workers", "1", "--parallel-jobs", abreast)
    assert done.code == 0, done.stderr
    now = counts(null_target)
    now.subtract(before)
    assert now["describecontinuousbackups"] == now["describetimetolive"] == 1, "it is described once"
    # One for that, one for looks, one for each job that writes at a time, and those that counted here.
    assert now["connections"] <= 1 + 1 + int(abreast) + 2
    # The description, a greeting for each connection, and of each job three looks, or more where it is slow.
    assert now["describetable"] >= 1 + 1 + len(command.job["jobs"])


def test_a_signal_that_comes_as_a_job_ends_keeps_the_next_from_beginning(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Coordinator.run

    async def late(coordinator: Coordinator, workforce: Any) -> None:
        await run(coordinator, workforce)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05)

    monkeypatch.setattr(Coordinator, "run", late)
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 130, ended.stderr
    assert [(each["job"], each["outcome"]) for each in ended.report["jobs"]] == [("a", "complete")]


def test_a_signal_breaks_off_jobs_that_are_only_being_prepared(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while open writers, or a lock, are waited for."""
    waiting: list[None] = []

    async def for_ever(*_: object) -> None:
        waiting.append(None)
        if len(waiting) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(30)
        raise AssertionError("nobody has broken it off")

    monkeypatch.setattr(runner, "prepare", for_ever)
    ended = command.here("run", "--json", "--parallel-jobs", "2", "--workers", "1")
    assert ended.code == 130, ended.stderr
    assert ended.report["jobs"] == []
    assert len(waiting) == 2
