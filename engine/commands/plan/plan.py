"""The plan of one load: everything that was found out, as one value and as JSON.

Invariant: pure; the words that a person reads are made elsewhere from what stands here.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from engine.commands.plan.collisions import Collisions
from engine.commands.plan.key_ways import KeyWay
from engine.commands.plan.tally import Tally
from engine.contracts.planning import TargetPlan
from engine.exits import Exit
from engine.frozen import dataclass

RowsAre = Literal["counted", "estimated", "unknown"]
Coverage = Literal["sample", "all", "proved"]


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """The source as a whole. `rows_are`: `counted` exactly, `estimated` by the server, or `unknown`."""

    reads: str
    rows: int
    rows_are: RowsAre
    size_bytes: int | None
    segments: int
    ordered_reason: str | None
    """Why the source is read by one cursor, and what to do; None where several read side by side."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load will do.

    `keys`: how equal keys are kept in their order. `into` names the target, which `exists` or is to be
    created. `coverage` says how much collisions are known of; `whole`: every row was looked at, else each
    stands for `scale` rows.
    """

    job: str
    source: SourceFacts
    into: str
    exists: bool
    target: TargetPlan
    tally: Tally
    scale: float
    whole: bool
    collisions: Collisions
    coverage: Coverage
    keys: Sequence[KeyWay]
    warnings: Sequence[str]
    advice: Sequence[str] = ()
    catch_up: str | None = None
    """By what the job catches up, and what the other way lacks."""
    refused: bool = False
    """Whether a run is refused as it is; a warning says why."""

    def scaled(self, count: int) -> int:
        """Return what a count among the rows that were looked at comes to in the whole source."""
        return round(count * self.scale)

    @property
    def unproved(self) -> KeyWay | None:
        """The first whose keys aren't proved to differ."""
        return next((way for way in self.keys if way.way != "proved"), None)

    @property
    def loses(self) -> bool:
        """Whether the load would lose or overwrite something, as far as was looked."""
        return bool(self.collisions.keys or self.tally.flawed)

    @property
    def exit_code(self) -> int:
        """What the process answers: of a job that a run refuses what the run would."""
        if self.refused:
            return Exit.UNFIT
        return Exit.DIFFERENT if self.loses else Exit.DONE

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        tally, target = self.tally, self.target
        return {
            "job": self.job,
            "loses": self.loses,
            "refused": self.refused,
            "source": asdict(self.source),
            "looked_at": {"rows": tally.rows, "items": tally.writes, "whole": self.whole},
            **target.described,
            "items": {
                "total": self.scaled(tally.writes),
                "per_row": _ratio(tally.writes, tally.rows),
                "by_rule": self._rules(),
            },
            **({"item_bytes": self._sizes()} if target.size_bounds else {}),
            **target.members,
            "keys": [asdict(way) for way in self.keys],
            "collisions": {"scope": self.coverage, **asdict(self.collisions)},
            "dead_letters": {"expected": self.scaled(tally.flawed), "by_reason": self._reasons()},
            **({} if self.catch_up is None else {"catch_up": self.catch_up}),
            "warnings": list(self.warnings),
            "advice": list(self.advice),
        }

    def _rules(self) -> list[dict[str, Any]]:
        return [
            {
                "rule": name,
                "per_row": _ratio(rule.writes, self.tally.rows),
                "items": self.scaled(rule.writes),
                "deletes": self.scaled(rule.deletes),
                "skipped": self.scaled(rule.skipped),
                "dead_letters": self.scaled(rule.flaws.total()),
            }
            for name, rule in self.tally.rules.items()
        ]

    def _sizes(self) -> dict[str, Any]:
        sizes, items = self.tally.sizes, self.tally.items
        return {
            "p50": sizes.at(0.5),
            "p95": sizes.at(0.95),
            "max": sizes.at(1),
            "mean": _ratio(sizes.total, items, 1),
            "total": self.scaled(sizes.total),
            "histogram": [
                {"up_to": bound, "share": _ratio(count, items)}
                for bound, count in sizes.histogram(self.target.size_bounds)
            ],
        }

    def _reasons(self) -> list[dict[str, Any]]:
        return [
            {
                "rule": name,
                "reason": reason,
                "found": count,
                "expected": self.scaled(count),
                "examples": [
                    {"detail": detail, "source_key": dict(key)} for detail, key in rule.examples[reason]
                ],
            }
            for name, rule in self.tally.rules.items()
            for reason, count in rule.flaws.most_common()
        ]


def _ratio(part: float, whole: float, digits: int = 4) -> float:
    return round(part / whole, digits) if whole else 0.0
