"""How a job stands, read from its checkpoint without disturbing whoever runs it.

Invariant: reads only; an absent state is an answer, not an error.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contracts.state import RunState
from engine.errors import BackfillError
from engine.exits import Exit
from engine.job.model import Job
from engine.registry import SOURCES, STATES
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
    log: str | None = None
    """What the source says of the log that it keeps for the job, in a sentence; None: none is kept."""
    log_retained_bytes: int | None = None

    @property
    def exit_code(self) -> int:
        """Return 3 where a run went to its end and dead letters are open."""
        if self.state is None or self.alive or not self.state.closed:
            return Exit.DONE
        return Exit.DEAD_LETTERS if self.letters_open else Exit.DONE

    def text(self) -> str:
        """Say it to a person."""
        if self.state is None:
            text = f"{self.job}: never run with this state ({self.where})"
        else:
            text = summary.status(
                self.job,
                self.state,
                alive=self.alive,
                directory=self.directory,
                letters_open=self.letters_open,
            )
        return text if self.log is None else f"{text}\n\n  {self.log}"

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
            **({} if self.log is None else {"log_retained_bytes": self.log_retained_bytes}),
        }


async def look(job: Job, state_dir: Path) -> JobStatus:
    """Read how a job stands. Raises: JobError when its state is damaged; PermanentError, TransientError."""
    store = STATES[job.state.type]
    state = await store.read(job, state_dir)
    alive = state is not None and await store.alive(job, state_dir)
    letters = await store.letters_open(job, state_dir) if state is not None else 0
    told, held_back = await _log(job)
    return JobStatus(
        job.name, state_dir / job.name, store.where(job, state_dir), state, alive, letters, told, held_back
    )


async def _log(job: Job) -> tuple[str | None, int | None]:
    """Ask the source what it keeps of its log for a job; that it can't be asked is an answer, too."""
    log = SOURCES[job.source.type].log
    if job.source.log is None or log is None:
        return None, None
    try:
        return await log.standing(job)
    except BackfillError as error:
        return f"what the source keeps of its log for this job can't be told: {error}", None
