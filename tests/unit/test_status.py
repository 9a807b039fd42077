"""`status` says how a job stands, also while it is run, and never gets in its way."""

from pathlib import Path

from engine.batch import Counts, Cursor, Mark, Segment
from engine.commands.status import look
from engine.contracts.state import RunState, SegmentState
from engine.job.model import Job
from engine.state.checkpoint import open_store
from tests.support.runs import run_state

JOB = Job.model_validate(
    {
        "name": "orders",
        "source": {"type": "postgres", "url": "postgres://127.0.0.1/shop", "table": "orders"},
        "target": {"type": "dynamodb", "table": "app-data"},
        "items": [{"name": "Order", "key": {"PK": "ORDER#{id}"}}],
    }
)


def begun() -> RunState:
    segments = tuple(SegmentState(Segment(n, None, None, 500_000), None, done=False) for n in range(2))
    return run_state(outcome=None, finished_at=None, segments=segments, counts=Counts())


async def test_a_live_run_is_seen_and_not_disturbed(tmp_path: Path) -> None:
    store = open_store(tmp_path, "orders")
    await store.begin(begun())
    counts = Counts(rows_read=250_000, items_emitted=250_000, items_written=250_000)
    await store.advance([Mark(0, Cursor(("7",)), counts, (), done=False)], run_state().effort)
    seen = await look(JOB, tmp_path)
    assert seen.alive
    assert "running" in seen.text()
    assert "[+.]" in seen.text()
    found = seen.as_json()
    assert (found["outcome"], found["rows_read"], found["eta_s"]) == ("running", 250_000, 24.0)
    await store.finish("interrupted", "2024-01-15T10:00:09Z", run_state().effort, None)
    await store.close()


async def test_a_run_whose_process_died_can_go_on(tmp_path: Path) -> None:
    store = open_store(tmp_path, "orders")
    await store.begin(begun())
    await store.close()
    seen = await look(JOB, tmp_path)
    assert not seen.alive
    assert seen.as_json()["outcome"] == "interrupted"
    assert "goes on from the checkpoint" in seen.text()


async def test_a_finished_run_keeps_its_outcome(tmp_path: Path) -> None:
    store = open_store(tmp_path, "orders")
    await store.begin(begun())
    await store.finish("failed", "2024-01-15T10:00:09Z", run_state().effort, "the table app-data is gone")
    await store.close()
    seen = await look(JOB, tmp_path)
    assert seen.as_json()["outcome"] == "failed"
    assert "Cause: the table app-data is gone" in seen.text()
