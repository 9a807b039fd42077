"""The order of a batch's items, changed for what isn't begun yet. Pure.

Invariant: the items up to `begun` stay where they are, and the text of every item stays the same.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.batch import EncodedBatch


def in_groups(encoded: EncodedBatch, begun: int, group_rows: int) -> EncodedBatch:
    """Order the items from `begun` on by groups of `group_rows` source rows; inside one as they were."""
    return _ordered(encoded, begun, (encoded.rows[begun:] // group_rows).argsort(kind="stable"))


def begun_first(encoded: EncodedBatch, begun: int) -> tuple[EncodedBatch, int]:
    """Put what belongs to rows up to the last one that is begun first; return also how many items that is."""
    if not begun:
        return encoded, 0
    later = encoded.rows[begun:] > encoded.rows[:begun].max()
    return _ordered(encoded, begun, later.argsort(kind="stable")), int((~later).sum())


def _ordered(encoded: EncodedBatch, begun: int, order: npt.NDArray[np.intp]) -> EncodedBatch:
    items = np.concatenate((np.arange(begun), order + begun))
    buffers = [None, pa.py_buffer(encoded.offsets), pa.py_buffer(encoded.text)]
    texts = pa.Array.from_buffers(pa.large_binary(), len(encoded), buffers).take(pa.array(items))
    _, offsets, data = texts.buffers()
    return replace(
        encoded,
        text=memoryview(data if data is not None else b"").cast("B"),
        offsets=np.frombuffer(offsets, np.int64)[: len(items) + 1],
        units=encoded.units[items],
        key_hashes=encoded.key_hashes[items],
        partition_hashes=encoded.partition_hashes[items],
        deletes=encoded.deletes[items],
        rows=encoded.rows[items],
        rules=encoded.rules[items],
    )
