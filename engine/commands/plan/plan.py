"""The plan of one load: everything that was found out, as one value and as JSON.

Invariant: pure; the words that a person reads are made elsewhere from what stands here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from connectors.dynamodb.table_info import TableInfo
from engine.commands.plan.collisions import Collisions
from engine.commands.plan.estimate import Cost, Pace, Volume
from engine.commands.plan.heat import TABLE, HotKey
from engine.commands.plan.prices import Prices
from engine.commands.plan.tally import Tally
from engine.exits import Exit

HISTOGRAM_BOUNDS = (256, 512, 1_024, 2_048, 4_096, 16_384, 65_536, 409_600)
"""Units: bytes; most steps are where an item costs one unit more."""

Scope = Literal["sample", "all", "proved"]


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """The source as a whole. `rows_are`: `counted` exactly, `estimated` by the server, or `unknown`."""

    reads: str
    rows: int
    rows_are: Literal["counted", "estimated", "unknown"]
    size_bytes: int | None
    segments: int
    ordered_reason: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load will do. `scope` says what collisions are known of; `whole`: every row was looked at."""

    job: str
    source: SourceFacts
    table: TableInfo
    table_exists: bool
    mode: str
    tally: Tally
    whole: bool
    volume: Volume
    prices: Prices
    cost: Cost
    pace_now: Pace
    pace_warm: Pace
    pace_capped: Pace | None
    hot: Sequence[HotKey]
    collisions: Collisions
    scope: Scope
    warnings: Sequence[str]
    advice: Sequence[str]

    @property
    def scale(self) -> float:
        """Rows of the source for each row that was looked at."""
        return self.source.rows / self.tally.rows if self.tally.rows else 0.0

    @property
    def loses(self) -> bool:
        """Whether the load would lose or overwrite something, as far as was looked."""
        return bool(self.collisions.keys or self.tally.flawed)

    @property
    def exit_code(self) -> int:
        """What the process answers."""
        return Exit.DIFFERENT if self.loses else Exit.DONE

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        tally = self.tally
        return {
            "job": self.job,
            "loses": self.loses,
            "source": asdict(self.source),
            "looked_at": {"rows": tally.rows, "items": tally.writes, "whole": self.whole},
            "table": {
                "name": self.table.name,
                "exists": self.table_exists,
                "billing": self.table.billing,
                "mode": self.mode,
                "items_there": self.table.item_count,
                "indexes": [
                    {"name": index.name, "local": index.local, "projection": index.projection}
                    for index in self.table.indexes
                ],
            },
            "items": {
                "total": round(self.volume.items),
                "per_row": _ratio(tally.writes, tally.rows),
                "by_rule": [
                    {
                        "rule": name,
                        "per_row": _ratio(rule.items + rule.deletes, tally.rows),
                        "items": round((rule.items + rule.deletes) * self.scale),
                        "deletes": round(rule.deletes * self.scale),
                        "skipped": round(rule.skipped * self.scale),
                        "dead_letters": round(rule.flaws.total() * self.scale),
                    }
                    for name, rule in tally.rules.items()
                ],
            },
            "item_bytes": {
                "p50": tally.size_at(0.5),
                "p95": tally.size_at(0.95),
                "max": tally.largest,
                "mean": _ratio(tally.size_bytes, tally.items, 1),
                "total": round(self.volume.size_bytes),
                "histogram": [
                    {"up_to": bound, "share": _ratio(count, tally.items)}
                    for bound, count in tally.histogram(HISTOGRAM_BOUNDS)
                ],
            },
            "write_units": {
                "table": round(self.volume.units[TABLE]),
                "gsi": {name: round(units) for name, units in self.volume.units.items() if name != TABLE},
                "total": round(self.volume.total_units),
            },
            "index_entries": {
                name: round(index.entries * self.scale) for name, index in tally.indexes.items()
            },
            "cost_usd": {name: round(value, 4) for name, value in asdict(self.cost).items()},
            "prices": {"as_of": self.prices.as_of, "region": self.prices.region, "note": self.prices.note},
            "time": {
                "now": _pace(self.pace_now),
                "warm": _pace(self.pace_warm),
                "max_wcu": None if self.pace_capped is None else _pace(self.pace_capped),
            },
            "hot_partition_keys": [
                {**asdict(hot), "of": hot.of or "table", "share": round(hot.share, 6)} for hot in self.hot
            ],
            "collisions": {"scope": self.scope, **asdict(self.collisions)},
            "dead_letters": {
                "expected": round(tally.flawed * self.scale),
                "by_reason": self._reasons(),
            },
            "warnings": list(self.warnings),
            "advice": list(self.advice),
        }

    def _reasons(self) -> list[Mapping[str, Any]]:
        return [
            {
                "rule": name,
                "reason": reason,
                "found": count,
                "expected": round(count * self.scale),
                "examples": [
                    {"detail": detail, "source_key": dict(key)} for detail, key in rule.examples[reason]
                ],
            }
            for name, rule in self.tally.rules.items()
            for reason, count in rule.flaws.most_common()
        ]


def _ratio(part: float, whole: float, digits: int = 4) -> float:
    return round(part / whole, digits) if whole else 0.0


def _pace(pace: Pace) -> dict[str, Any]:
    return {
        "seconds": round(pace.seconds, 1),
        "wcu_per_s": pace.wcu_per_s,
        "bound_by": pace.bound_by or "table",
        "partition_key": pace.key,
    }
