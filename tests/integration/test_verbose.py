"""`-v` tells what is decided while it runs: of both jobs of a file, of the runner and of its workers."""

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


def test_each_line_has_its_job_and_workers_have_lines_too(
    tmp_path: Path, postgres_url: str, table_name: str
) -> None:
    servers.execute(postgres_url, ROWS)
    with servers.simulator("--wcu", "300", "--burst-s", "0", "--fault", "503=0.1") as endpoint:
        loads.create_table(endpoint, table_name)
        document = loads.job(postgres_url, endpoint, table_name)
        jobs = [
            {
                "name": name,
                "source": {**document["source"], "table": name, "segments": 2},
                "items": [{"name": name, "key": {"PK": f"{name}#{{id}}", "SK": "ROW"}, "include": "all"}],
            }
            for name in ("users", "orders")
        ]
        several = {"target": document["target"], "jobs": jobs}
        ended = Command(tmp_path, several).run("run", "-v", "--workers", "2")
        quiet = Command(tmp_path, several).run("run", "--fresh", "--workers", "1")
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
    pids = {line["pid"] for line in lines if line["job"] == "orders"}
    assert len(pids) >= 2, "the runner's and workers'"
    assert {line["job"] for line in lines if line["level"] == "DEBUG"} == {"users", "orders"}, lines
    assert " DEBUG " not in quiet.stderr
