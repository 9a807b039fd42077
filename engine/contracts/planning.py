"""What a target adds to `backfill plan`: what items come to, and what a load of them means for it.

    transform ──▶ Measurer.measure ──▶ Measured ──▶ Measurer.add … plan ──▶ TargetPlan

Rows, items, sizes, repeated keys and dead letters are counted for every target alike; what else a target
knows (capacity, money, time) is its own part, which the plan shows as it is given.

Invariant: nothing here is written anywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.contracts.transform import RuleItems
from engine.frozen import dataclass


class Flaw(NamedTuple):
    """An item that can't be written, and the batch's row that it is of."""

    row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What the items of one rule in one batch come to. Equal keys are not coalesced, so that they show.

    Shape: one element per item that would be written: `rows` of the batch, `deletes`, in `key` the texts of
    each attribute of the key, `sizes` in bytes where the target tells them. `skipped` counts items that the
    target's mode leaves out. `own` is what else the target's tally adds up.
    """

    rule: str
    rows: npt.NDArray[np.uint32]
    deletes: npt.NDArray[np.bool_]
    key: tuple[pl.Series, ...]
    sizes: npt.NDArray[np.int64] | None = None
    skipped: int = 0
    flaws: tuple[Flaw, ...] = ()
    own: object = None


@dataclass(frozen=True, slots=True)
class PlanTable:
    """A table for people. Shape: `right` are the columns of figures, which stand to the right."""

    columns: tuple[str, ...]
    right: tuple[int, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """A target's own part of a plan.

    `summary` says in one line what it is. `described` and `members` go into the plan's JSON: what it is, and
    what the load means for it. For people: `lines` of the overview, each with its name, `writes`, a table of
    what is written where, and more tables as `details`. `ways_out` says by reason what mends a dead letter.
    `sums` are figures that add up over several jobs, by their unit.
    Units: `load_s` how long the load takes, None when nothing can be said; `size_bounds` between which items
    are counted together, in bytes, none where their sizes aren't known.
    """

    summary: str
    described: Mapping[str, Any]
    members: Mapping[str, Any]
    lines: Sequence[tuple[str, str]] = ()
    writes: PlanTable | None = None
    details: Sequence[PlanTable] = ()
    warnings: Sequence[str] = ()
    advice: Sequence[str] = ()
    ways_out: Mapping[str, str] = field(default_factory=dict)
    load_s: float | None = None
    sums: Mapping[str, float] = field(default_factory=dict)
    size_bounds: Sequence[int] = ()


class Measurer(Protocol):
    """Measures a job's items for one target, and adds up, in bounded memory, what else the target tells."""

    def measure(self, items: RuleItems, *, in_full: bool = True) -> Measured:
        """Measure the items of one rule. Safe to call from several threads.

        Without `in_full` only their keys and rows are wanted.
        Raises: JobError when the rule doesn't fit the target.
        """

    def add(self, rows: int, measured: Sequence[Measured]) -> None:
        """Add what every rule made of the next `rows` rows of a sample, or behind `anew` of everything."""

    def anew(self) -> None:
        """Begin again with every row of the source; what only a sample can tell is kept."""

    def sums(self) -> str:
        """Return as text what was added up behind `anew`, for another process."""

    def take_in(self, sums: str) -> None:
        """Add to it what another process has added up."""

    def plan(self, scale: float) -> TargetPlan:
        """Say what the load means, of which each row that was added stands for `scale` rows."""
