"""Versions as bytes that compare as the versions do, so that the highest one is found without their values.

Invariant: a rank that is whole is lower than another one exactly when its version is; one that isn't whole
decides nothing. Versions of different types can't be compared, and neither can their ranks. Pure.
"""

from base64 import b64decode
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engine.commands.verify.values import Item
from engine.wire.numbers import MAGNITUDE_MAX, MAGNITUDE_MIN, number

Ranks = npt.NDArray[np.bytes_]

RANK_BYTES = 64
"""A number takes 44 of them at most, a moment in text at most 40; longer texts aren't ranked whole."""

_NINES = bytes.maketrans(b"0123456789", b"9876543210")
_BEHIND_DIGITS = b"~"


def ranks_of(versions: Sequence[Item]) -> tuple[Ranks, npt.NDArray[np.bool_]]:
    """Return the ranks of versions, and which of them are whole."""
    texts = [_rank(version) for version in versions]
    whole = [len(text) <= RANK_BYTES and not text.endswith(b"\0") for text in texts]
    return np.array(texts, f"S{RANK_BYTES}"), np.array(whole, np.bool_)


def _rank(version: Item) -> bytes:
    ((kind, content),) = version.items()
    match kind:
        case "N":
            return b"N" + _number(content)
        case "S":
            text: str = content
            return b"S" + text.encode()
        case "B":
            octets: bytes = b64decode(content)
            return b"B" + octets
        case _:
            return kind.encode()


def _number(text: str) -> bytes:
    """Spell a number as sign, magnitude and digits; what is negative turned round."""
    shortest = number(text).text
    mantissa, _, power = shortest.lstrip("-").partition("E")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return b"1"
    magnitude = len(digits) - len(fraction) - 1 + int(power or 0) - MAGNITUDE_MIN
    significant = digits.rstrip("0").encode()
    if not shortest.startswith("-"):
        return b"2%03d" % magnitude + significant
    turned = MAGNITUDE_MAX - MAGNITUDE_MIN - magnitude
    return b"0%03d" % turned + significant.translate(_NINES) + _BEHIND_DIGITS
