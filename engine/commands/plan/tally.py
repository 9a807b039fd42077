"""What the items of many batches come to, added up in bounded memory.

Invariant: counts and sizes are exact for the rows that were added; what is kept of single items is capped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.batch import Batch, source_key_of
from engine.contracts.planning import Measured
from engine.frozen import dataclass

EXAMPLES_MAX = 3
"""Examples that are kept of each reason in each rule."""
SIZES_HELD = 200_000
"""So many sizes with their counts are held before equal ones are added up."""


NONE = np.empty(0, np.int64)


@dataclass(slots=True)
class RuleTally:
    """One rule's items. `flaws` by reason; `examples` by reason, as detail and source key."""

    items: int = 0
    deletes: int = 0
    skipped: int = 0
    flaws: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, Mapping[str, str | None]]]] = field(default_factory=dict)

    @property
    def writes(self) -> int:
        """Items that are put or deleted."""
        return self.items + self.deletes

    def take_in(self, more: "RuleTally") -> None:
        """Add what another one has counted."""
        self.items += more.items
        self.deletes += more.deletes
        self.skipped += more.skipped
        self.flaws.update(more.flaws)
        for reason, examples in more.examples.items():
            held = self.examples.setdefault(reason, [])
            held += examples[: EXAMPLES_MAX - len(held)]


class SizeCounter:
    """How many items have which size: what is held grows with the sizes that differ, not with the items."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._held = 0

    def add(self, sizes: npt.NDArray[np.int64]) -> None:
        """Add the sizes of some items, in bytes."""
        size, count = np.unique(sizes, return_counts=True)
        self._parts.append(pl.DataFrame({"size": size, "count": count}))
        self._held += len(size)
        if self._held > SIZES_HELD + 2 * len(self._parts[0]):
            self._merged()

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Each size, and how many items have it."""
        return tuple(self._merged().iter_rows())

    def take_in(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Add what another one has counted."""
        schema = {"size": pl.Int64, "count": pl.Int64}
        self._parts.append(pl.DataFrame(pairs, schema=schema, orient="row"))
        self._held += len(pairs)
        if self._held > SIZES_HELD:
            self._merged()

    def _merged(self) -> pl.DataFrame:
        """Return each size once, in their order, with its count."""
        if len(self._parts) != 1:
            every = pl.concat(self._parts) if self._parts else pl.DataFrame({"size": NONE, "count": NONE})
            self._parts = [every.group_by("size").agg(pl.col("count").sum()).sort("size")]
            self._held = len(self._parts[0])
        return self._parts[0]

    @property
    def total(self) -> int:
        """All items' sizes together."""
        return int(self._merged().select((pl.col("size") * pl.col("count")).sum()).item())

    def at(self, share: float) -> int:
        """Return the size that this share of the items doesn't exceed; 0 without items."""
        table = self._merged()
        wanted = max(1, round(share * int(table["count"].sum())))
        found = table.filter(pl.col("count").cum_sum() >= wanted)["size"]
        return int(found[0]) if len(found) else 0

    def histogram(self, bounds: Sequence[int]) -> list[tuple[int, int]]:
        """Return how many items are up to each bound in size, and over the one before it."""
        table = self._merged()
        return [
            (bound, int(table.filter(pl.col("size").is_between(low, bound, closed="right"))["count"].sum()))
            for low, bound in pairwise((-1, *bounds))
        ]


class Tally:
    """The sum over all measured batches. `source_key` tells a row in examples.

    Shape: `rules` in the rules' order.
    """

    def __init__(self, rules: Sequence[str], source_key: Sequence[str]) -> None:
        self._source_key = source_key
        self.rows = 0
        self.rules = {name: RuleTally() for name in rules}
        self.sizes = SizeCounter()

    def add(self, batch: Batch, measured: Sequence[Measured]) -> None:
        """Add a batch's rows and what every rule made of them."""
        self.rows += batch.rows.num_rows
        for found in measured:
            rule = self.rules[found.rule]
            deletes = int(found.deletes.sum())
            rule.items += len(found.rows) - deletes
            rule.deletes += deletes
            rule.skipped += found.skipped
            for flaw in found.flaws:
                rule.flaws[flaw.reason] += 1
                examples = rule.examples.setdefault(flaw.reason, [])
                if len(examples) < EXAMPLES_MAX:
                    examples.append((flaw.detail, source_key_of(batch, self._source_key, flaw.row)))
            if found.sizes is not None:
                self.sizes.add(found.sizes[~found.deletes])

    def take_in(self, rows: int, rules: Mapping[str, RuleTally], sizes: Sequence[tuple[int, int]]) -> None:
        """Add what another tally of the same rules has counted."""
        self.rows += rows
        for name, found in rules.items():
            self.rules[name].take_in(found)
        self.sizes.take_in(sizes)

    @property
    def items(self) -> int:
        """Items that are put."""
        return sum(rule.items for rule in self.rules.values())

    @property
    def writes(self) -> int:
        """Items that are put or deleted."""
        return sum(rule.writes for rule in self.rules.values())

    @property
    def flawed(self) -> int:
        """Items that can't be written."""
        return sum(rule.flaws.total() for rule in self.rules.values())
