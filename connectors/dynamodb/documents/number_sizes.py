"""What numbers add to an item's size, in columns. Pure.

Invariant: the sizes are those of numbers.number_size, for texts that its number() returns.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.dynamodb.documents.numbers import NUMBER_SIZE_MAX
from connectors.dynamodb.documents.texts import byte_lengths

Sizes: TypeAlias = npt.NDArray[np.int64]
Ints: TypeAlias = npt.NDArray[np.int32]  # narrow, since memory for wide ones costs as much as the arithmetic
Flags: TypeAlias = npt.NDArray[np.bool_]

_MANTISSA, _EXPONENT, _NOT_WHOLE = r"^([^E]*)", r"E(.*)$", r"[.E]"


def exact(text: pl.Series) -> pl.Series:
    """Return what each shortest text counts; null counts nothing. Units: bytes."""
    if not text.str.contains(_NOT_WHOLE).any():
        return pl.Series(whole(text))
    if not text.str.contains("E", literal=True).any():
        return pl.Series(plain(text))
    exponents = text.str.extract(_EXPONENT).cast(pl.Int32, strict=False).fill_null(0)
    return pl.Series(plain(text.str.extract(_MANTISSA), exponents.to_numpy()))


def whole(text: pl.Series) -> Sizes:
    """Return what each whole number counts, by its shortest text. Units: bytes."""
    length, end, negative = _lengths(text), _lengths(text.str.strip_chars_end("0")), _begins(text, "-")
    return _counted(length - negative - 1, length - end, negative, end == 0, length)


def plain(text: pl.Series, exponents: Ints | int = 0) -> Sizes:
    """Return what each number counts: its text without the exponent, times ten to that. Units: bytes."""
    length, end, negative = _lengths(text), _lengths(text.str.strip_chars_end("0.")), _begins(text, "-")
    # Characters are powers of ten counted down to the point, and on behind it; the point itself is none.
    found = text.str.find(".", literal=True)
    point = found.fill_null(0).to_numpy().astype(np.int32)
    if found.null_count():
        point = np.where(point == 0, length, point)
    begin = np.zeros(len(text), np.int32)
    led = np.flatnonzero(negative | _begins(text, "0"))
    if len(led):
        some = text if len(led) == len(text) else text.gather(led)
        begin[led] = _lengths(some) - _lengths(some.str.strip_chars_start("-0."))
    first = point - begin - (begin < point) + exponents
    last = point - end + (end > point) + exponents
    return _counted(first, last, negative, end == 0, length)


def bounds(text: pl.Series) -> pl.Series:
    """Return at least what each shortest text counts, and at most NUMBER_SIZE_MAX too much. Units: bytes.

    A whole number of n digits has n // 2 + 1 pairs at most; a point, a sign and an exponent take characters
    enough for what they add.
    """
    return pl.Series(np.minimum((_lengths(text) >> 1) + 2, NUMBER_SIZE_MAX))


def _lengths(text: pl.Series) -> Ints:
    lengths = byte_lengths(text)
    return np.where(text.is_not_null().to_numpy(), lengths, np.int32(0)) if text.null_count() else lengths


def _begins(text: pl.Series, prefix: str) -> Flags:
    found = text.str.starts_with(prefix)
    known = found if found.null_count() == 0 else found.fill_null(False)
    return known.to_numpy()


def _counted(first: Ints, last: Ints, negative: Flags, zero: Flags, length: Ints) -> Sizes:
    """Return what numbers of these powers of ten count, as numbers.number_size has it."""
    size = np.minimum((first >> 1) - (last >> 1) + 2 + negative, NUMBER_SIZE_MAX)
    return (np.where(zero, np.minimum(length, 1), size) if zero.any() else size).astype(np.int64)
