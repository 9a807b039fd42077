"""Item sizes as DynamoDB counts them, in columns. Pure.

Invariant: the write units that follow from a size are exact, and so is whether an item is too large. The size
of a number is only bounded from above at first; where that could matter, it is counted.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.dynamodb.documents import number_sizes
from connectors.dynamodb.documents.numbers import NUMBER_SIZE_MAX
from connectors.dynamodb.encoding.values import NULL_SIZE, Values
from connectors.dynamodb.limits import ITEM_BYTES_MAX, WRITE_UNIT_BYTES
from engine.frozen import dataclass

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
    slack = NUMBER_SIZE_MAX * sum(attribute.values.size is None for attribute in attributes)
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
    total = np.zeros(len(attributes[0].values.text) if rows is None else len(rows), np.int64)
    for attribute in attributes:
        text, size = attribute.values.text, attribute.values.size
        if rows is not None:
            text = text.gather(rows)
            size = size.gather(rows) if isinstance(size, pl.Series) else size
        if size is None:
            size = number_sizes.bounds(text) if rows is None else number_sizes.exact(text)
        total += _with_name(attribute, text, size)
    return total


def _with_name(attribute: Sized, text: pl.Series, size: int | pl.Series) -> Sizes | int:
    """Return what an attribute adds to each item: nothing where it is left out."""
    named: Sizes | int
    if isinstance(size, pl.Series):
        known = size if size.null_count() == 0 else size.fill_null(0)
        named = known.to_numpy() + attribute.name_size
    else:
        named = size + attribute.name_size
    if text.null_count() == 0:
        return named
    absent = attribute.name_size + NULL_SIZE if attribute.keep_null else 0
    return np.where(text.is_not_null().to_numpy(), named, absent)
