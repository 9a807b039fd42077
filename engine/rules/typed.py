"""Typed columns for SQL and hooks, and the way back: canonical text ↔ Polars types.

Invariant: a value that has no exact typed form becomes null here, and `lost` tells it from a SQL NULL.
"""

import polars as pl

from engine.contracts.documents import DocumentCodec
from engine.documents.reading import DocumentReader
from engine.errors import JobError
from engine.kinds import Decimal, Document, Kind, ListOf, Members, Scalar, SetOf, StructOf
from engine.rules.names import field as field_of
from engine.rules.values import by_python, parsed_json, text_documents

_TIMESTAMP_FORMAT = "%Y-%m-%dT%H:%M:%S%.f"
_ZEROS = r"(\.[0-9]*?[1-9])0+$"
_NEVER_LOST = frozenset({Scalar.STRING, Scalar.NUMBER, Scalar.BINARY, Scalar.BOOL})


def typed(expr: pl.Expr, kind: Kind, codec: DocumentCodec) -> pl.Expr:
    """Cast the representation of a kind to the Polars type that SQL and hooks compute with.

    INT is Int64, a bounded numeric Decimal, FLOAT Float64, times and dates their own types (Datetime in
    microseconds, UTC where the source has a zone), BINARY Binary. STRING stays, and so does an unbounded
    numeric, which no type holds exactly. A document is its JSON text, and a plain one that is
    a scalar the scalar's.
    """
    match kind:
        case Scalar() | Decimal():
            return typed_scalar(expr, kind)
        case Document() | Members():
            sound = pl.when(expr.struct.field("flaw").is_null()).then(expr.struct.field("wire"))
            reader = DocumentReader(codec)
            plain = isinstance(kind, Document) and kind.plain
            return by_python(sound, reader.plain_texts if plain else reader.plain_json, pl.String())
        case ListOf(element) | SetOf(element):
            return expr.list.eval(typed(pl.element(), element, codec))
        case StructOf(fields):
            inner = [typed(_field(expr, name, fields), field, codec).alias(name) for name, field in fields]
            return pl.when(expr.is_not_null()).then(pl.struct(inner))


def typed_scalar(expr: pl.Expr, kind: Scalar | Decimal) -> pl.Expr:
    """Do the same for a scalar."""
    match kind:
        case Scalar.INT:
            return expr.cast(pl.Int64, strict=False)
        case Scalar.FLOAT:
            return expr.cast(pl.Float64, strict=False)
        case Scalar.BOOL:
            return expr == "true"
        case Scalar.BINARY:
            return expr.str.decode("base64", strict=True)
        case Scalar.TIMESTAMPTZ:
            return expr.str.to_datetime(
                _TIMESTAMP_FORMAT + "Z", time_unit="us", time_zone="UTC", strict=False, cache=False
            )
        case Scalar.TIMESTAMP:
            return expr.str.to_datetime(_TIMESTAMP_FORMAT, time_unit="us", strict=False, cache=False)
        case Scalar.DATE:
            return expr.str.to_date("%Y-%m-%d", strict=False, cache=False)
        case Scalar.TIME:
            return expr.str.to_time("%H:%M:%S%.f", strict=False, cache=False)
        case Scalar.STRING | Scalar.NUMBER:
            return expr
        case Decimal(precision, scale):
            return expr.cast(pl.Decimal(precision, scale), strict=False)


def lost(expr: pl.Expr, kind: Kind) -> pl.Expr | None:
    """Say where a value, or one inside it, has no typed form; None when every value of the kind has one."""
    match kind:
        case Scalar() if kind in _NEVER_LOST:
            return None
        case Scalar() | Decimal():
            return expr.is_not_null() & typed_scalar(expr, kind).is_null()
        case Document() | Members():
            return expr.struct.field("flaw").is_not_null()
        case ListOf(element) | SetOf(element):
            inner = lost(pl.element(), element)
            return None if inner is None else expr.list.eval(inner).list.any().fill_null(value=False)
        case StructOf(fields):
            losses = [lost(_field(expr, name, fields), field) for name, field in fields]
            found = [loss for loss in losses if loss is not None]
            return pl.any_horizontal(found) if found else None


def _field(expr: pl.Expr, name: str, fields: tuple[tuple[str, Kind], ...]) -> pl.Expr:
    return field_of(expr, name, [other for other, _ in fields])


def typed_dtype(kind: Kind) -> pl.DataType:
    """Return the Polars type that `typed` gives."""
    match kind:
        case Scalar():
            return _TYPED[kind]
        case Decimal(precision, scale):
            return pl.Decimal(precision, scale)
        case Document() | Members():
            return pl.String()
        case ListOf(element) | SetOf(element):
            return pl.List(typed_dtype(element))
        case StructOf(fields):
            return pl.Struct({name: typed_dtype(field) for name, field in fields})


_TYPED: dict[Scalar, pl.DataType] = {
    Scalar.INT: pl.Int64(),
    Scalar.NUMBER: pl.String(),
    Scalar.FLOAT: pl.Float64(),
    Scalar.BOOL: pl.Boolean(),
    Scalar.STRING: pl.String(),
    Scalar.BINARY: pl.Binary(),
    Scalar.TIMESTAMPTZ: pl.Datetime("us", "UTC"),
    Scalar.TIMESTAMP: pl.Datetime("us"),
    Scalar.DATE: pl.Date(),
    Scalar.TIME: pl.Time(),
}


def canonical(
    expr: pl.Expr,
    dtype: pl.DataType,
    name: str,
    was: Kind | None = None,
    codec: DocumentCodec | None = None,
) -> tuple[pl.Expr, Kind]:
    """Turn a typed result into canonical text, and say of which kind it is.

    `was` is the kind of the source column whose name the result bears: a document or an unbounded numeric,
    which are text here, become that again, the document as `codec` writes it.
    Raises: JobError for types that have no canonical text.
    """
    match dtype:
        case pl.String() if isinstance(was, Document):
            assert codec is not None, "who has documents knows who wrote them"
            return (text_documents if was.plain else parsed_json)(expr, codec), was
        case pl.String():
            return expr, Scalar.NUMBER if was is Scalar.NUMBER else Scalar.STRING
        case pl.Categorical() | pl.Enum() | pl.Null():
            return expr.cast(pl.String), Scalar.STRING
        case pl.Boolean():
            return pl.when(expr).then(pl.lit("true")).when(~expr).then(pl.lit("false")), Scalar.BOOL
        case pl.Int128() | pl.UInt128():
            return expr.cast(pl.String), Scalar.NUMBER
        case _ if dtype.is_integer():
            return expr.cast(pl.String), Scalar.INT
        case _ if dtype.is_float():
            return _float_text(expr), Scalar.FLOAT
        case pl.Decimal():
            return expr.cast(pl.String), Decimal(dtype.precision or 38, dtype.scale)
        case pl.Binary():
            return expr.bin.encode("base64"), Scalar.BINARY
        case pl.Date():
            return expr.dt.to_string("%Y-%m-%d").str.strip_prefix("+"), Scalar.DATE
        case pl.Time():
            return expr.dt.to_string("%H:%M:%S%.f").str.replace(_ZEROS, "$1"), Scalar.TIME
        case pl.Datetime() if dtype.time_zone is None:
            return _timestamp_text(expr), Scalar.TIMESTAMP
        case pl.Datetime():
            utc = expr.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            return _timestamp_text(utc) + "Z", Scalar.TIMESTAMPTZ
        case pl.List():
            inner = was.element if isinstance(was, ListOf) else None
            element, kind = canonical(pl.element(), _instance(dtype.inner), name, inner, codec)
            return expr.list.eval(element), ListOf(kind)
        case pl.Array():
            return canonical(expr.arr.to_list(), pl.List(dtype.inner), name, was, codec)
        case pl.Struct():
            return _struct_text(expr, dtype, name, was, codec)
        case _:
            raise JobError(
                f"{name} gives values of type {dtype}, which have no exact text; cast them to text"
            )


def _struct_text(
    expr: pl.Expr, dtype: pl.Struct, name: str, was: Kind | None, codec: DocumentCodec | None
) -> tuple[pl.Expr, Kind]:
    before = dict(was.fields) if isinstance(was, StructOf) else {}
    texts: list[pl.Expr] = []
    kinds: list[tuple[str, Kind]] = []
    names = [field.name for field in dtype.fields]
    for field in dtype.fields:
        value = field_of(expr, field.name, names)
        text, kind = canonical(value, _instance(field.dtype), name, before.get(field.name), codec)
        texts.append(text.alias(field.name))
        kinds.append((field.name, kind))
    return pl.when(expr.is_not_null()).then(pl.struct(texts)), StructOf(tuple(kinds))


def _instance(dtype: object) -> pl.DataType:
    assert isinstance(dtype, pl.DataType), "a schema's types are instances"
    return dtype


def _float_text(expr: pl.Expr) -> pl.Expr:
    shortest = expr.cast(pl.String).str.strip_suffix(".0")
    return (
        pl.when(expr.is_infinite())
        .then(pl.when(expr > 0).then(pl.lit("Infinity")).otherwise(pl.lit("-Infinity")))
        .otherwise(shortest)
    )


def _timestamp_text(expr: pl.Expr) -> pl.Expr:
    return expr.dt.to_string(_TIMESTAMP_FORMAT).str.strip_prefix("+").str.replace(_ZEROS, "$1")
