"""Exact decimals as DynamoDB holds them, one value at a time.

Invariant: the text that comes out is the same number as the text that went in, whatever its flaw; nothing is
rounded. Equal numbers get equal texts.
"""

import re
from typing import NamedTuple

from connectors.dynamodb.limits import NUMBER_DIGITS_MAX, NUMBER_MAGNITUDE_MAX, NUMBER_MAGNITUDE_MIN

NUMBER_SIZE_MAX = 21
"""What an N counts at most; 38 digits and a sign in 20 pairs leave the sign's byte out.

Source: what DynamoDB Local charges.
"""
PLAIN_LENGTH_MAX = 40
"""Longer texts are written with an exponent; any 38 digits with a sign and a point fit without."""

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf(?:inity)?)", re.IGNORECASE | re.ASCII)
_EXPONENT_DIGITS_MAX = 9  # beyond any number that could be legal, and cheap to compute with


class Number(NamedTuple):
    """A number as DynamoDB takes it: its shortest exact text, its size in bytes, and why it can't be written.

    Shape: `flaw` is None or `reason: detail`; then `text` is what came in.
    """

    text: str
    size: int
    flaw: str | None


def number(text: str) -> Number:
    """Return the shortest exact decimal of a text, plain or with an exponent."""
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        if _NOT_FINITE.fullmatch(text):
            return Number(text, len(text), f"number_not_finite: {text} is no number that DynamoDB knows")
        return Number(text, len(text.encode()), f"value_unsupported: {_shown(text)} is not a number")
    sign, whole, fraction, power = match[1], match[2], match[3] or "", match[4] or "0"
    digits = (whole + fraction).lstrip("0")
    exponent = -len(fraction)
    significant = digits.rstrip("0")
    if not significant:
        return Number("0", 1, None)
    exponent += len(digits) - len(significant)
    if len(power.lstrip("+-0")) > _EXPONENT_DIGITS_MAX:
        return Number(text, len(text), _out_of_range(text))
    exponent += int(power)
    magnitude = exponent + len(significant) - 1
    if not NUMBER_MAGNITUDE_MIN <= magnitude <= NUMBER_MAGNITUDE_MAX:
        return Number(text, len(text), _out_of_range(text))
    if len(significant) > NUMBER_DIGITS_MAX:
        detail = f"{_shown(text)} has {len(significant)} significant digits, {NUMBER_DIGITS_MAX} are the most"
        return Number(text, len(text), f"number_precision: {detail}")
    negative = sign == "-"
    return Number(
        ("-" if negative else "") + _spelled(significant, exponent, magnitude),
        number_size(magnitude, exponent, negative=negative),
        None,
    )


def number_size(first: int, last: int, *, negative: bool) -> int:
    """Return what an N counts whose first and last significant digits stand at these powers of ten.

    A byte for each pair of digits, paired from the point, and one more: 15 counts 2, and 1.5 counts 3.
    Units: bytes; a negative number has one more for its sign.
    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html;
    how digits are paired is what DynamoDB Local charges.
    """
    return min(first // 2 - last // 2 + 2 + negative, NUMBER_SIZE_MAX)


def plain_size(text: str) -> int:
    """Return what a decimal without an exponent counts; zeros at its ends don't matter. Units: bytes."""
    whole, _, fraction = text.lstrip("-").partition(".")
    digits = whole + fraction
    ending = len(digits) - len(digits.rstrip("0"))
    if ending == len(digits):
        return 1
    first = len(digits.lstrip("0")) - len(fraction) - 1
    return number_size(first, ending - len(fraction), negative=text[0] == "-")


def _spelled(digits: str, exponent: int, magnitude: int) -> str:
    """Write digits times ten to the exponent: plain while that is short, else as d.dddE±n."""
    if exponent >= 0 and len(digits) + exponent <= PLAIN_LENGTH_MAX:
        return digits + "0" * exponent
    if magnitude >= 0 > exponent:
        return f"{digits[: magnitude + 1]}.{digits[magnitude + 1 :]}"
    if exponent < 0 and 1 - exponent < PLAIN_LENGTH_MAX:
        return "0." + "0" * (-magnitude - 1) + digits
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{mantissa}E{magnitude:+d}"


def _out_of_range(text: str) -> str:
    return (
        f"number_range: {_shown(text)} is outside ±1E{NUMBER_MAGNITUDE_MIN} to ±9.99…E+{NUMBER_MAGNITUDE_MAX}"
    )


def _shown(text: str) -> str:
    """Return a text short enough for a message."""
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"
