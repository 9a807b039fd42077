"""How a job stands, read from its checkpoint without disturbing whoever runs it.

Invariant: reads only; an absent state is an answer, not an error.
"""

from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.commands.log_needs import users
from engine.contracts.feed import LogFigures, LogPlace
from engine.contracts.state import RunState
from engine.errors import BackfillError
from engine.exits import Exit
from engine.frozen import dataclass
from engine.job.model import Job
from engine.registry import SOURCES, STATES
from engine.report import build
from engine.show import summary
from engine.state.resume import by_log


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
    log_figures: LogFigures = field(default_factory=LogFigures)

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
                log=self.log_figures,
            )
        return text if self.log is None else f"{text}\n\n  {self.log}"

    def as_json(self) -> dict[str, Any]:
        """Return the report as it would be now, with what only a checkpoint knows."""
        if self.state is None:
            return {"job": self.job, "outcome": None, "alive": False}
        standing = summary.standing(self.state, alive=self.alive)
        report = build(
            self.job, self.state, outcome=standing, letters_open=self.letters_open, log=self.log_figures
        )
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
    told, held_back = await _log(job, state_dir)
    log = LogFigures(None if state is None else _lag_s(state), held_back)
    return JobStatus(
        job.name, state_dir / job.name, store.where(job, state_dir), state, alive, letters, told, log
    )


def _lag_s(state: RunState) -> float | None:
    """Return how long ago all that was committed to a log by then was in the target, by the checkpoint."""
    end = state.segments[0].end if state.kind == "catch_up" and state.segments else None
    at = None if end is None or not by_log(state.watched) else LogPlace.of(end).at
    return None if at is None else max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())


async def _log(job: Job, state_dir: Path) -> tuple[str | None, int | None]:
    """Ask the source what it keeps of its log for a job; that it can't be asked is an answer, too."""
    log = SOURCES[job.source.type].log
    if job.source.log is None or log is None:
        return None, None
    try:
        return await log.standing(job, await users(job, state_dir))
    except BackfillError as error:
        return f"what the source keeps of its log for this job can't be told: {error}", None
