"""What `run` is to do, decided from the checkpoint; pure.

Invariant: an unfinished run is gone on with before anything else, and a finished one is never repeated
unless the user says so.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from engine.contracts import RunState

FINISHED = ("complete", "complete_with_dead_letters")


@dataclass(frozen=True, slots=True)
class Start:
    """Start a new run. `since` is the watermark that it reads from; None reads everything."""

    kind: Literal["full", "catch_up"]
    since: str | None


@dataclass(frozen=True, slots=True)
class GoOn:
    """Go on with an unfinished run."""

    run: RunState


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """The job is done, and without a watermark there is nothing to catch up with."""

    run: RunState


Decision: TypeAlias = Start | GoOn | NothingToDo


def decide(latest: RunState | None, *, fresh: bool, has_watermark: bool) -> Decision:
    """Decide what this `run` does."""
    if latest is None or fresh:
        return Start("full", None)
    if latest.outcome not in FINISHED:
        return GoOn(latest)
    if not has_watermark:
        return NothingToDo(latest)
    return Start("catch_up", latest.watermark)
