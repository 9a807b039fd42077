"""What one job's metrics show, step by step with its events. Pure but for the time that it is given.

Invariant: what says how it is now goes on ageing when the run falls silent: a run that hangs, or is gone,
must not look fresh to whoever looks at the last figures that there were.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from engine.batch import Counts
from engine.events import Event, RunEnded, RunStarted, SegmentsPlanned, SegmentTally, Tick
from engine.frozen import dataclass
from engine.meter import MeterTotals
from engine.report import Report

TARGET_SILENT_S = 10.0
"""Requests without a single answer for so long, and the target counts as away."""

HUNG_AFTER_S = 300.0
"""A run that has said nothing for so long is held for hung; it says something twice a second."""

NOTHING_YET = Tick(0.0, MeterTotals(), Counts(), SegmentTally(), 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Now:
    """One moment by both clocks. Units: seconds; `at_s` monotonic, `time_s` since 1970."""

    at_s: float
    time_s: float


@dataclass(frozen=True, slots=True)
class JobFigures:
    """What one job's metrics show. `ended`: the run is over and its ages no longer grow.

    `rows_before`: acked before this process took the run up; `letters_before` the dead letters that were open
    then. `silent_since_s`: since when requests are out and nothing was answered; None: the target answers, or
    isn't asked.
    Units: `unit_usd` US dollars for a write unit; `said_s` and `success_s` seconds since 1970: when the run
    said something last, and when one went to its end last.
    """

    tick: Tick
    rows_expected: int | None = None
    ended: bool = False
    rows_before: int = 0
    letters_before: int = 0
    silent_since_s: float | None = None
    said_s: float = 0.0
    success_s: float | None = None
    unit_usd: float = 0.0

    @property
    def cost_usd(self) -> float:
        """What the write units that were consumed have cost, those of indexes too. Units: US dollars."""
        return self.unit_usd * sum(self.tick.meter.consumed.values())

    @property
    def letters_open(self) -> int:
        """The dead letters that are open, those of earlier runs too."""
        return self.letters_before + self.tick.counts.items_dead_lettered

    def target_up(self, at_s: float) -> bool:
        """Whether the target answers, as far as it is asked."""
        return self.silent_since_s is None or at_s - self.silent_since_s < TARGET_SILENT_S

    def hung(self, at_s: float) -> bool:
        """Whether a run that isn't over has fallen silent."""
        return not self.ended and at_s - self.tick.at_s > HUNG_AFTER_S


def after(figures: JobFigures | None, event: Event, now: Now) -> JobFigures | None:
    """Return what a job's metrics show after an event. Pure."""
    match event:
        case RunStarted(rows_expected=expected, counts=counts):
            return JobFigures(
                replace(NOTHING_YET, at_s=now.at_s, counts=counts),
                expected,
                rows_before=counts.rows_read,
                letters_before=event.letters_open - counts.items_dead_lettered,
                said_s=now.time_s,
                success_s=_since_1970(event.last_success),
                unit_usd=event.unit_usd,
            )
        case SegmentsPlanned(total, complete) if figures:
            tally = SegmentTally(total, total - complete, 0, complete)
            return replace(figures, tick=replace(figures.tick, segments=tally))
        case Tick() if figures:
            silent = _silent_since_s(figures, event)
            return replace(figures, tick=event, silent_since_s=silent, said_s=now.time_s)
        case RunEnded(report):
            return _ended(figures or JobFigures(replace(NOTHING_YET, at_s=now.at_s)), report, now)
        case _:
            return figures


def _ended(figures: JobFigures, report: Report, now: Now) -> JobFigures:
    """Take in the end of a run, or that there was nothing to do."""
    return replace(
        figures,
        ended=True,
        letters_before=report.dead_letters_open - figures.tick.counts.items_dead_lettered,
        said_s=now.time_s,
        success_s=now.time_s if report.closed else figures.success_s,
    )


def _silent_since_s(figures: JobFigures, tick: Tick) -> float | None:
    before, meter = figures.tick.meter, tick.meter
    if _answered(meter.requests) > _answered(before.requests):
        return None
    if figures.silent_since_s is not None:
        return figures.silent_since_s
    asked = meter.requests_in_flight or meter.requests.get("error", 0) > before.requests.get("error", 0)
    return tick.at_s if asked else None


def _answered(requests: Mapping[str, int]) -> int:
    return sum(requests.values()) - requests.get("error", 0)


def _since_1970(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
