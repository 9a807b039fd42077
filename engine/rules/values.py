"""What an attribute is made of while a rule is compiled: a Polars expression, its kind, and why it may fail.

Invariant: where a value's flaw is not null, the value itself is null; so a column without nulls has no flaws,
and flaws need computing only for columns that have some.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa

from engine.contracts.documents import AS_TEXT, NUMBER_FLAW, DocumentCodec
from engine.documents.cutting import scalar_texts
from engine.documents.reading import DocumentReader
from engine.errors import JobError
from engine.frozen import dataclass
from engine.kinds import (
    Decimal,
    Document,
    Kind,
    ListOf,
    Members,
    Scalar,
    SetOf,
    StructOf,
    arrow_type,
    documents_array,
)

UNSUPPORTED = "value_unsupported"
"""The dead-letter reason for what a rule can't make of a value."""


@dataclass(frozen=True, slots=True)
class ValueExpr:
    """A value of every row: `expr` in the representation of `kind`; `flaw` null or `reason: detail`."""

    expr: pl.Expr
    kind: Kind
    flaw: pl.Expr | None = None


def literal(value: str, kind: Scalar) -> ValueExpr:
    """Return the same value for every row."""
    return ValueExpr(pl.lit(value, dtype=pl.String), kind)


def representation(kind: Kind) -> pl.DataType:
    """Return the Polars type that values of a kind travel in."""
    return pl.Series(pa.array([], type=arrow_type(kind))).dtype


def checked(value: ValueExpr, expr: pl.Expr, kind: Kind, flaw: str) -> ValueExpr:
    """Return what became of a value; where it became null on the way, that is a flaw.

    `flaw` is `reason: detail`.
    """
    lost = pl.when(value.expr.is_not_null() & expr.is_null()).then(pl.lit(flaw))
    return ValueExpr(expr, kind, lost if value.flaw is None else pl.coalesce(value.flaw, lost))


def by_python(expr: pl.Expr, convert: Callable[[list[Any]], list[Any]], result: pl.DataType) -> pl.Expr:
    """Map values with a Python function over a whole column: for what no expression can do."""

    def column(series: pl.Series) -> pl.Series:
        return pl.Series(series.name, convert(series.to_list()), dtype=result)

    return expr.map_batches(column, return_dtype=result, is_elementwise=True)


def parsed_json(expr: pl.Expr, codec: DocumentCodec) -> pl.Expr:
    """Turn JSON texts into documents; what is no JSON carries its flaw inside."""
    document = representation(Document())

    def column(series: pl.Series) -> pl.Series:
        # Arrow's names end at a NUL, which the rules' own columns begin with: Polars would panic.
        parsed = codec.from_json(series.alias("").to_arrow().cast(pa.string()))
        return pl.Series(series.name, parsed, dtype=document)

    return expr.map_batches(column, return_dtype=document, is_elementwise=True)


def json_texts(expr: pl.Expr, codec: DocumentCodec) -> pl.Expr:
    """Turn documents into documents that are their JSON texts."""
    document, read = representation(Document()), DocumentReader(codec).as_texts

    def column(series: pl.Series) -> pl.Series:
        return pl.Series(series.name, documents_array(read(series.to_list())), dtype=document)

    return expr.map_batches(column, return_dtype=document, is_elementwise=True)


def text_documents(expr: pl.Expr, codec: DocumentCodec) -> pl.Expr:
    """Turn texts into documents that are texts."""
    quoted = pl.struct(expr.alias("")).struct.json_encode().str.strip_prefix('{"":').str.strip_suffix("}")
    return parsed_json(pl.when(expr.is_not_null()).then(quoted), codec)


def wire(value: ValueExpr, codec: DocumentCodec, *, apart: bool = False) -> ValueExpr:
    """Return a document's wire fragment as text; null for NULL.

    A number that the target can't hold is still a text, so only the document's other flaws are flaws here;
    where the document is only taken `apart`, those that its parts have themselves aren't, either.
    """
    fragment, flaw = value.expr.struct.field("wire"), value.expr.struct.field("flaw")
    harmless = flaw.str.starts_with(NUMBER_FLAW)
    if apart:
        harmless |= flaw.str.contains(AS_TEXT, literal=True)
    fatal = pl.when(~harmless).then(flaw)
    sound = pl.when((fragment != codec.notation.null) & fatal.is_null()).then(fragment)
    return ValueExpr(sound, Scalar.STRING, fatal if value.flaw is None else pl.coalesce(value.flaw, fatal))


def text(value: ValueExpr, name: str, codec: DocumentCodec) -> ValueExpr:
    """Return the canonical text of a value, for use among other text.

    Raises: JobError for kinds that have none.
    """
    match value.kind:
        case Scalar() | Decimal():
            return ValueExpr(value.expr, Scalar.STRING, value.flaw)
        case Document():
            own = value.expr.map_batches(
                partial(_texts, codec=codec), return_dtype=pl.String(), is_elementwise=True
            )
            flaw = f"{UNSUPPORTED}: {name} is a list, a map or a set, not a text"
            return checked(wire(value, codec), own, Scalar.STRING, flaw)
        case ListOf() | SetOf() | StructOf() | Members():
            raise JobError(
                f"{name} is {described(value.kind)}, which has no text to put among other text; "
                "name a field of it, or give it an attribute of its own"
            )


def _texts(documents: pl.Series, codec: DocumentCodec) -> pl.Series:
    """Return the text of each document's `wire`; that is looked into only where a document has a flaw."""
    wires, _, _, flaws = documents.struct.unnest()
    if flaws.null_count() < len(flaws):
        sound = wire(ValueExpr(pl.col(""), Document()), codec).expr
        wires = documents.to_frame("").select(sound).to_series()
    return scalar_texts(wires, codec).alias(documents.name)


def described(kind: Kind) -> str:
    """Return a kind in words, for messages."""
    match kind:
        case Scalar():
            return f"of type {kind.value}"
        case Decimal(precision, scale):
            return f"of type numeric({precision},{scale})"
        case Document() | Members():
            return "a document"
        case ListOf():
            return "a list"
        case SetOf():
            return "a set"
        case StructOf():
            return "a composite"
