"""A run's life as its user sees it: alive, interrupted, finished, changed; what it shows and never shows."""

import asyncio
import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.servers import free_port
from engine.commands.run import processes
from engine.run.handing_out import HandingOut
from engine.run.voice import Voice
from tests.support import loads
from tests.support.command import Command, kill_group
from tests.support.own_postgres import PASSWORD, OwnPostgres, embedded_binaries, own_postgres
from tests.support.pg import execute
from tests.support.stopped import sleepers

ROWS = 2_000
PAD = 20_000
SLOW_WCU = 1_000
"""At 21 units for a padded row, a run of all rows takes forty seconds, and they don't all fit into memory."""
REQUEST_ITEMS = 25

REPORT = """job run_id kind outcome started_at finished_at resumed rows_read rows_expected items_emitted
items_written items_deleted items_skipped items_coalesced items_dead_lettered requests items_unprocessed
requests_throttled retries consumed_wcu elapsed_s items_per_s cpu_s cpu_us_per_item peak_rss_mb
write_latency_ms segments watermark error"""

METRICS = {
    "rows_read_total": "", "rows_acked_total": "", "items_written_total": "", "items_deleted_total": "",
    "items_skipped_total": "", "items_unprocessed_total": "", "items_dead_lettered_total": "reason",
    "requests_total": "outcome",
    "requests_throttled_total": "cause", "request_duration_seconds_bucket": "le",
    "request_duration_seconds_sum": "", "request_duration_seconds_count": "",
    "consumed_write_units_total": "index", "cost_usd_total": "", "write_rate_limit_units": "",
    "requests_in_flight": "",
    "stage_seconds_total": "stage", "segments": "state", "rows_expected": "", "checkpoint_age_seconds": "",
    "watermark_lag_seconds": "",
}  # fmt: skip

SECRET_KEY = "wJalrXUtnFEMIK7MDENGbPxRfiCYSECRETKEY"
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
TOKEN = "FwoGZXIvYXdzEJrsessiontokenEXAMPLE"


@pytest.fixture
def command(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(postgres_url, *rows_of("t")))
    return Command(tmp_path, loads.job(postgres_url, dynoxide, table_name, source={"batch_rows": 100}))


def rows_of(table: str) -> tuple[str, ...]:
    return (
        f"CREATE TABLE {table} (id int PRIMARY KEY, v text, at timestamptz NOT NULL DEFAULT now())",
        f"INSERT INTO {table} SELECT n, 'v' || n FROM generate_series(1, {ROWS}) n",
        f"ANALYZE {table}",
    )


def ids(command: Command) -> set[int]:
    target = command.job["target"]
    return {int(place[4:-4]) for place in loads.items(target["endpoint_url"], target["table"])}


def test_a_run_to_its_end_loads_nothing_that_its_job_has_no_use_for(command: Command) -> None:
    """Imports are most of what a short run costs."""
    process = command.start("run", "--json", env={"PYTHONPROFILEIMPORTTIME": "1"})
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    loaded = {
        line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")
    }
    assert {"polars", "asyncpg", "connectors.postgres.source", "connectors.dynamodb.target"} <= loaded
    of_others = {"prometheus_client", "rich", "botocore", "urllib3", "pymongo", "ray", "bench"}
    of_logs = {f"connectors.postgres.{name}" for name in ("feed", "feeding", "pgoutput", "slot_reading")}
    of_plans = {"connectors.dynamodb.planning.forecast", "engine.commands.plan", "engine.commands.verify"}
    assert loaded & (of_others | of_logs | of_plans) == set()


@pytest.fixture
def slow(command: Command) -> Iterator["subprocess.Popen[str]"]:
    """A run that has written something and has some seconds to go."""
    url = command.job["source"]["url"]
    asyncio.run(execute(url, f"ALTER TABLE t ADD pad text NOT NULL DEFAULT repeat('x', {PAD})"))
    command.job["target"]["max_wcu"] = SLOW_WCU
    process = command.start("run", "--json", "--workers", "1")
    try:
        wait_until(lambda: status(command).get("items_written", 0) > 0, process)
        yield process
    finally:
        kill_group(process)


def wait_until(
    happened: Callable[[], bool], process: "subprocess.Popen[str]", timeout_s: float = 200
) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def status(command: Command) -> dict[str, Any]:
    return command.here("status", "--json").report


def test_while_a_run_is_alive_it_is_shown_and_nobody_else_may(
    command: Command, slow: "subprocess.Popen[str]"
) -> None:
    now = status(command)
    assert (now["alive"], now["outcome"], now["kind"]) == (True, "running", "full")
    assert 0 < now["items_written"] < ROWS
    assert now["rows_expected"] == ROWS
    assert set(REPORT.split()) <= now.keys()
    text = command.here("status").stdout
    assert "running" in text
    second = command.here("run")
    assert second.code == 2
    assert f"already being run by pid {slow.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    slow.send_signal(signal.SIGINT)
    stdout, stderr = slow.communicate(timeout=200)
    assert slow.returncode == 130, stderr
    report = json.loads(stdout)
    assert report["outcome"] == "interrupted"
    assert status(command)["alive"] is False
    loads.assert_balanced(report)
    written = report["items_written"]
    assert written <= len(ids(command)) <= written + REQUEST_ITEMS, "a busy machine may cut a last one off"
    assert len(ids(command)) < ROWS
    del command.job["target"]["max_wcu"]
    ended = command.here("run", "--json")
    assert ended.code == 0, ended.stderr
    assert (ended.report["resumed"], ended.report["run_id"]) == (True, report["run_id"])
    assert ended.report["rows_read"] == ended.report["items_written"] == ROWS
    assert ids(command) == set(range(1, ROWS + 1))


def test_a_changed_job_is_refused_until_it_starts_afresh(
    command: Command, slow: "subprocess.Popen[str]"
) -> None:
    slow.send_signal(signal.SIGTERM)
    slow.communicate(timeout=200)
    assert slow.returncode == 130
    del command.job["target"]["max_wcu"]
    rule = dict(command.job["items"][0])
    command.job["items"][0]["attributes"] = {"extra": "x"}
    ended = command.here("run")
    assert ended.code == 2
    assert re.search(r"mapping|items", ended.stderr)
    assert "--fresh" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    command.job["items"][0] = rule
    command.job["source"]["where"] = "id > 0"
    ended = command.here("run")
    assert (ended.code, "source" in ended.stderr) == (2, True)
    ended = command.here("run", "--json", "--fresh")
    assert ended.code == 0, ended.stderr
    assert (ended.report["resumed"], ended.report["rows_read"]) == (False, ROWS)


def test_a_run_does_not_go_on_into_items_of_another_shape(
    command: Command, slow: "subprocess.Popen[str]"
) -> None:
    """`include: all` takes what columns there are: the second part would differ from the first."""
    slow.send_signal(signal.SIGINT)
    slow.communicate(timeout=200)
    assert slow.returncode == 130
    del command.job["target"]["max_wcu"]
    url = command.job["source"]["url"]
    asyncio.run(execute(url, "ALTER TABLE t ADD note text DEFAULT 'x'"))
    written = ids(command)
    ended = command.here("run")
    assert ended.code == 2
    assert "Row.note is new" in ended.stderr
    assert "--fresh" in ended.stderr
    assert ids(command) == written
    asyncio.run(execute(url, "ALTER TABLE t DROP note"))
    ended = command.here("run", "--json")
    assert ended.code == 0, ended.stderr
    assert (ended.report["resumed"], ended.report["rows_read"]) == (True, ROWS)
    assert ids(command) == set(range(1, ROWS + 1))


def test_a_target_made_anew_is_another_target(command: Command, slow: "subprocess.Popen[str]") -> None:
    slow.send_signal(signal.SIGINT)
    slow.communicate(timeout=200)
    target = command.job["target"]
    loads.client(target["endpoint_url"]).delete_table(TableName=target["table"])
    time.sleep(1.1)  # the table's creation time has seconds
    loads.create_table(target["endpoint_url"], target["table"])
    ended = command.here("run")
    assert (ended.code, "target" in ended.stderr, "--fresh" in ended.stderr) == (2, True, True), ended.stderr


def test_a_finished_job_has_nothing_to_do_and_says_so(command: Command) -> None:
    first = command.here("run", "--json")
    assert first.code == 0, first.stderr
    again = command.here("run", "--json")
    assert again.code == 0
    assert "without source.watermark there is nothing to catch up with, and --fresh" in again.stderr
    assert again.report["run_id"] == first.report["run_id"]
    now = status(command)
    assert (now["alive"], now["outcome"]) == (False, "complete")
    assert "complete" in command.here("status").stdout


def test_a_worker_that_is_stopped_is_told_of_and_reads_on_when_it_wakes(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process's own worker reads nothing before: the other one has a segment by then."""
    spawn, want, give = processes.spawn, HandingOut.want, HandingOut._give
    pids, held_up = dict[object, int](), list[Callable[[], None]]()
    command.job["source"]["segments"] = 4
    with sleepers(monkeypatch) as sleeping:

        async def noted(boot, lease_fd):
            started = await spawn(boot, lease_fd)
            pids[started.link] = started.process.pid
            return started

        def wanted(self, worker):
            if worker.link in pids or sleeping.told:
                want(self, worker)
            else:
                held_up.append(lambda: want(self, worker))

        def given(self, worker, state):
            if worker.link in pids:
                sleeping.stop(pids[worker.link])
            give(self, worker, state)

        def warned(self, text):
            warn(self, text)
            sleeping.hear(text)
            while sleeping.told and held_up:
                held_up.pop()()

        warn = Voice.warn
        monkeypatch.setattr(processes, "spawn", noted)
        monkeypatch.setattr(HandingOut, "want", wanted)
        monkeypatch.setattr(HandingOut, "_give", given)
        monkeypatch.setattr(Voice, "warn", warned)
        ended = command.here("run", "--json", "--workers", "2")
    assert ended.code == 0, ended.stderr
    assert ended.report["items_written"] == ROWS
    (pid,) = sleeping.stopped
    assert any(f"worker process {pid} has said nothing for" in text for text in ended.report["notices"])


def test_the_report_holds_the_contracts_fields(command: Command) -> None:
    ended = command.here("run", "--json", "--workers", "2")
    assert ended.code == 0, ended.stderr
    written = json.loads((command.state / "load" / "report.json").read_text())
    assert written == ended.report
    fields = REPORT.split()
    assert list(written)[: len(fields)] == fields
    assert written["consumed_wcu"] == {"table": ROWS, "gsi": {}}
    assert written["write_latency_ms"].keys() == {"p50", "p95", "p99"}
    assert written["segments"].keys() == {"total", "complete"}
    assert written["watermark"] == {"from": None, "to": None}
    assert written["requests"] >= ROWS / 25
    assert written["peak_rss_mb"] > 0
    assert written["items_per_s"] > 0
    assert written["error"] is None
    assert command.here("run").stdout.strip()


def test_metrics_are_there_while_it_runs(command: Command) -> None:
    command.job["target"]["max_wcu"] = 50
    command.job["source"]["watermark"] = "at"
    port = free_port()
    process = command.start("run", "--workers", "2", "--metrics-port", str(port))
    try:
        found: dict[str, float] = {}

        def scraped() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    text = answer.read().decode()
            except OSError:
                return False
            found.update(samples(text))
            return sum(v for name, v in found.items() if name.startswith("backfill_items_written_total")) > 0

        wait_until(scraped, process)
        for name, label in METRICS.items():
            mine = [sample for sample in found if sample.startswith(f"backfill_{name}{{")]
            assert mine, f"{name} is missing"
            assert all('job="load"' in sample for sample in mine)
            assert not label or any(f'{label}="' in sample for sample in mine), mine
    finally:
        kill_group(process)


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture(scope="module")
def guarded() -> Iterator[OwnPostgres]:
    with own_postgres(embedded_binaries(), "pgserver") as server:
        asyncio.run(execute(server.url(), *rows_of("t")))
        yield server


def test_secrets_are_nowhere(guarded: OwnPostgres, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_SESSION_TOKEN", TOKEN), ("SOURCE_URL", guarded.url()),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    command.job["source"]["url"] = "${SOURCE_URL}"
    told = []
    bad = ["--fresh", "--set", "items.Row.key.PK='{nowhere}'"]
    for arguments, code in ((["--workers", "2"], 0), ([], 0), (bad, 2)):
        ended = command.run("run", "-v", *arguments)
        assert ended.code == code, ended.stderr
        told.append(ended.stdout + ended.stderr)
    monkeypatch.setenv("SOURCE_URL", guarded.url(password=PASSWORD + "x"))
    refused = command.run("run", "--fresh", "-v")
    assert refused.code == 2, refused.stderr
    told += [refused.stdout + refused.stderr, command.run("status", "-v", "--json").stdout]
    monkeypatch.setenv("SOURCE_URL", guarded.url().replace(str(guarded.port), "1"))
    told.append(command.run("run", "--fresh", "-v").stderr)
    files = [path for path in command.folder.rglob("*") if path.is_file()]
    assert any(path.name == "state.sqlite" for path in files)
    quoted = guarded.url().partition("postgres:")[2].partition("@")[0]
    for secret in (PASSWORD, quoted, SECRET_KEY, ACCESS_KEY, TOKEN, "s3cret"):
        for text in told:
            assert secret not in text
        for path in files:
            assert secret.encode() not in path.read_bytes(), path


def test_what_is_kept_is_for_its_owner_only(command: Command) -> None:
    command.job["items"].append({"name": "Bad", "key": {"PK": "{v}", "SK": "{none}"}})
    command.job["source"] |= {"query": "SELECT *, NULL::text AS none FROM t", "key": ["id"]}
    del command.job["source"]["table"]
    ended = command.here("run", "--json")
    assert ended.code == 3
    kept = sorted(path.name for path in (command.state / "load").iterdir())
    assert {"dead-letters.jsonl", "report.json", "state.sqlite"} <= set(kept)
    for path in (command.state, *command.state.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
