"""Numbers in columns: shortest exact texts, value by value only where a value is irregular.

Invariant: the texts are those of documents.numbers, whichever way they were found.
"""

from collections.abc import Mapping

import polars as pl

from connectors.dynamodb.documents.numbers import number
from engine.frozen import dataclass
from engine.kinds import Decimal, Kind, Scalar

# A decimal without an exponent, a needless zero in front, or a minus before zero.
_PLAIN = r"^(?:-?[1-9][0-9]*(?:\.[0-9]+)?|0(?:\.[0-9]+)?|-0\.[0-9]*[1-9][0-9]*)$"
_PLAIN_LENGTH_MAX = 38  # so many characters hold no more digits than an N, and number() prints them plain
_AFTER_DIGITS = ":"  # sorts behind every character of a plain decimal, before every letter


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers. Shape: `flaws` by row, `reason: detail`; such a row's text is what came in."""

    text: pl.Series
    flaws: Mapping[int, str]


def shortest(values: pl.Series, kind: Kind) -> Numbers:
    """Return canonical number texts as DynamoDB holds them; null stays null."""
    if kind is Scalar.INT:
        return Numbers(values, {})
    if values.null_count() == len(values):
        return Numbers(values, {})
    text = _without_trailing_zeros(values)
    if isinstance(kind, Decimal) and str(values.max()) < _AFTER_DIGITS:
        return Numbers(text, {})
    plain = values.str.contains(_PLAIN) & (values.str.len_bytes() <= _PLAIN_LENGTH_MAX)
    if plain.all():
        return Numbers(text, {})
    rows = (~plain).arg_true()
    found = [number(value) for value in values.gather(rows).to_list()]
    flaws = {row: one.flaw for row, one in zip(rows.to_list(), found, strict=True) if one.flaw is not None}
    return Numbers(text.clone().scatter(rows, pl.Series([one.text for one in found])), flaws)


def _without_trailing_zeros(values: pl.Series) -> pl.Series:
    """Cut zeros behind the point where there is one; right for plain decimals only."""
    pointed = values.str.contains(".", literal=True)
    if not pointed.any():
        return values
    cut = values.str.strip_chars_end("0").str.strip_chars_end(".")
    return cut if pointed.all() else cut.zip_with(pointed.fill_null(False), values)
