"""What items take of a table and of its indexes, as values."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.dynamodb.encoding.sizes import write_units
from engine.contracts.planning import Measured

Sizes = npt.NDArray[np.int64]

ABSENT = -1
"""Size of an item's entry in an index that it isn't in."""
TABLE = ""
"""What the table itself is called among its indexes."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The items of one rule as the table or an index holds them.

    Shape: `sizes` in bytes, ABSENT where there is no entry; `units` are what it takes of the table's or the
    index's write units, 0 then; `partition` the text of its partition key, null then.
    """

    sizes: Sizes
    units: npt.NDArray[np.int32]
    partition: pl.Series

    @classmethod
    def of_index(cls, sizes: Sizes, inside: npt.NDArray[np.bool_], partition: pl.Series) -> "Entries":
        """Return what an index holds of the items that are inside it."""
        frame = pl.DataFrame({"text": partition, "inside": inside})
        return cls(
            np.where(inside, sizes, ABSENT),
            np.where(inside, write_units(sizes), np.int32(0)),
            frame.select(pl.when("inside").then("text")).to_series(),
        )


@dataclass(frozen=True, slots=True)
class TableUse:
    """What the items of one rule in one batch take. Shape: `entries` by index, the table itself under TABLE.

    Units: `json_bytes` of all of them as DynamoDB JSON.
    """

    entries: Mapping[str, Entries]
    json_bytes: int


@dataclass(slots=True)
class Totals:
    """What the table or an index takes in all. Units: write units, bytes."""

    entries: int = 0
    units: int = 0
    size_bytes: int = 0

    def add(self, entries: Entries) -> None:
        """Add the items of one rule in one batch."""
        there = entries.sizes != ABSENT
        self.entries += int(there.sum())
        self.units += int(entries.units.sum())
        self.size_bytes += int(entries.sizes[there].sum())


def use_of(found: Measured) -> TableUse:
    """Return what the measurer of tables has added."""
    assert isinstance(found.own, TableUse), "what is added up for a table was measured for it"
    return found.own
