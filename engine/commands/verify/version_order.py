"""Versions as bytes of one length that compare as they do: the highest is found without their values. Pure.

Invariant: a rank that is whole is lower than another one exactly when its version is; one that isn't whole
decides nothing. Versions of different types can't be compared, and neither can their ranks.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.contracts.readback import ItemCodec

VersionRanks = npt.NDArray[np.bytes_]

RANK_BYTES = 64
"""A number of 38 digits takes 44 of them at most, a moment in text 40; longer texts aren't ranked whole."""


def ranks_of(codec: ItemCodec, versions: Sequence[Any]) -> tuple[VersionRanks, npt.NDArray[np.bool_]]:
    """Return the ranks of versions, and which of them are whole."""
    keys = [kind.encode() + key for kind, key in map(codec.version_key, versions)]
    whole = [len(key) <= RANK_BYTES and not key.endswith(b"\0") for key in keys]
    return np.array(keys, f"S{RANK_BYTES}"), np.array(whole, np.bool_)


def is_lower(codec: ItemCodec, one: Any, other: Any) -> bool:
    """Whether a version is lower than another one; of different types, none is."""
    (kind, key), (other_kind, other_key) = codec.version_key(one), codec.version_key(other)
    return kind == other_kind and key < other_key
