"""`status` sees a run whose state is in a table, from a machine that has no state directory of it."""

import uuid
from pathlib import Path

from connectors.dynamodb.state.lease import alive
from connectors.dynamodb.state.section import DynamoDBStateSection
from connectors.dynamodb.state.store import open_store
from engine.batch import Counts
from engine.commands.status import look
from engine.job.model import Job
from tests.support.runs import run_state


async def test_a_run_elsewhere_is_seen(dynoxide: str, tmp_path: Path) -> None:
    section = DynamoDBStateSection(
        type="dynamodb", table=f"state-{uuid.uuid4().hex}", region="us-east-1", endpoint_url=dynoxide
    )
    job = Job.model_validate(
        {
            "name": "orders",
            "source": {"type": "postgres", "url": "postgres://127.0.0.1/shop", "table": "orders"},
            "target": {"type": "dynamodb", "table": "app-data"},
            "items": [{"name": "Order", "key": {"PK": "ORDER#{id}"}}],
            "state": section.model_dump(),
        }
    )
    here = tmp_path / "here"
    never = await look(job, here)
    assert never.as_json()["outcome"] is None
    assert never.text() == f"orders: never run with this state (table {section.table})"

    store = await open_store(section, tmp_path / "there", "orders")
    try:
        await store.begin(run_state(outcome=None, finished_at=None, counts=Counts()))
        assert (await look(job, here)).as_json()["outcome"] == "running"
        assert not await alive(section, "orders", clock=lambda: 9e9), "a lease that has run out is nobody's"
    finally:
        await store.close()
    assert (await look(job, here)).as_json()["outcome"] == "interrupted"
