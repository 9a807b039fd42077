"""Placeholders' paths: from a name in a template to the value that it stands for.

Invariant: a column's exact name wins over a path into another column.
"""

import difflib
from collections.abc import Iterable, Mapping

import polars as pl

from engine.contracts.documents import DocumentCodec
from engine.documents.cutting import elements
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.template import Placeholder, Template, single
from engine.kinds import Document, Kind, ListOf, Scalar, StructOf
from engine.rules.extracts import Extracts
from engine.rules.fields import FLAW_FIELD, LIST_FIELD, is_inner, list_column
from engine.rules.formats import formatted
from engine.rules.names import column as column_of
from engine.rules.names import field as field_of
from engine.rules.values import (
    UNSUPPORTED,
    ValueExpr,
    checked,
    described,
    representation,
    text,
    wire,
)

EACH, INDEX = "\0each", "\0index"
"""Columns that `for_each` adds to a frame; no source can name a column so."""


@dataclass(frozen=True, slots=True)
class Bindings:
    """What the placeholders of a rule may name.

    `each` is the kind of the list's elements inside a `for_each` rule, else None. `extracts` collects what
    the rule's paths want of documents, which `codec` wrote.
    """

    columns: Mapping[str, Kind]
    codec: DocumentCodec
    extracts: Extracts
    each: Kind | None = None


def placed(placeholder: Placeholder, bindings: Bindings) -> ValueExpr:
    """Return the value that a placeholder stands for, formatted if it says so.

    Raises: JobError naming the nearest column when there is none of that name.
    """
    name = ".".join(placeholder.path)
    if bindings.each is not None and placeholder.of_element:
        value = _below(ValueExpr(pl.col(EACH), bindings.each), placeholder.path[1:], "each", bindings)
    elif bindings.each is not None and placeholder.of_position:
        value = ValueExpr(pl.col(INDEX).cast(pl.String), Scalar.INT)
    else:
        value = resolved(placeholder.path, bindings)
    return value if placeholder.format is None else formatted(value, placeholder.format, name, bindings.codec)


def resolved(path: tuple[str, ...], bindings: Bindings) -> ValueExpr:
    """Return the value at a path from a column."""
    for length in range(len(path), 0, -1):
        name = ".".join(path[:length])
        if name in bindings.columns:
            return _below(ValueExpr(column_of(name), bindings.columns[name]), path[length:], name, bindings)
    raise JobError(f"there is no column {'.'.join(path)!r}{nearest('.'.join(path), bindings.columns)}")


def templated(template: Template, bindings: Bindings) -> ValueExpr:
    """Return the value of a template: one placeholder keeps its kind, anything else is text."""
    only = single(template)
    if only is not None:
        return placed(only, bindings)
    parts = [pl.lit(part) if isinstance(part, str) else _text_of(part, bindings).expr for part in template]
    flaws = [
        flaw
        for part in template
        if isinstance(part, Placeholder) and (flaw := _text_of(part, bindings).flaw) is not None
    ]
    expr = pl.concat_str(parts) if len(parts) > 1 else parts[0] if parts else pl.lit("")
    return ValueExpr(expr, Scalar.STRING, pl.coalesce(flaws) if flaws else None)


def _text_of(part: Placeholder, bindings: Bindings) -> ValueExpr:
    return text(placed(part, bindings), ".".join(part.path), bindings.codec)


def listed(value: ValueExpr, name: str, codec: DocumentCodec) -> ValueExpr:
    """Return the list that `for_each` goes through.

    Raises: JobError when values of that kind are never lists.
    """
    match value.kind:
        case ListOf():
            return value
        case Document():
            each = ListOf(Document())
            split = _split(value.expr, codec, representation(each))
            return checked(
                wire(value, codec, apart=True),
                split,
                each,
                f"{UNSUPPORTED}: for_each needs a list, and {name} is none",
            )
        case _:
            raise JobError(f"for_each needs a list, and {name} is {described(value.kind)}")


def _split(documents: pl.Expr, codec: DocumentCodec, result: pl.DataType) -> pl.Expr:
    def column(series: pl.Series) -> pl.Series:
        return elements(series, codec).alias(series.name)

    return documents.map_batches(column, return_dtype=result, is_elementwise=True)


def elements_at(path: tuple[str, ...], bindings: Bindings) -> ValueExpr:
    """Return the list at a path for `for_each`: taken apart by the source, or by us.

    Raises: JobError when there is no such column, or its values are never lists.
    """
    column = list_column(path)
    kind = bindings.columns.get(column)
    if not isinstance(kind, StructOf):
        return listed(resolved(path, bindings), ".".join(path), bindings.codec)
    fields = pl.col(column).struct
    return ValueExpr(fields.field(LIST_FIELD), dict(kind.fields)[LIST_FIELD], fields.field(FLAW_FIELD))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?`, or the names that there are when none is near."""
    names = sorted(other for other in known if not is_inner(other))
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(names[:20])}" + (" …" if len(names) > 20 else "") if names else ""


def _below(value: ValueExpr, path: tuple[str, ...], name: str, bindings: Bindings) -> ValueExpr:
    """Go down a path of field or member names."""
    if not path:
        return value
    match value.kind:
        case StructOf(fields):
            kinds = dict(fields)
            for length in range(len(path), 0, -1):
                field = ".".join(path[:length])
                if field in kinds:
                    inner = ValueExpr(field_of(value.expr, field, list(kinds)), kinds[field], value.flaw)
                    return _below(inner, path[length:], f"{name}.{field}", bindings)
            raise JobError(f"{name} has no field {path[0]!r}{nearest(path[0], kinds)}")
        case Document():
            return bindings.extracts.found(value, name, path)
        case _:
            raise JobError(f"{name} is {described(value.kind)}, so there is no {'.'.join(path)!r} in it")
