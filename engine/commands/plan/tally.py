"""What the items of many batches come to, added up in bounded memory.

Invariant: sizes and units are exact for the rows that were added; whatever is kept of single items is capped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from connectors.dynamodb.encoding.encode import source_key_of
from connectors.dynamodb.limits import ITEM_BYTES_MAX
from connectors.dynamodb.measure import ABSENT, Measured, entry_units
from engine.batch import Batch

EXAMPLES_MAX = 3
"""Examples that are kept of each reason in each rule."""


@dataclass(slots=True)
class RuleTally:
    """One rule's items. `flaws` by reason; `examples` by reason, as detail and source key."""

    items: int = 0
    deletes: int = 0
    skipped: int = 0
    flaws: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, Mapping[str, str | None]]]] = field(default_factory=dict)


@dataclass(slots=True)
class IndexTally:
    """What one index holds. Units: write units, bytes."""

    entries: int = 0
    units: int = 0
    size_bytes: int = 0


class Tally:
    """The sum over all measured batches.

    Shape: `by_size[n]` items of n bytes; `rules` in the rules' order. Units: write units of the table, bytes.
    """

    def __init__(self, rules: Sequence[str], indexes: Sequence[str]) -> None:
        self.rows = 0
        self.units = 0
        self.json_bytes = 0
        self.rules = {name: RuleTally() for name in rules}
        self.indexes = {name: IndexTally() for name in indexes}
        self.by_size: npt.NDArray[np.int64] = np.zeros(ITEM_BYTES_MAX + 1, np.int64)

    def add(self, batch: Batch, measured: Sequence[Measured], key: Sequence[str]) -> None:
        """Add a batch's rows and what every rule made of them. `key` tells a row in examples."""
        self.rows += batch.rows.num_rows
        for found in measured:
            rule = self.rules[found.name]
            deletes = int(found.deletes.sum())
            rule.items += len(found.rows) - deletes
            rule.deletes += deletes
            rule.skipped += found.skipped
            for flaw in found.flaws:
                rule.flaws[flaw.reason] += 1
                examples = rule.examples.setdefault(flaw.reason, [])
                if len(examples) < EXAMPLES_MAX:
                    examples.append((flaw.detail, source_key_of(batch, key, flaw.row)))
            self.units += int(found.units.sum())
            self.json_bytes += found.json_bytes
            self.by_size += np.bincount(found.sizes[~found.deletes], minlength=len(self.by_size))
            for entries in found.entries:
                index = self.indexes[entries.index]
                index.entries += int((entries.sizes != ABSENT).sum())
                index.units += int(entry_units(entries.sizes).sum())
                index.size_bytes += int(entries.sizes[entries.sizes != ABSENT].sum())

    @property
    def items(self) -> int:
        """Items that are put."""
        return sum(rule.items for rule in self.rules.values())

    @property
    def writes(self) -> int:
        """Items that are put or deleted."""
        return sum(rule.items + rule.deletes for rule in self.rules.values())

    @property
    def flawed(self) -> int:
        """Items that can't be written."""
        return sum(rule.flaws.total() for rule in self.rules.values())

    @property
    def size_bytes(self) -> int:
        """All items' sizes together."""
        return int((self.by_size * np.arange(len(self.by_size))).sum())

    def size_at(self, share: float) -> int:
        """Return the size that this share of the items doesn't exceed; 0 without items."""
        total = int(self.by_size.sum())
        if not total:
            return 0
        return int(np.searchsorted(np.cumsum(self.by_size), max(1, round(share * total))))

    @property
    def largest(self) -> int:
        """The largest item's size; 0 without items."""
        sizes = np.flatnonzero(self.by_size)
        return int(sizes[-1]) if len(sizes) else 0

    def histogram(self, bounds: Sequence[int]) -> list[tuple[int, int]]:
        """Return how many items are up to each bound in size, and over the one before it."""
        below = np.cumsum(self.by_size)
        cuts = [int(below[min(bound, len(below) - 1)]) for bound in bounds]
        return [(bound, cut - before) for bound, cut, before in zip(bounds, cuts, [0, *cuts], strict=False)]
