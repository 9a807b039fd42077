"""Documents walked over in C, a whole column at once, where the extension was built; in Python otherwise.

Invariant: what comes out is what the Python way gives, for every document: those that the C calls odd go that
way, one by one. Nothing is decided in C: words, sizes and limits are the codec's.
"""

import logging
import os
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.contracts.documents import Notation
from engine.kinds import DOCUMENT_TYPE

PURE = "BACKFILL_PURE"
"""The environment variable that forces the Python way; any value but the empty one does."""
FORM = 1
"""What is handed over between here and the extension; one that was built for another form isn't used."""
_ODD, _ABSENT = 1, 2
Rows: TypeAlias = npt.NDArray[np.intp]

logger = logging.getLogger(__name__)


def _extension() -> tuple[Any, str]:
    """Return the extension, or None, and the way in use as a sentence."""
    if os.environ.get(PURE):
        return None, f"in Python, because {PURE} is set"
    try:
        from engine.documents import _walk
    except ImportError as error:
        return None, f"in Python, slower, because the extension in C isn't there ({error})"
    if _walk.FORM != FORM:
        return None, "in Python, slower, because the extension in C is of another version: build it again"
    return _walk, "in C"


_WALK, WAY = _extension()


class Share:
    """How many documents of this process were walked, and how many of them one by one in Python."""

    __slots__ = ("_lock", "alone", "walked")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.walked = 0
        self.alone = 0

    def count(self, walked: int, alone: int) -> None:
        """Add a column's documents; threads may do so at once."""
        with self._lock:
            if not self.walked:
                logger.debug("documents are walked %s", WAY)
            self.walked += walked
            self.alone += alone

    def tell(self) -> None:
        """Say it to whoever asked for the debug log."""
        if self.walked:
            said = "%s documents were walked, %s of them one by one in Python"
            logger.debug(said, f"{self.walked:,}", f"{self.alone:,}")


SHARE = Share()


def documents(
    texts: pa.Array, notation: Notation, levels_max: int, alone: Callable[[pa.Array], pa.StructArray]
) -> pa.StructArray:
    """Turn JSON texts into documents in a target's notation, whose own walk in Python is `alone`.

    Shape: one row of kinds.DOCUMENT_TYPE per text; SQL NULL stays null.
    """
    rows, words = len(texts), handed(notation, levels_max)
    found = None
    if rows and words is not None:
        column = texts if texts.type.equals(pa.string()) else texts.cast(pa.string())
        validity, offsets, data = column.buffers()
        mask = validity if column.null_count else None
        found = _WALK.documents(b"" if data is None else data, offsets, mask, column.offset, rows, words)
    if found is None:  # no extension, no rows, or more text than Arrow's offsets reach
        SHARE.count(rows, rows)
        return alone(texts)
    text, where, sizes, depths, codes = found
    code = np.frombuffer(codes, np.uint8)
    fast = _struct(rows, text, where, sizes, depths, pa.array(code == _ABSENT) if texts.null_count else None)
    odd_rows = np.flatnonzero(code == _ODD)
    SHARE.count(rows, len(odd_rows))
    return _replaced(fast, odd_rows, alone(texts.take(pa.array(odd_rows)))) if len(odd_rows) else fast


@lru_cache(maxsize=16)
def handed(notation: Notation, levels_max: int) -> tuple[Any, ...] | None:
    """Return a notation as the extension takes it; None where it can't be walked in C."""
    decimals = notation.decimals
    if _WALK is None or decimals is None:
        return None
    affixes = (notation.string, notation.number, notation.bool, notation.list, notation.map)
    return (
        (*(word.encode() for affix in affixes for word in affix), notation.null.encode()),
        notation.null_size,
        notation.bool_size,
        notation.container_size,
        notation.element_size,
        decimals.digits_max,
        decimals.magnitude_min,
        decimals.magnitude_max,
        decimals.plain_length_max,
        decimals.size_max,
        levels_max,
        notation.nameless is None,
    )


def _struct(
    rows: int, text: bytes, where: bytes, sizes: bytes, depths: bytes, mask: pa.Array | None
) -> pa.StructArray:
    arrays = [
        pa.StringArray.from_buffers(rows, pa.py_buffer(where), pa.py_buffer(text)),
        pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(sizes)]),
        pa.Array.from_buffers(pa.int32(), rows, [None, pa.py_buffer(depths)]),
        pa.nulls(rows, pa.string()),
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(DOCUMENT_TYPE), mask=mask)


def _replaced(column: pa.StructArray, places: Rows, others: pa.StructArray) -> pa.StructArray:
    order = np.arange(len(column))
    order[places] = len(column) + np.arange(len(places))
    return pa.concat_arrays([column, others]).take(pa.array(order))
