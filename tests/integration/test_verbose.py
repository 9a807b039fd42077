"""What stderr says of real runs: with `-v` what is decided, as JSON a line each, with `--quiet` nothing."""

import json
import re
from pathlib import Path

from bench import servers
from tests.support import loads
from tests.support.command import Command

ROWS = """
CREATE TABLE users (id bigint PRIMARY KEY, name text);
INSERT INTO users SELECT g, 'u' || g FROM generate_series(1, 10) g;
CREATE TABLE orders (id bigint PRIMARY KEY, name text);
INSERT INTO orders SELECT g, 'o' || g FROM generate_series(1, 4000) g;
"""
LINE = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+Z (?P<level>[A-Z]+) (?P<job>\S+)\[(?P<pid>\d+)\] (?P<name>\S+): (?P<text>.*)"
)


KEYS = ["time", "level", "job", "event", "message", "fields"]


def two_jobs(folder: Path, url: str, endpoint: str, table: str) -> Command:
    """Two loads into one table, which has to be created."""
    servers.execute(url, ROWS)
    loads.create_table(endpoint, table)
    document = loads.job(url, endpoint, table)
    jobs = [
        {
            "name": name,
            "source": {**document["source"], "table": name, "segments": 2},
            "items": [{"name": name, "key": {"PK": f"{name}#{{id}}", "SK": "ROW"}, "include": "all"}],
        }
        for name in ("users", "orders")
    ]
    return Command(folder, {"target": document["target"], "jobs": jobs})


def test_each_line_has_its_job(tmp_path: Path, postgres_url: str, table_name: str) -> None:
    with servers.simulator("--wcu", "300", "--burst-s", "0", "--fault", "503=0.1") as endpoint:
        command = two_jobs(tmp_path, postgres_url, endpoint, table_name)
        ended = command.run("run", "-v", "--workers", "2")
        plain = command.run("run", "--fresh", "--workers", "1")
        chosen = command.run("run", "--fresh", "-v", "--only", "users")
    assert ended.code == 0, ended.stderr
    lines = [found for line in ended.stderr.splitlines() if (found := LINE.fullmatch(line)) is not None]
    told = {job: [line["text"] for line in lines if line["job"] == job] for job in ("users", "orders")}
    for job, texts in told.items():
        assert any(text.endswith(f"{job}/lock is ours") for text in texts), texts
        assert {text for text in texts if text.startswith("segment 0 to worker")}, texts
        assert "segment 1 is read and acked" in texts
    orders = "\n".join(told["orders"])
    assert "RateChanged(" in orders
    assert "SentAgain(why='failed'" in orders
    assert {line["job"] for line in lines if line["level"] == "DEBUG"} == {"users", "orders"}, lines
    assert " DEBUG " not in plain.stderr
    assert "workers 1: " in chosen.stderr
    assert "another pays" in chosen.stderr or "one core" in chosen.stderr


def test_as_json_every_line_of_every_process_is_an_object(
    tmp_path: Path, postgres_url: str, dynoxide: str, table_name: str
) -> None:
    command = two_jobs(tmp_path, postgres_url, dynoxide, table_name)
    command.job["target"]["max_wcu"] = 200  # so slow that the other process has joined before all is written
    ended = command.run("run", "-v", "--log-format", "json", "--workers", "2")
    assert ended.code == 0, ended.stderr
    said = [json.loads(line) for line in ended.stderr.splitlines()]
    assert all(list(line) == KEYS for line in said)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z", line["time"]) for line in said)
    for job in ("users", "orders"):
        events = [line["event"] for line in said if line["job"] == job]
        assert {"run_started", "segments_planned", "run_ended", "log"} <= set(events)
    (last,) = (line for line in said if (line["event"], line["job"]) == ("run_ended", "orders"))
    assert (last["fields"]["outcome"], last["fields"]["items_written"]) == ("complete", 4000)
    logs = [line for line in said if line["event"] == "log"]
    assert len({line["fields"]["pid"] for line in logs if line["job"] == "orders"}) >= 2, "workers' too"
    assert {line["level"] for line in logs} == {"debug"}
    for verb in ("plan", "verify", "redrive", "status"):
        ended = command.here(verb, "--log-format", "json")
        assert ended.code == 0, ended.stderr
        for line in ended.stderr.splitlines():
            assert list(json.loads(line)) == KEYS


def test_quiet_says_nothing_but_what_went_wrong(
    tmp_path: Path, postgres_url: str, dynoxide: str, table_name: str
) -> None:
    command = two_jobs(tmp_path, postgres_url, dynoxide, table_name)
    for verb in ("plan", "run", "verify --full", "redrive", "status"):
        ended = command.here(*verb.split(), "--quiet")
        assert (ended.code, ended.stderr) == (0, ""), verb
        assert ended.stdout, verb
    loads.client(dynoxide).delete_table(TableName=table_name)
    ended = command.here("run", "--quiet", "--fresh")
    assert ended.code == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("backfill: error: users: target.table: there is no table")
    ended = command.here("run", "--quiet", "--fresh", "--log-format", "json")
    (line,) = ended.stderr.splitlines()
    said = json.loads(line)
    assert (said["level"], said["job"], said["event"]) == ("error", "users", "error")
