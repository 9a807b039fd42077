"""What happened, as values: the runner says them, observers turn them into metrics, progress and files.

Invariant: an event is complete in itself and holds no secret; an observer never talks back.
"""

from dataclasses import field
from typing import Literal, Protocol, TypeAlias

from engine.batch import Counts
from engine.contracts.feed import LogFigures
from engine.frozen import dataclass
from engine.meter import MeterTotals
from engine.report import Report


@dataclass(frozen=True, slots=True)
class JobsPlanned:
    """So many jobs are to be run, one after the other or several at a time."""

    total: int


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins or goes on.

    `counts` are those that are durable already; `source` and `target` are names without secrets.
    `letters_open`: all dead letters that are kept, those in `counts` too. `last_success`: when a run of the
    job went to its end last, ISO 8601 in UTC. `unit_usd`: what a write unit costs, in US dollars.
    """

    job: str
    run_id: str
    kind: str
    resumed: bool
    rows_expected: int | None
    source: str
    target: str
    workers: int
    started_at: str
    counts: Counts
    letters_open: int = 0
    last_success: str | None = None
    unit_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class SegmentsPlanned:
    """The source has been cut into segments. `job`: as in Tick."""

    total: int
    complete: int
    job: str = ""


@dataclass(frozen=True, slots=True)
class SegmentTally:
    """How many segments are in which state; pending + running + complete = total."""

    total: int = 0
    pending: int = 0
    running: int = 0
    complete: int = 0


@dataclass(frozen=True, slots=True)
class Tick:
    """The figures of this moment, about once a second.

    Units: `at_s` on a monotonic clock; `elapsed_s` since this process took up the run. `meter` counts since
    then, over all workers; `counts` are durable and span the run's interruptions. `watermark_lag_s` None
    where the job has no watermark. `log`: how the source's log stands, by which the job goes. `job` names
    whose it is; empty: of the run that began last.
    """

    at_s: float
    meter: MeterTotals
    counts: Counts
    segments: SegmentTally
    checkpoint_age_s: float
    elapsed_s: float
    watermark_lag_s: float | None = None
    log: LogFigures = field(default_factory=LogFigures)
    job: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence that the user should read. `job` names whose it is: it may come before its run has begun."""

    text: str
    level: Literal["info", "warning", "error"] = "info"
    job: str = ""


@dataclass(frozen=True, slots=True)
class BrokenOff:
    """The process ends now, in the middle of the run: give back what you hold, and say why."""

    text: str
    job: str = ""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is over, or this process's part of it."""

    report: Report


Event: TypeAlias = JobsPlanned | RunStarted | SegmentsPlanned | Tick | Notice | BrokenOff | RunEnded


class Observer(Protocol):
    """Who is told what happened. Quick, never blocks, never raises into the run."""

    def on(self, event: Event) -> None:
        """Take note of one event.

        Ordering: JobsPlanned once; then of each job RunStarted, SegmentsPlanned, then Ticks and Notices, then
        RunEnded or BrokenOff; those of jobs that run at one time lie between one another.
        """
