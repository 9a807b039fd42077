"""Item sizes as DynamoDB counts them, in columns. Pure.

Invariant: the write units that follow from a size are exact, and so is whether an item is too large. The size
of a number is only bounded from above at first; where that could matter, it is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.dynamodb import numbers
from connectors.dynamodb.limits import ITEM_BYTES_MAX, WRITE_UNIT_BYTES
from connectors.dynamodb.values import NULL_SIZE, Values

Sizes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sized:
    """One attribute of a rule's items, as far as its size goes. Units: bytes."""

    name_size: int
    values: Values
    keep_null: bool


def item_sizes(attributes: Sequence[Sized]) -> Sizes:
    """Return the size of every item; numbers may count too much where that changes nothing."""
    sizes = _sizes(attributes, None)
    slack = numbers.NUMBER_SIZE_MAX * sum(attribute.values.size is None for attribute in attributes)
    if slack:
        matters = (write_units(sizes) != write_units(sizes - slack)) | (sizes > ITEM_BYTES_MAX)
        if matters.any():
            rows = np.flatnonzero(matters)
            sizes[rows] = _sizes(attributes, pl.Series(rows, dtype=pl.UInt32))
    return sizes


def write_units(sizes: Sizes) -> npt.NDArray[np.int32]:
    """Return what writing items of these sizes costs the table."""
    units = (sizes + (WRITE_UNIT_BYTES - 1)) // WRITE_UNIT_BYTES
    return np.maximum(units, 1).astype(np.int32)


def _sizes(attributes: Sequence[Sized], rows: pl.Series | None) -> Sizes:
    """Return the sizes of all items, numbers bounded; or of some of them, numbers counted."""
    columns: dict[str, pl.Series] = {}
    terms: list[pl.Expr] = []
    base = 0
    for position, attribute in enumerate(attributes):
        text, size = attribute.values.text, attribute.values.size
        nullable = text.null_count() > 0
        if isinstance(size, int):
            value = pl.lit(size, dtype=pl.Int64)
            if not nullable:
                base += attribute.name_size + size
                continue
        elif size is None:
            value = (numbers.size_bound if rows is None else numbers.size)(pl.col(f"t{position}"))
        else:
            columns[f"s{position}"] = size
            value = pl.col(f"s{position}")
        if nullable or size is None:
            columns[f"t{position}"] = text
        if nullable:
            absent = attribute.name_size + NULL_SIZE if attribute.keep_null else 0
            present = pl.col(f"t{position}").is_not_null()
            terms.append(pl.when(present).then(value.cast(pl.Int64) + attribute.name_size).otherwise(absent))
        else:
            base += attribute.name_size
            terms.append(value)
    height = len(attributes[0].values.text) if rows is None else len(rows)
    if not terms:
        return np.full(height, base, np.int64)
    frame = pl.DataFrame(columns)
    total = (frame if rows is None else frame[rows]).select(pl.sum_horizontal(terms).cast(pl.Int64) + base)
    return total.to_series().to_numpy(writable=True)
