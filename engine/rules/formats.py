"""Formats of placeholders: strftime for dates and times, zero-padded integers.

Invariant: text comes out only for values that the format can say exactly; `infinity`, years that don't have
four digits and the like are flaws.
"""

import re
from collections.abc import Iterator
from itertools import groupby

import polars as pl

from engine.contracts.documents import DocumentCodec
from engine.errors import JobError
from engine.kinds import Document, Kind, Scalar
from engine.rules.typed import typed_scalar
from engine.rules.values import UNSUPPORTED, ValueExpr, checked, described, text, wire

_ISO = "YYYY-mm-ddTHH:MM:SS"
_PLACES = {letter: (_ISO.index(letter), _ISO.count(letter)) for letter in "YmdHMS"}
"""Where the canonical text of a moment with a four-digit year holds the digits of a directive."""
_COMPOSED = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M"}
_OF_DAY = frozenset("fHIMpRSTs")
_TIME_OFFSET = _ISO.index("H")
_DATED = {Scalar.DATE, Scalar.TIMESTAMP, Scalar.TIMESTAMPTZ}
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z?$"
_DAY_OR_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z?)?$"
_SAMPLE = {
    Scalar.DATE: "2024-01-15",
    Scalar.TIMESTAMP: "2024-01-15T10:00:00",
    Scalar.TIMESTAMPTZ: "2024-01-15T10:00:00Z",
    Scalar.TIME: "10:00:00",
}


def formatted(value: ValueExpr, value_format: str, name: str, codec: DocumentCodec) -> ValueExpr:
    """Return the text that a placeholder's format makes of a value.

    Raises: JobError when the format means nothing for values of that kind.
    """
    if "%" in value_format:
        return _moment(value, value_format, name, codec)
    width = int(value_format.removesuffix("d"))
    if value.kind is Scalar.INT:
        return ValueExpr(value.expr.str.zfill(width), Scalar.STRING, value.flaw)
    if isinstance(value.kind, Document):
        present = wire(value, codec)
        before, after = map(re.escape, codec.notation.number)
        digits = present.expr.str.extract(f"^{before}(-?[0-9]+){after}$")
        flaw = f"{UNSUPPORTED}: {name} is no integer, so the format {value_format} can't be applied"
        return checked(present, digits.str.zfill(width), Scalar.STRING, flaw)
    raise JobError(
        f"the format {value_format} is for integers, and {name} is {described(value.kind)}; leave it out"
    )


def _moment(value: ValueExpr, value_format: str, name: str, codec: DocumentCodec) -> ValueExpr:
    _check_directives(value.kind, value_format, name)
    flaw = f"{UNSUPPORTED}: {name} has a value that the format {value_format} can't write"
    chars = list(_characters(value_format))
    if isinstance(value.kind, Document):
        if None in chars:
            raise JobError(
                f"the format {value_format} can't be applied to {name}, which is a document; "
                "use %Y %m %d %H %M %S %F %T %R"
            )
        timed = any(isinstance(char, int) and char >= _TIME_OFFSET for char in chars)
        source = text(value, name, codec)
        canonical = pl.col("")
        fits = canonical.str.contains(_MOMENT if timed else _DAY_OR_MOMENT)
        pieces = pl.when(fits).then(_pieces(canonical, chars, 0))

        def column(texts: pl.Series) -> pl.Series:
            return texts.to_frame("").select(pieces.alias(texts.name)).to_series()

        # By itself: within one query each mention of the text would make it again.
        made = source.expr.map_batches(column, return_dtype=pl.String(), is_elementwise=True)
        return checked(source, made, Scalar.STRING, flaw)
    if value.kind is Scalar.TIME and None not in chars:
        return ValueExpr(_pieces(value.expr, chars, _TIME_OFFSET), Scalar.STRING, value.flaw)
    if None not in chars:
        # Canonical text has its first hyphen there only for the years 0000 to 9999.
        regular = value.expr.str.slice(_ISO.index("-"), 1) == "-"
        return checked(value, pl.when(regular).then(_pieces(value.expr, chars, 0)), Scalar.STRING, flaw)
    written = _strftime(value.expr, value.kind, value_format)
    return checked(value, written, Scalar.STRING, flaw)


def _check_directives(kind: Kind, value_format: str, name: str) -> None:
    """Refuse what a kind of value can't say: a date has no hour, a time of day no month."""
    if not isinstance(kind, Document) and kind not in _DATED | {Scalar.TIME}:
        raise JobError(
            f"the format {value_format} is for dates and times, and {name} is {described(kind)}; leave it out"
        )
    letters = set(re.findall("%(.)", value_format)) - {"%"}
    wrong = letters & _OF_DAY if kind is Scalar.DATE else letters - _OF_DAY if kind is Scalar.TIME else set()
    wrong |= {"s"} & letters if kind is Scalar.TIME else set()
    if wrong:
        raise JobError(f"{name} is {described(kind)}, which has no %{min(wrong)}; take it out of the format")
    if not isinstance(kind, Document):
        sample = pl.Series("sample", [_SAMPLE[kind]])
        try:
            pl.select(_strftime(pl.lit(sample), kind, value_format))
        except pl.exceptions.PolarsError as error:
            raise JobError(
                f"the format {value_format} can't be applied to {name}, {described(kind)}"
            ) from error


def _strftime(expr: pl.Expr, kind: Kind, value_format: str) -> pl.Expr:
    # Polars writes nanoseconds for %f, where C and Python write microseconds.
    microseconds = re.sub("%(.)", lambda match: "%6f" if match[1] == "f" else match[0], value_format)
    assert isinstance(kind, Scalar), "only dates and times have directives"
    return typed_scalar(expr, kind).dt.strftime(microseconds)


def _characters(value_format: str) -> Iterator[int | str | None]:
    """Yield, for each character of the result, its place in the canonical text or the literal itself.

    None stands for a directive whose digits the canonical text doesn't hold.
    """
    expanded = re.sub("%(.)", lambda match: _COMPOSED.get(match[1], match[0]), value_format)
    for directive, char in re.findall("%(.)|(.)", expanded, re.DOTALL):
        if directive == "%" or char:
            yield char or "%"
        elif directive in _PLACES:
            start, length = _PLACES[directive]
            yield from range(start, start + length)
        else:
            yield None


def _pieces(expr: pl.Expr, chars: list[int | str | None], offset: int) -> pl.Expr:
    """Build a text from slices of the canonical text and literals, with as few of them as possible."""
    merged = list(chars)
    for index, char in enumerate(chars[:-1]):
        before, after = merged[index - 1] if index else None, chars[index + 1]
        if (
            isinstance(char, str)
            and isinstance(before, int)
            and after == before + 2
            and _ISO[before + 1] == char
        ):
            merged[index] = before + 1  # `-` between %Y and %m stands in the text already
    runs = groupby(
        enumerate(merged), key=lambda pair: pair[1] - pair[0] if isinstance(pair[1], int) else None
    )
    parts: list[pl.Expr] = []
    for _, run in runs:
        values = [value for _, value in run]
        first = values[0]
        if isinstance(first, int):
            parts.append(expr.str.slice(first - offset, len(values)))
        else:
            parts.append(pl.lit("".join(str(value) for value in values)))
    return parts[0] if len(parts) == 1 else pl.concat_str(parts)
