"""How a job stands, read from its checkpoint without disturbing whoever runs it.

Invariant: reads only; an absent state is an answer, not an error.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contracts.state import RunState
from engine.job.model import Job
from engine.report import build
from engine.show import summary
from engine.state.checkpoint import read_state
from engine.state.lease import LOCK_NAME


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job's last or current run; `state` None: it has never run here."""

    job: str
    directory: Path
    where: str
    state: RunState | None
    alive: bool

    def text(self) -> str:
        """Say it to a person."""
        if self.state is None:
            return f"{self.job}: never run with this state ({self.where})"
        return summary.status(self.job, self.state, alive=self.alive, directory=self.directory)

    def as_json(self) -> dict[str, Any]:
        """Return the report as it would be now, with what only a checkpoint knows."""
        if self.state is None:
            return {"job": self.job, "outcome": None, "alive": False}
        report = build(self.job, self.state, outcome=summary.standing(self.state, alive=self.alive))
        return {
            **report.as_json(),
            "alive": self.alive,
            "interruptions": self.state.interruptions,
            "eta_s": summary.eta_s(report) if self.alive else None,
        }


async def look(job: Job, state_dir: Path) -> JobStatus:
    """Read how a job stands. Raises: JobError when its state is damaged; PermanentError, TransientError."""
    directory = state_dir / job.name
    if job.state.type == "sqlite":
        state = read_state(state_dir, job.name)
        return JobStatus(job.name, directory, str(state_dir), state, alive=held(directory / LOCK_NAME))
    from connectors.dynamodb.state import store as table_state
    from connectors.dynamodb.state.alive import alive

    state = await table_state.read_state(job.state, job.name)
    return JobStatus(
        job.name,
        directory,
        f"table {job.state.table}",
        state,
        alive=state is not None and await alive(job.state, job.name),
    )


def held(lock: Path) -> bool:
    """Return whether a process holds a job's lease.

    Asks for a shared lock and gives it back at once; two `status` don't see each other.
    """
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
