"""State in a DynamoDB table, as the table of state stores has it."""

from pathlib import Path

from connectors.dynamodb.state.section import DynamoDBStateSection
from engine.contracts.state import CheckpointStore, RunState
from engine.job.model import Job
from engine.registry import StateConnector


def _section(job: Job) -> DynamoDBStateSection:
    assert isinstance(job.state, DynamoDBStateSection), "the table of state stores goes by type"
    return job.state


async def _open(job: Job, state_dir: Path) -> CheckpointStore:
    from connectors.dynamodb.state.store import open_store

    return await open_store(_section(job), state_dir, job.name)


async def _read(job: Job, _: Path) -> RunState | None:
    from connectors.dynamodb.state.reading import read_state

    return await read_state(_section(job), job.name)


async def _letters_open(job: Job, _: Path) -> int:
    from connectors.dynamodb.state.reading import letters_open

    return await letters_open(_section(job), job.name)


async def _alive(job: Job, _: Path) -> bool:
    from connectors.dynamodb.state.lease import alive

    return await alive(_section(job), job.name)


CONNECTOR = StateConnector(
    DynamoDBStateSection,
    _open,
    _read,
    _letters_open,
    _alive,
    lambda job, _: f"table {_section(job).table}",
)
