"""State in local files, as the table of state stores has it."""

import fcntl
import os
from pathlib import Path
from typing import Literal

from engine.contracts.state import CheckpointStore, RunState
from engine.job.model import Job
from engine.job.sections import StateSection
from engine.own_files import opened
from engine.registry import StateConnector
from engine.state.lease import LOCK_NAME


class SqliteSection(StateSection):
    """State in files below --state."""

    type: Literal["sqlite"] = "sqlite"
    """The kind of state."""


async def _open(job: Job, state_dir: Path) -> CheckpointStore:
    from engine.state.checkpoint import open_store

    return open_store(state_dir, job.name)


async def _read(job: Job, state_dir: Path) -> RunState | None:
    from engine.state.file import read_state

    return read_state(state_dir, job.name)


async def _letters_open(job: Job, state_dir: Path) -> int:
    from engine.state.dead_letters import FILE_NAME, count

    return count(state_dir / job.name / FILE_NAME)


async def _alive(job: Job, state_dir: Path) -> bool:
    return held(state_dir / job.name / LOCK_NAME)


def held(lock: Path) -> bool:
    """Return whether a process holds a job's lease.

    Asks for a shared lock and gives it back at once; two `status` don't see each other.
    """
    try:
        descriptor = opened(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


CONNECTOR = StateConnector(
    SqliteSection, _open, _read, _letters_open, _alive, lambda _, state_dir: str(state_dir)
)
