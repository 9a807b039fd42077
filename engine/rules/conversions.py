"""`as:`: the type that an attribute is to have.

Invariant: a conversion is exact, or the value is a flaw; the only one that gives up something is the fraction
below the unit of `epoch_s`, `epoch_ms` and `epoch_us`, which is rounded down.
"""

from collections.abc import Callable
from functools import partial

import polars as pl

from engine.contracts.documents import DocumentCodec
from engine.documents.reading import DocumentReader
from engine.errors import JobError
from engine.kinds import Decimal, Document, Kind, ListOf, Scalar, SetOf, StructOf
from engine.rules.typed import typed_scalar
from engine.rules.values import (
    UNSUPPORTED,
    ValueExpr,
    by_python,
    checked,
    described,
    json_texts,
    parsed_json,
    text,
    wire,
)

_TRUE, _FALSE = ["true", "t", "1"], ["false", "f", "0"]
_NUMBERS = {Scalar.INT, Scalar.NUMBER, Scalar.FLOAT}
_SETS = {"SS": Scalar.STRING, "NS": Scalar.NUMBER, "BS": Scalar.BINARY}
_MICROSECONDS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}


def converted(value: ValueExpr, wanted: str, name: str, codec: DocumentCodec) -> ValueExpr:
    """Return a value as the type that `as:` names.

    Raises: JobError when no value of that kind can become it.
    """
    result = _CONVERSIONS[wanted](value, wanted, name, codec)
    if result is None:
        raise JobError(f"{name} is {described(value.kind)}, which can't become {wanted}; change or drop `as`")
    return result


def _to_s(value: ValueExpr, _: str, name: str, codec: DocumentCodec) -> ValueExpr | None:
    return text(value, name, codec) if isinstance(value.kind, Scalar | Decimal | Document) else None


def _to_n(value: ValueExpr, _: str, name: str, codec: DocumentCodec) -> ValueExpr | None:
    match value.kind:
        case Decimal() | Scalar.INT | Scalar.NUMBER | Scalar.FLOAT:
            return value
        case Scalar.STRING:
            return ValueExpr(value.expr, Scalar.NUMBER, value.flaw)
        case Document():
            source = text(value, name, codec)
            return ValueExpr(source.expr, Scalar.NUMBER, source.flaw)
        case _:
            return None


def _to_b(value: ValueExpr, _: str, __: str, ___: DocumentCodec) -> ValueExpr | None:
    match value.kind:
        case Scalar.BINARY:
            return value
        case Scalar.STRING:
            return ValueExpr(value.expr.str.encode("base64"), Scalar.BINARY, value.flaw)
        case _:
            return None


def _to_bool(value: ValueExpr, _: str, name: str, codec: DocumentCodec) -> ValueExpr | None:
    if value.kind is Scalar.BOOL:
        return value
    if value.kind not in {Scalar.STRING, Scalar.INT} and not isinstance(value.kind, Document):
        return None
    source = text(value, name, codec)
    lower = source.expr.str.to_lowercase()
    truth = pl.when(lower.is_in(_TRUE)).then(pl.lit("true")).when(lower.is_in(_FALSE)).then(pl.lit("false"))
    return checked(source, truth, Scalar.BOOL, f"{UNSUPPORTED}: {name} is neither true nor false")


def _to_container(value: ValueExpr, wanted: str, name: str, codec: DocumentCodec) -> ValueExpr | None:
    if isinstance(value.kind, ListOf if wanted == "L" else StructOf):
        return value
    if not isinstance(value.kind, Document):
        return None
    present = wire(value, codec)
    what, affix = ("list", codec.notation.list) if wanted == "L" else ("map", codec.notation.map)
    fits = present.expr.str.starts_with(affix.before)
    return checked(present, pl.when(fits).then(value.expr), Document(), f"{UNSUPPORTED}: {name} is no {what}")


def _to_set(value: ValueExpr, wanted: str, name: str, codec: DocumentCodec) -> ValueExpr | None:
    kind = _SETS[wanted]
    if isinstance(value.kind, SetOf):
        return value if value.kind.element is kind else None
    if isinstance(value.kind, Document):
        fragment = wire(value, codec)
        texts = partial(DocumentReader(codec).texts_of, kind)
        members = by_python(fragment.expr, texts, pl.List(pl.String()))
        flaw = f"set_invalid: {name} isn't a list whose elements are all of type {wanted[0]}"
        return checked(fragment, members, SetOf(kind), flaw)
    if not isinstance(value.kind, ListOf) or not _fits_set(value.kind.element, kind):
        return None
    whole = value.expr
    if kind is Scalar.BINARY and value.kind.element is Scalar.STRING:
        whole = whole.list.eval(pl.element().str.encode("base64"))
    full = pl.when(~whole.list.eval(pl.element().is_null()).list.any()).then(whole)
    return checked(value, full, SetOf(kind), f"set_invalid: {name} holds a null, and a set can't")


def _fits_set(element: Kind, kind: Scalar) -> bool:
    match kind:
        case Scalar.STRING:
            return isinstance(element, Scalar | Decimal)
        case Scalar.NUMBER:
            return isinstance(element, Decimal) or element in _NUMBERS | {Scalar.STRING}
        case _:
            return element in {Scalar.BINARY, Scalar.STRING}


def _to_epoch(value: ValueExpr, wanted: str, name: str, codec: DocumentCodec) -> ValueExpr | None:
    match value.kind:
        case Scalar.DATE:
            moment = typed_scalar(value.expr, value.kind).cast(pl.Datetime("us"))
        case Scalar.TIMESTAMP | Scalar.TIMESTAMPTZ:
            moment = typed_scalar(value.expr, value.kind)
        case Document():
            value = text(value, name, codec)
            with_zone = typed_scalar(value.expr, Scalar.TIMESTAMPTZ).dt.replace_time_zone(None)
            moment = pl.coalesce(with_zone, typed_scalar(value.expr, Scalar.TIMESTAMP))
        case _:
            return None
    count = moment.dt.epoch("us").floordiv(_MICROSECONDS[wanted]).cast(pl.String)
    return checked(value, count, Scalar.INT, f"{UNSUPPORTED}: {name} is no moment that {wanted} can count to")


def _to_json(value: ValueExpr, _: str, __: str, codec: DocumentCodec) -> ValueExpr | None:
    if isinstance(value.kind, Document):
        return ValueExpr(json_texts(value.expr, codec), Document(), value.flaw)
    if value.kind is not Scalar.STRING:
        return None
    return ValueExpr(parsed_json(value.expr, codec), Document(), value.flaw)


_CONVERSIONS: dict[str, Callable[[ValueExpr, str, str, DocumentCodec], ValueExpr | None]] = {
    "S": _to_s,
    "N": _to_n,
    "B": _to_b,
    "BOOL": _to_bool,
    "L": _to_container,
    "M": _to_container,
    "SS": _to_set,
    "NS": _to_set,
    "BS": _to_set,
    "epoch_s": _to_epoch,
    "epoch_ms": _to_epoch,
    "epoch_us": _to_epoch,
    "json": _to_json,
}
