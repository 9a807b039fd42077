"""What was found, as values: how an item compares, the differences, the report.

Invariant: checked = matched + mismatched + missing + extra; 100 % is said only where nothing differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor
from typing import Any, Literal, TypeAlias

from engine.commands.verify.values import Item, differing
from engine.wire.versions import is_lower

Kind: TypeAlias = Literal["missing", "mismatched", "extra"]
Verdict: TypeAlias = Literal["matched", "newer_in_target", "kept", "missing", "mismatched", "extra"]

RIGHT: tuple[Verdict, ...] = ("matched", "newer_in_target", "kept")
"""What is no difference, plain or explained by the job's mode."""

DIFFERENCES_SHOWN_MAX = 100
_PERCENT_DIGITS = 10_000


def judged(
    expected: Item | None, actual: Item | None, *, keeps: bool, version: str | None, at: Any
) -> Verdict:
    """Say how the target's item compares with what the source makes of it; None: there is none.

    `keeps`: the job leaves what is there (insert). `version` names what `newer` compares and `at` is the
    source's; the target may rightly hold a higher one.
    """
    if actual is None:
        return "matched" if expected is None else "missing"
    if keeps and expected is None:
        return "kept"
    if expected is not None and not differing(expected, actual):
        return "matched"
    if version is not None and version in actual and is_lower(at, actual[version]):
        return "newer_in_target"
    if keeps:
        return "kept"
    return "extra" if expected is None else "mismatched"


@dataclass(frozen=True, slots=True)
class Difference:
    """One item that differs. `attributes`: what each side holds, by name; empty but for a mismatch."""

    key: Item
    kind: Kind
    attributes: Mapping[str, Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return it as the report shows it."""
        return {"key": self.key, "kind": self.kind, "attributes": dict(self.attributes)}


def difference(key: Item, kind: Kind, expected: Item | None, actual: Item | None) -> Difference:
    """Return a difference with both values of every attribute that differs."""
    if expected is None or actual is None:
        return Difference(key, kind, {})
    names = differing(expected, actual)
    values = {name: {"source": expected.get(name), "target": actual.get(name)} for name in names}
    return Difference(key, kind, values)


@dataclass(slots=True)
class Findings:
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
    differences: list[Difference] = field(default_factory=list)

    def count(self, verdict: Verdict) -> None:
        """Count an item; what the job's mode explains counts as matched, and apart."""
        match verdict:
            case "newer_in_target" | "kept":
                setattr(self, verdict, getattr(self, verdict) + 1)
                self.matched += 1
            case _:
                setattr(self, verdict, getattr(self, verdict) + 1)

    def differs(self, found: Difference) -> None:
        """Count a difference, and keep it in full if it is one of the first."""
        self.count(found.kind)
        if len(self.differences) < DIFFERENCES_SHOWN_MAX:
            self.differences.append(found)

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
