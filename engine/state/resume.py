"""What `run` is to do, decided from the checkpoint; pure.

Invariant: an unfinished run is gone on with before anything else, a finished one is never repeated unless the
user says so, and a catch-up run reads from where nothing that it goes by can have been missed.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from engine.contracts.feed import LogPlace
from engine.contracts.state import RunState
from engine.errors import JobError
from engine.frozen import dataclass

LOG = "source.catch_up"
"""How the name begins of what catch-up runs from a log go by."""
FINISHED = ("complete", "complete_with_dead_letters")


@dataclass(frozen=True, slots=True)
class Start:
    """Start a new run. `since` is the watermark that it reads from; None reads everything.

    `base`: that of the full run that it follows on.
    """

    kind: Literal["full", "catch_up"]
    since: str | None
    base: str | None = None


@dataclass(frozen=True, slots=True)
class GoOn:
    """Go on with an unfinished run."""

    run: RunState


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """The job is done, and without a watermark there is nothing to catch up with."""

    run: RunState


Decision: TypeAlias = Start | GoOn | NothingToDo


def decide(latest: RunState | None, *, fresh: bool, watched: Sequence[str]) -> Decision:
    """Decide what this `run` does. `watched`: what the job's catch-up runs go by.

    What the job has gained since the last run is read from the full run on: no run before has gone by it.
    Raises: JobError when an unfinished catch-up run went by something else.
    """
    if latest is None or fresh:
        return Start("full", None)
    before = _watched(latest, watched)
    if watched and (by_log(before) or by_log(watched)) and set(before) != set(watched):
        raise JobError(
            f"catch-up runs of this job are to go by {_named(watched)}, and the run before goes by"
            f" {_named(before)}: what changed in between nobody has kept; put that back, or load everything"
            " again with --fresh"
        )
    if latest.outcome not in FINISHED:
        if latest.kind == "catch_up" and set(before) != set(watched):
            raise JobError(
                f"the catch-up run that isn't finished goes by {_named(before)}, the job now by"
                f" {_named(watched)}; put that back to finish it, then change it, or start over with --fresh"
            )
        return GoOn(latest)
    if not watched:
        return NothingToDo(latest)
    if by_log(watched):
        return Start("catch_up", latest.watermark)
    if latest.kind == "full":
        base = latest.base or latest.watermark
        return Start("catch_up", base, base)
    return Start("catch_up", latest.watermark if set(watched) <= set(before) else latest.base, latest.base)


def reached(run: RunState) -> str | None:
    """Return the position up to which all of the log is in the target, as far as a run has come."""
    if run.kind == "full":
        return run.watermark
    end = run.segments[0].end
    return run.since if end is None else LogPlace.of(end).position


def log_needed(latest: RunState | None, watched: Sequence[str]) -> str | None:
    """Return from where on a job needs its source's log; None: its next run is a full one, which needs none.

    `watched`: what its catch-up runs go by, its log.
    """
    if latest is None or set(_watched(latest, watched)) != set(watched):
        return None
    return latest.watermark if latest.closed else reached(latest)


def by_log(watched: Sequence[str]) -> bool:
    """Say whether catch-up runs go by the source's log."""
    return any(name.startswith(LOG) for name in watched)


def _watched(run: RunState, now: Sequence[str]) -> Sequence[str]:
    """Return what a run went by. Earlier versions kept no list: their fingerprint holds the one column."""
    return run.watched or tuple(name for name in now if name.startswith("source.watermark "))


def _named(watched: Sequence[str]) -> str:
    return ", ".join(watched) or "nothing"
