"""`backfill bench` measures a job's own path, whatever keys and indexes its table has."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

ROWS = 300
CREATE: dict[str, Any] = {
    "partition_key": "Owner",
    "sort_key": "Number",
    "key_types": {"Number": "N"},
    "gsi": [{"name": "ByState", "partition_key": "State"}],
}
RULE = {
    "name": "Order",
    "key": {"Owner": "O#{id}", "Number": "{id}"},
    "attributes": {"State": "{v}"},
}


def test_each_stage_is_measured(postgres_url: str, tmp_path: Path) -> None:
    """Against the null target: it keeps nothing, and yet its table has to stay the one that it was."""
    rows = f"CREATE TABLE t AS SELECT n AS id, 'v' || n AS v FROM generate_series(1, {ROWS}) n"
    asyncio.run(execute(postgres_url, rows, "ALTER TABLE t ADD PRIMARY KEY (id)", "ANALYZE t"))
    job = loads.job(postgres_url, "http://127.0.0.1:1", "orders", target={"create": CREATE})
    done = Command(tmp_path, {**job, "items": [RULE]}).run("bench", "--rows", str(ROWS), "--json")
    assert done.code == 0, done.stderr
    stages = json.loads(done.stdout)["stages"]
    assert [stages[name]["items"] for name in ("encode", "write", "whole")] == [ROWS] * 3
