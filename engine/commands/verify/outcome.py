"""What verify has found and tells at its end: counts, differences, the report.

Invariant: checked = matched + mismatched + missing + extra; 100 % is said only where nothing differs. The
exit code follows from the figures alone.
"""

from collections.abc import Mapping
from dataclasses import field
from math import floor
from typing import Any

from engine.commands.verify.comparison import RIGHT, Difference, Verdict
from engine.contracts.readback import Item, ItemCodec
from engine.exits import Exit
from engine.frozen import dataclass

DIFFERENCES_SHOWN_MAX = 100
_PERCENT_DIGITS = 10_000


@dataclass(frozen=True, slots=True)
class DifferingItem:
    """One item that differs. `attributes`: what each side holds, by name; empty but for a mismatch."""

    key: Item
    kind: Difference
    attributes: Mapping[str, Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return it as the report shows it."""
        return {"key": self.key, "kind": self.kind, "attributes": dict(self.attributes)}


def differing_item(
    codec: ItemCodec, key: Item, kind: Difference, expected: Item | None, actual: Item | None
) -> DifferingItem:
    """Return an item that differs with both values of every attribute that does."""
    if expected is None or actual is None:
        return DifferingItem(key, kind, {})
    names = codec.differing(expected, actual)
    values = {name: {"source": expected.get(name), "target": actual.get(name)} for name in names}
    return DifferingItem(key, kind, values)


@dataclass(slots=True)
class Outcome:
    """What verify has found so far."""

    matched: int = 0
    mismatched: int = 0
    missing: int = 0
    extra: int = 0
    newer_in_target: int = 0
    kept: int = 0
    repaired: int = 0
    deleted: int = 0
    former_keys: int = 0
    """Extra items under keys that only rules of earlier runs make."""
    looked_again: int = 0
    dead_lettered: int = 0
    """Items that are rightly absent: they can't be written, and were kept as dead letters."""
    expired: int = 0
    """Items that are rightly absent: the target lets go of what has expired by itself."""
    forgotten: int = 0
    """Items that may be rightly there: no row gives them, and rows leave the source by themselves."""
    differences: list[DifferingItem] = field(default_factory=list)

    def count(self, verdict: Verdict, number: int = 1) -> None:
        """Count items; what the job's mode explains counts as matched, and apart."""
        setattr(self, verdict, getattr(self, verdict) + number)
        if verdict in RIGHT[1:]:
            self.matched += number

    def differs(self, found: DifferingItem) -> None:
        """Count a difference, and keep it in full if it is one of the first."""
        self.count(found.kind)
        if len(self.differences) < DIFFERENCES_SHOWN_MAX:
            self.differences.append(found)

    def add(self, tallies: Mapping[str, int]) -> None:
        """Add what the first passes have counted."""
        for name in RIGHT:
            self.count(name, tallies.get(name, 0))
        self.dead_lettered += tallies.get("dead_lettered", 0)

    @property
    def different(self) -> int:
        """Items that differ."""
        return self.mismatched + self.missing + self.extra

    @property
    def left(self) -> int:
        """Items that still differ, after what was repaired."""
        return self.different - self.repaired - self.deleted

    @property
    def checked(self) -> int:
        """Items that were compared."""
        return self.matched + self.different

    @property
    def consistency_percent(self) -> float:
        """The share that matched, rounded down. Units: percent."""
        if not self.checked:
            return 100.0
        return floor(100 * _PERCENT_DIGITS * self.matched / self.checked) / _PERCENT_DIGITS


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """A verification of jobs that write to one target. Units: seconds, megabytes, read units."""

    jobs: tuple[str, ...]
    table: str
    full: bool
    outcome: Outcome
    codec: ItemCodec
    rows_read: int
    not_ours: int
    extra_checked: bool
    repair: bool
    notices: tuple[str, ...]
    elapsed_s: float
    cpu_s: float
    peak_rss_mb: float
    consumed_rcu: float

    @property
    def exit_code(self) -> int:
        """Return 0 where nothing differs any more."""
        return Exit.DIFFERENT if self.outcome.left else Exit.DONE

    def as_json(self) -> dict[str, Any]:
        """Return the report as `--json` prints it."""
        found = self.outcome
        return {
            "jobs": list(self.jobs),
            "table": self.table,
            "full": self.full,
            **_named(found, "checked matched mismatched missing extra consistency_percent"),
            "differences": [each.as_json() for each in found.differences],
            "extra_checked": self.extra_checked,
            **_named(found, "newer_in_target kept dead_lettered expired forgotten former_keys"),
            "not_ours": self.not_ours,
            **_named(found, "looked_again repaired deleted left"),
            "rows_read": self.rows_read,
            "elapsed_s": round(self.elapsed_s, 3),
            "cpu_s": round(self.cpu_s, 3),
            "cpu_us_per_item": round(1e6 * self.cpu_s / found.checked, 2) if found.checked else None,
            "peak_rss_mb": round(self.peak_rss_mb, 1),
            "consumed_rcu": self.consumed_rcu,
            "notices": list(self.notices),
        }


def _named(found: Outcome, names: str) -> dict[str, Any]:
    return {name: getattr(found, name) for name in names.split()}
