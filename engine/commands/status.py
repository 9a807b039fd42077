"""How a job stands, read from its checkpoint without disturbing whoever runs it.

Invariant: reads only; an absent state is an answer, not an error.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contracts.state import RunState
from engine.exits import Exit
from engine.job.model import Job
from engine.registry import STATES
from engine.report import build
from engine.show import summary


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job's last or current run; `state` None: it has never run here."""

    job: str
    directory: Path
    where: str
    state: RunState | None
    alive: bool
    letters_open: int = 0

    @property
    def exit_code(self) -> int:
        """Return 3 where a run went to its end and dead letters are open."""
        if self.state is None or self.alive or not self.state.closed:
            return Exit.DONE
        return Exit.DEAD_LETTERS if self.letters_open else Exit.DONE

    def text(self) -> str:
        """Say it to a person."""
        if self.state is None:
            return f"{self.job}: never run with this state ({self.where})"
        return summary.status(
            self.job, self.state, alive=self.alive, directory=self.directory, letters_open=self.letters_open
        )

    def as_json(self) -> dict[str, Any]:
        """Return the report as it would be now, with what only a checkpoint knows."""
        if self.state is None:
            return {"job": self.job, "outcome": None, "alive": False}
        standing = summary.standing(self.state, alive=self.alive)
        report = build(self.job, self.state, outcome=standing, letters_open=self.letters_open)
        return {
            **report.as_json(),
            "alive": self.alive,
            "interruptions": self.state.interruptions,
            "eta_s": summary.eta_s(report) if self.alive else None,
        }


async def look(job: Job, state_dir: Path) -> JobStatus:
    """Read how a job stands. Raises: JobError when its state is damaged; PermanentError, TransientError."""
    store = STATES[job.state.type]
    state = await store.read(job, state_dir)
    alive = state is not None and await store.alive(job, state_dir)
    letters = await store.letters_open(job, state_dir) if state is not None else 0
    return JobStatus(job.name, state_dir / job.name, store.where(job, state_dir), state, alive, letters)
