"""Documents walked over in C, a whole column at once, where the extension was built; in Python otherwise.

Invariant: what comes out is what the Python way gives, for every document: those that the C calls odd go that
way, one by one. Nothing is decided in C: words, sizes and limits are the codec's.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.contracts.documents import Notation
from engine.kinds import DOCUMENT_TYPE

PURE = "BACKFILL_PURE"
"""The environment variable that forces the Python way; any value but the empty one does."""
FORM = 7
"""What is handed over between here and the extension; one that was built for another form isn't used."""
ODD, ABSENT = 1, 2
"""What the extension says of a row: it is Python's, or there is nothing."""
Rows: TypeAlias = npt.NDArray[np.intp]
Places: TypeAlias = npt.NDArray[np.int64]
"""Where documents begin in what holds them."""

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
    """How many documents of this process were walked, or cut, and how many of them one by one in Python."""

    __slots__ = ("_lock", "_verb", "alone", "walked")

    def __init__(self, verb: str) -> None:
        self._lock = threading.Lock()
        self._verb = verb
        self.walked = 0
        self.alone = 0

    def count(self, walked: int, alone: int) -> None:
        """Add a column's documents; threads may do so at once."""
        with self._lock:
            if walked and not self.walked:
                logger.debug("documents are %s %s", self._verb, WAY)
            self.walked += walked
            self.alone += alone

    def tell(self) -> None:
        """Say it to whoever asked for the debug log."""
        if self.walked:
            said = "%s documents were %s, %s of them one by one in Python"
            logger.debug(said, f"{self.walked:,}", self._verb, f"{self.alone:,}")


SHARE, CUTS = Share("walked"), Share("cut")


def documents(
    texts: pa.Array, notation: Notation, levels_max: int, alone: Callable[[pa.Array], pa.StructArray]
) -> pa.StructArray:
    """Turn JSON texts into documents in a target's notation, whose own walk in Python is `alone`.

    Shape: one row of kinds.DOCUMENT_TYPE per text; SQL NULL stays null.
    """
    rows, words = len(texts), handed(notation, levels_max)
    found = None if words is None else walked("documents", texts, words)
    if found is None:  # then the codec's own walk has to do
        SHARE.count(rows, rows)
        return alone(texts)
    *made, codes = found
    code = codes_of(codes)
    fast = struct_of(made, pa.array(code == ABSENT) if texts.null_count else None)
    odd = np.flatnonzero(code == ODD)
    SHARE.count(rows, len(odd))
    return replaced(fast, odd, alone(texts.take(pa.array(odd)))) if len(odd) else fast


def walked(function: str, texts: pa.Array, words: tuple[Any, ...], *more: Any) -> tuple[bytes, ...] | None:
    """Call the extension for a column of texts; None for no rows, or more text than Arrow's offsets reach."""
    if not len(texts):
        return None
    column = texts if texts.type.equals(pa.string()) else texts.cast(pa.string())
    validity, offsets, data = column.buffers()
    mask = validity if column.null_count else None
    found: tuple[bytes, ...] | None = getattr(_WALK, function)(
        b"" if data is None else data, offsets, mask, column.offset, len(column), words, *more
    )
    return found


def columns(
    data: bytes, starts: npt.NDArray[np.int64], words: tuple[Any, ...], layout: tuple[Any, ...]
) -> tuple[Any, ...] | None:
    """Call the extension for BSON documents; None for more text than Arrow's offsets reach."""
    found: tuple[Any, ...] | None = _WALK.columns(data, np.ascontiguousarray(starts), words, layout)
    return found


def starts(array: bytes) -> npt.NDArray[np.int64] | None:
    """Return where each document of a BSON array begins; None where Python has to look."""
    found = None if _WALK is None else _WALK.starts(array)
    return None if found is None else np.frombuffer(found, np.int64)


def rows(text: bytes, signs: bytes, columns: int) -> list[pa.StringArray] | None:
    """Cut rows in CSV into so many columns; None where a parser has to look.

    Shape: `signs` between fields and around one that is quoted; an unquoted empty field becomes null.
    """
    found = None if _WALK is None else _WALK.rows(text, signs, columns)
    if found is None:
        return None
    try:
        return [_texts(*column) for column in found]
    except pa.ArrowInvalid:  # it isn't UTF-8
        return None


def _texts(text: bytes, where: bytes, validity: bytes | None, nulls: int, is_wide: bool) -> pa.StringArray:
    valid = None if validity is None else pa.py_buffer(validity)
    column = pa.StringArray.from_buffers(
        len(where) // 4 - 1, pa.py_buffer(where), pa.py_buffer(text), valid, nulls
    )
    if is_wide:
        column.validate(full=True)
    return column


def members(text: bytes | memoryview, depth: int, letters: bytes) -> tuple[Places, ...] | None:
    """Return where maps that lie within so many brackets, and their members, are in a JSON text.

    Shape: see engine/documents/c/members.c; None where Python has to look.
    """
    found = None if _WALK is None else _WALK.members(text, depth, letters)
    return None if found is None else tuple(np.frombuffer(each, np.int64) for each in found)


def codes_of(codes: bytes) -> npt.NDArray[np.uint8]:
    """Return what the extension says of each row: ODD, ABSENT, or 0."""
    return np.frombuffer(codes, np.uint8)


@lru_cache(maxsize=16)
def handed(notation: Notation, levels_max: int = 0) -> tuple[Any, ...] | None:
    """Return a notation as the extension takes it; None where it can't be walked in C."""
    decimals = notation.decimals
    if _WALK is None or decimals is None:
        return None
    affixes = (notation.string, notation.number, notation.binary, notation.bool, notation.list, notation.map)
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


def struct_of(made: Sequence[bytes], mask: pa.Array | None) -> pa.StructArray:
    """Put text, offsets, sizes and depths into a column of documents without flaws; null by `mask`."""
    text, where, sizes, depths = made
    rows = len(sizes) // 8
    arrays = [
        pa.StringArray.from_buffers(rows, pa.py_buffer(where), pa.py_buffer(text)),
        pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(sizes)]),
        pa.Array.from_buffers(pa.int32(), rows, [None, pa.py_buffer(depths)]),
        pa.nulls(rows, pa.string()),
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(DOCUMENT_TYPE), mask=mask)


def replaced(column: pa.Array, places: Rows, others: pa.Array) -> pa.Array:
    """Return a column with others in some places."""
    order = np.arange(len(column))
    order[places] = len(column) + np.arange(len(places))
    return pa.concat_arrays([column, others]).take(pa.array(order))
