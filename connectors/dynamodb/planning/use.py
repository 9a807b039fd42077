"""What items take of a table and of its indexes, as values."""

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.dynamodb.encoding.sizes import write_units
from engine.contracts.planning import Measured
from engine.frozen import dataclass

Sizes = npt.NDArray[np.int64]

ABSENT = -1
"""Size of an item's entry in an index that it isn't in."""
TABLE = ""
"""What the table itself is called among its indexes."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The items of one rule as the table or an index holds them.

    Shape: `sizes` in bytes, ABSENT where there is no entry; `units` are what it takes of the table's or the
    index's write units, 0 then; `partition` the text of its partition key, null then. `json_bytes`: the
    items as DynamoDB JSON, `expired` how many the table's time to live has expired; the table's alone.
    """

    sizes: Sizes
    units: npt.NDArray[np.int32]
    partition: pl.Series
    json_bytes: int = 0
    expired: int = 0

    @classmethod
    def of_index(cls, sizes: Sizes, inside: npt.NDArray[np.bool_], partition: pl.Series) -> "Entries":
        """Return what an index holds of the items that are inside it."""
        units = np.where(inside, write_units(sizes), np.int32(0))
        texts = pl.select(pl.when(pl.Series(inside)).then(partition)).to_series()
        return cls(np.where(inside, sizes, ABSENT), units, texts)


def used(found: Measured) -> Mapping[str, Entries]:
    """Return the entries that items make, by index, the table's own under TABLE."""
    assert isinstance(found.own, dict), "what is added up for a table was measured for it"
    return found.own


@dataclass(slots=True)
class Totals:
    """What the table or an index takes in all. Units: write units; bytes of the `entries` that it keeps."""

    writes: int = 0
    entries: int = 0
    units: int = 0
    size_bytes: int = 0
    json_bytes: int = 0
    expired: int = 0

    def add(self, more: Entries) -> None:
        """Add the items of one rule in one batch."""
        there = more.sizes != ABSENT
        self.writes += int((more.units > 0).sum())
        self.entries += int(there.sum())
        self.units += int(more.units.sum())
        self.size_bytes += int(more.sizes[there].sum())
        self.json_bytes += more.json_bytes
        self.expired += more.expired

    def take_in(self, more: "Totals") -> None:
        """Add another sum."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(more, field.name))
