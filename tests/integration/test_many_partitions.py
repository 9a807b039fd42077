"""A source of many partitions whose state is in a table: what the run began with isn't in each checkpoint."""

import asyncio
import os
from pathlib import Path
from typing import Any

import boto3
import pytest

from connectors.dynamodb.state.still import INLINE_BYTES
from connectors.dynamodb.state.store import DynamoDBStore
from engine.errors import PermanentError
from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

PARTITIONS = int(os.environ.get("BACKFILL_TEST_PARTITIONS", "80"))
ROWS = 2 * PARTITIONS
PARTITIONED = (
    "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    f"""DO $$ BEGIN FOR n IN 0..{PARTITIONS - 1} LOOP EXECUTE
        format('CREATE TABLE t_%s PARTITION OF t FOR VALUES FROM (%s) TO (%s)', n, 2 * n, 2 * n + 2);
    END LOOP; END $$""",
    f"INSERT INTO t SELECT n, 'v' || n FROM generate_series(0, {ROWS - 1}) n",
)


def test_a_run_over_many_partitions_is_gone_on_with(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(execute(postgres_url, *PARTITIONED))
    loads.create_table(dynoxide, table_name)
    job = loads.job(postgres_url, dynoxide, table_name, source={"segments": 4})
    place = {"table": f"{table_name}-state", "region": "us-east-1", "endpoint_url": dynoxide}
    command = Command(tmp_path, {**job, "state": {"type": "dynamodb", **place}})
    advance, kept = DynamoDBStore.advance, list[Any]()

    async def failing(self, marks, effort):
        if kept:
            raise PermanentError("it stops here")
        kept.extend(marks)
        await advance(self, marks[:1], effort)

    with monkeypatch.context() as patch:
        patch.setattr(DynamoDBStore, "advance", failing)
        assert command.here("run", "--workers", "1").code == 1
    table = boto3.resource("dynamodb", endpoint_url=dynoxide, region_name="us-east-1").Table(place["table"])
    item = table.get_item(Key={"PK": job["name"], "SK": "RUN"})["Item"]
    assert "still" in item
    assert len(item["record"]) < INLINE_BYTES
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    assert (ended.report["resumed"], ended.report["rows_read"]) == (True, ROWS)
    table.meta.client.close()
