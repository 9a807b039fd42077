"""How far all jobs of a file are, in one line.

Invariant: what isn't known isn't guessed: the time left goes by jobs, since nothing is known of the rows of
one that hasn't begun.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from engine.amounts import counted, duration, number
from engine.events import Event, JobsPlanned, RunEnded, RunStarted, Tick
from engine.frozen import dataclass
from engine.report import Report

EVERY_S = 10.0
"""Seconds between two lines."""


@dataclass(slots=True)
class _Going:
    """A run that goes on, and how far it is."""

    rows_expected: int | None
    tick: Tick | None = None

    @property
    def part(self) -> float:
        """Return how much of it is done, as far as that can be told; 1 is all."""
        if self.tick is None or not self.rows_expected:
            return 0.0
        return min(1.0, self.tick.counts.rows_read / self.rows_expected)


@dataclass(slots=True)
class Overall:
    """Adds up what the jobs of a file tell. Of a file with one job there is nothing to say."""

    total: int = 1
    _going: dict[str, _Going] = field(default_factory=dict)
    _reports: dict[str, Report] = field(default_factory=dict)
    _begun: set[str] = field(default_factory=set)
    _began_at_s: float | None = None
    _said_at_s: float | None = None

    def take(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case JobsPlanned(total):
                self.total = total
            case RunStarted(job):
                self._begun.add(job)
                self._going[job] = _Going(event.rows_expected)
                self._reports.pop(job, None)
            case Tick(job=job) if job in self._going:
                self._going[job].tick = event
                self._began_at_s = event.at_s if self._began_at_s is None else self._began_at_s
            case RunEnded(report):
                self._going.pop(report.job, None)
                self._reports[report.job] = report
            case _:
                pass

    @property
    def begun(self) -> int:
        """How many jobs have begun; those that were complete before don't begin."""
        return len(self._begun)

    def due(self, at_s: float) -> bool:
        """Say whether it is time for a line, and take it as said; jobs that are followed have no end."""
        if self.total == 1 or any(tick.log.lag_s is not None for tick in self._ticks):
            return False
        if self._said_at_s is None:
            self._said_at_s = at_s
        if at_s - self._said_at_s < EVERY_S:
            return False
        self._said_at_s = at_s
        return True

    def line(self, items_per_s: float, at_s: float) -> str:
        """Say how far all jobs are; `items_per_s` is what those that go on write together."""
        eta_s = self._eta_s(at_s)
        jobs = f"{number(len(self._reports))} of {counted(self.total, 'job')} ended"
        return (
            f"{jobs}, {number(len(self._going))} going on: {number(self._rows)} rows, {number(items_per_s)}"
            f" items/s, dead letters {number(self._letters)}, ETA by jobs "
            + ("?" if eta_s is None else f"~{duration(eta_s)}")
        )

    def figures(self, items_per_s: float, at_s: float) -> Mapping[str, Any]:
        """Return what the line says, for a program."""
        eta_s = self._eta_s(at_s)
        return {
            "jobs_total": self.total,
            "jobs_ended": len(self._reports),
            "jobs_going_on": len(self._going),
            "rows_read": self._rows,
            "items_per_s": round(items_per_s, 1),
            "dead_letters": self._letters,
            "eta_s": None if eta_s is None else round(eta_s, 1),
        }

    @property
    def _ticks(self) -> list[Tick]:
        return [going.tick for going in self._going.values() if going.tick is not None]

    @property
    def _rows(self) -> int:
        ended = sum(report.rows_read for report in self._reports.values())
        return ended + sum(tick.counts.rows_read for tick in self._ticks)

    @property
    def _letters(self) -> int:
        ended = sum(report.items_dead_lettered for report in self._reports.values())
        return ended + sum(tick.counts.items_dead_lettered for tick in self._ticks)

    def _eta_s(self, at_s: float) -> float | None:
        """Estimate by the jobs that have begun here: those that were complete before took no time."""
        parts = sum(going.part for going in self._going.values())
        worked = sum(name in self._begun for name in self._reports) + parts
        if self._began_at_s is None or not worked:
            return None
        return (at_s - self._began_at_s) / worked * max(0.0, self.total - len(self._reports) - parts)
