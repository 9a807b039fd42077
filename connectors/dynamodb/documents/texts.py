"""Columns of texts as Arrow holds them: one buffer, and where each text begins in it. Pure.

Invariant: nothing is asked of Polars, where any question is a query of its own: that costs a small batch more
than all its texts.
"""

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

VIEW_BYTES, _LENGTH_BYTES = 16, 4
"""What stands for each text in the layout that Polars holds them in, its length first.
Source: https://arrow.apache.org/docs/format/Columnar.html#variable-size-binary-view-layout."""


def large_text(texts: pl.Series) -> pa.LargeStringArray:
    """Return texts in one contiguous buffer."""
    array = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    assert array.offset == 0, "a rechunked column starts at its buffer's start"
    return array


def byte_lengths(texts: pl.Series) -> npt.NDArray[np.int32]:
    """Return the length of each text, without a copy; of a missing one it means nothing. Units: bytes."""
    array = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
    if not len(array):
        return np.zeros(0, np.int32)
    lengths = np.frombuffer(array.buffers()[1], np.int32)[:: VIEW_BYTES // _LENGTH_BYTES]
    return lengths[array.offset : array.offset + len(array)]
