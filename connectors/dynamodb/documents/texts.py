"""Columns of texts as Arrow holds them: one buffer, and where each text begins in it. Pure.

Invariant: nothing is asked of Polars, where any question is a query of its own: that costs a small batch more
than all its texts.
"""

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa


def large_text(texts: pl.Series) -> pa.LargeStringArray:
    """Return texts in one contiguous buffer."""
    array = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    assert array.offset == 0, "a rechunked column starts at its buffer's start"
    return array


def byte_lengths(array: pa.LargeStringArray) -> npt.NDArray[np.int64]:
    """Return the length of each text of a whole buffer; of a missing one it means nothing. Units: bytes."""
    offsets = np.frombuffer(array.buffers()[1], np.int64, len(array) + 1)
    return np.diff(offsets)
