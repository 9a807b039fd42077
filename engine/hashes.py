"""Hashes in arrays: several as one, and some among others. Pure.

Invariant: the same hashes in the same order give the same one, in every process and version.
"""

from collections.abc import Iterable
from functools import reduce

import numpy as np
import numpy.typing as npt

_MIXER = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that multiplying by it loses nothing. Source: Knuth, TAOCP 6.4: 2**64 by the golden ratio."""


def folded(hashes: Iterable[npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    """Return one hash for each place of some arrays of hashes, of which there is one at least."""
    return reduce(lambda sofar, more: sofar * _MIXER + more, hashes)


def among(hashes: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return which of the hashes are among others, which are ascending."""
    if not len(wanted):
        return np.zeros(len(hashes), np.bool_)
    places = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
    found: npt.NDArray[np.bool_] = wanted[places] == hashes
    return found
