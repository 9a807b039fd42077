"""What items come to for a target that says no more of them than its key.

Invariant: an item counts if the rules could make it and nothing of its key is null.
"""

from collections.abc import Sequence

import polars as pl

from engine.contracts.planning import Flaw, Measured, TargetPlan
from engine.contracts.target import TargetInfo
from engine.contracts.transform import DELETE, FLAW, ROW, RuleItems
from engine.errors import JobError


class PlainMeasurer:
    """contracts.Measurer for any target."""

    def __init__(self, info: TargetInfo, *, exists: bool) -> None:
        self._info = info
        self._exists = exists

    def measure(self, items: RuleItems, *, in_full: bool = True) -> Measured:  # noqa: ARG002
        """Take the key's texts, and what the rules already know to be wrong."""
        position = {attribute.name: str(n) for n, attribute in enumerate(items.attributes)}
        for name in self._info.key:
            if name not in position:
                raise JobError(f"items[{items.rule}].key: {self._info.name} has {name} in its key; add it")
        key = {name: _texts(items.frame[position[name]]) for name in self._info.key}
        no_key = [pl.when(texts.is_null()).then(pl.lit(f"key_null: {name}")) for name, texts in key.items()]
        flaws = items.frame.select(ROW, flaw=pl.coalesce(FLAW, *no_key))
        good = flaws["flaw"].is_null()
        frame = items.frame.filter(good)
        return Measured(
            rule=items.name,
            rows=frame[ROW].to_numpy(),
            deletes=frame[DELETE].to_numpy(),
            key=tuple(texts.filter(good) for texts in key.values()),
            flaws=tuple(Flaw(row, *flaw.split(": ", 1)) for row, flaw in flaws.filter(~good).iter_rows()),
        )

    def add(self, rows: int, measured: Sequence[Measured]) -> None:
        """Add nothing up."""

    def anew(self) -> None:
        """Forget nothing."""

    def sums(self) -> str:
        """Return nothing."""
        return ""

    def take_in(self, sums: str) -> None:
        """Add nothing."""

    def plan(self, scale: float) -> TargetPlan:  # noqa: ARG002
        """Say what the target is."""
        state = "exists" if self._exists else "to be created"
        described = {"name": self._info.name, "exists": self._exists, "items_there": self._info.item_count}
        return TargetPlan(f"{self._info.name} ({state})", {"target": described}, {})


def _texts(values: pl.Series) -> pl.Series:
    """Return an attribute's values as text; a document's is its wire fragment."""
    return values.struct.field("wire") if values.dtype == pl.Struct else values.cast(pl.String)
