"""The source in docs/connectors.md loads a table, and nothing else of the product knows it."""

import asyncio
import contextlib
import io
import json
from pathlib import Path

from engine.cli.options import Invocation
from engine.cli.program import answer
from tests.support import loads
from tests.support.source_subjects import Documented, documented

ROWS = 100


def answered(*words: str) -> str:
    out, complaint = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaint):
        code = answer(list(words), Invocation())
    assert code == 0, complaint.getvalue()
    return out.getvalue()


def test_a_table_of_sqlite_goes_through_every_command(dynoxide: str, table_name: str, tmp_path: Path) -> None:
    job = {
        "name": "sqlite",
        "source": {"type": "sqlite", "path": str(tmp_path / "rows.sqlite"), "table": "t", "batch_rows": 7},
        "target": {
            "type": "dynamodb",
            "table": table_name,
            "endpoint_url": dynoxide,
            "region": "us-east-1",
            "create": {"partition_key": "PK", "sort_key": "SK"},
        },
        "items": [{"name": "Row", "key": {"PK": "R#{id}", "SK": "R"}, "attributes": {"n": "{n}"}}],
    }
    path, state = tmp_path / "job.yaml", ("--state", str(tmp_path / "state"))
    path.write_text(json.dumps(job), encoding="utf-8")
    with documented("source"):
        asyncio.run(Documented(tmp_path / "rows.sqlite").fill(ROWS))
        answered("table", "create", str(path))
        plan = json.loads(answered("plan", str(path), "--json"))
        assert plan["source"]["rows"] == ROWS
        answered("run", str(path), "--workers", "1", *state)
        assert "complete" in answered("status", str(path), *state)
        verified = json.loads(answered("verify", str(path), "--full", "--json", *state))
        assert verified["matched"] == ROWS
    found = loads.items(dynoxide, table_name)
    assert found.keys() == {f"R#{n}|R" for n in range(1, ROWS + 1)}
    assert found["R#7|R"]["n"] == {"S": "n7"}
