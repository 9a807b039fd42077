"""From where on jobs need the log of their source, by their checkpoints.

Invariant: reads only; of a job that is about to begin nothing is told until its checkpoint says it.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from engine.commands.ends import read_state
from engine.contracts.feed import LogUser
from engine.errors import BackfillError
from engine.job.model import Job
from engine.registry import STATES
from engine.run.one_log import NeedUnsaid
from engine.state.resume import log_needed


def by_checkpoints(state_dir: Path) -> Callable[[Job], Awaitable[str | None]]:
    """Return what asks the checkpoints in a place; see one_log.Asking."""

    async def ask(job: Job) -> str | None:
        # In this order: a full run that begins in between has its place in the log behind all that is read.
        alive = await STATES[job.state.type].alive(job, state_dir)
        need = log_needed(await read_state(job, state_dir), job.source.watched)
        if need is None and alive:
            raise NeedUnsaid(f"{job.name} is about to begin")
        return need

    return ask


async def users(job: Job, state_dir: Path) -> tuple[LogUser, ...]:
    """Return how far a job and the others of its file have read the log that they share."""
    ask = by_checkpoints(state_dir)
    found = []
    for each in (job, *job.log_mates):
        try:
            found.append(LogUser(each.name, await ask(each)))
        except BackfillError:
            found.append(LogUser(each.name, None, known=False))
    return tuple(found)
