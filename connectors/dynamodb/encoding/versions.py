"""What mode newer compares: whether DynamoDB's order of it is the order that is meant. Pure.

Invariant: a version passes only where its bytes, or its number, sort as what it says. DynamoDB compares text
byte by byte, so texts of varying length (a fraction only when it isn't zero, years of five digits, numbers as
text) put newer ones behind older ones: a kind whose texts vary is refused, a single text that does is a flaw.
"""

from collections.abc import Sequence

import polars as pl

from connectors.dynamodb.encoding.keys import type_letters
from connectors.dynamodb.encoding.values import NULL_WIRE, Values
from engine.contracts.transform import Attribute
from engine.errors import JobError
from engine.kinds import Kind, Scalar

_VARYING = {
    Scalar.TIMESTAMPTZ: "10:00:00.5Z sorts before 10:00:00Z",
    Scalar.TIMESTAMP: "a year of five digits sorts before one of four",
    Scalar.TIME: "a fraction is there only when it isn't zero",
}
_DAY = r"^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|-?infinity)$"
_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$|^[+-]?(?:NaN|Infinity)$"
_MOMENT = r"^[+-]?[0-9]{4,}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:"
_FIXED_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}\.(?:[0-9]{3}|[0-9]{6})Z?$"
_MICROSECONDS = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z?$"
_TEXT = '{"S":"'

_COMPARED = "value_unsupported: mode newer compares it, and"
_NULL_FLAW = f"{_COMPARED} it is null"
_TYPE_FLAW = f"{_COMPARED} it is no S, N or B"
_DAY_FLAW = f"{_COMPARED} days of other years than 0000 to 9999 sort wrongly as text"
_NUMBER_FLAW = f"{_COMPARED} as text 9 is more than 10; give it `as: N`"
_MOMENT_FLAW = (
    f"{_COMPARED} moments as text sort wrongly where fractions differ in length; give it `as: epoch_us`, or"
    " `as: epoch_ms` where it is a BSON date"
)


def check_version(name: str | None, rule: int, attributes: Sequence[Attribute]) -> None:
    """Check what can be checked without values. Raises: JobError that names the rule by its number."""
    version = next((each for each in attributes if each.name == name), None)
    if version is None:
        raise JobError(f"target.version: items[{rule}] has no attribute {name}; add it to `attributes`")
    if type_letters(version.kind) not in ("S", "N", "B", None):
        raise JobError(f"target.version: {name} of items[{rule}] must be S, N or B to be compared")
    if isinstance(version.kind, Scalar) and version.kind in _VARYING:
        raise JobError(
            f"target.version: {name} of items[{rule}] is a {version.kind.value} as text, and DynamoDB"
            f" compares text byte by byte ({_VARYING[version.kind]}), so newer rows would be skipped; give it"
            f' a fixed length: {name}: {{value: "{{…}}", as: epoch_us}}, or {{…:%Y-%m-%dT%H:%M:%S.%fZ}}'
        )


def version_flaws(version: Values, kind: Kind) -> dict[int, str]:
    """Return the flaws of versions that can't be compared as they are meant, by row."""
    whole, text = not version.before, pl.col("text")
    checks = [(text.is_null() | (text == NULL_WIRE), _NULL_FLAW)]
    if whole:
        checks.append((~text.str.contains(r'^\{"[SNB]":'), _TYPE_FLAW))
    if kind is Scalar.DATE:
        checks.append((~text.str.contains(_DAY), _DAY_FLAW))
    elif whole or version.before == _TEXT:
        inner = text.str.strip_suffix('"}').str.strip_prefix(_TEXT) if whole else text
        texts = text.str.starts_with(_TEXT) if whole else pl.lit(value=True)
        fixed = _FIXED_MOMENT if kind is Scalar.STRING else _MICROSECONDS
        checks.append((texts & inner.str.contains(_NUMBER), _NUMBER_FLAW))
        checks.append((texts & inner.str.contains(_MOMENT) & ~inner.str.contains(fixed), _MOMENT_FLAW))
    found = pl.coalesce([pl.when(check).then(pl.lit(flaw)) for check, flaw in checks])
    flaws = pl.DataFrame({"text": version.text}).select(found).to_series()
    at = flaws.is_not_null().arg_true()
    return dict(zip(at.to_list(), flaws.gather(at).to_list(), strict=True))
