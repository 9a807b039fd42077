"""Who wins a contested key: from what a pass over keys has noted to the settlement. Pure.

Invariant: a winner is the row that would stand in the target had all rows been written in order: the last one
in the order of the source's key, or the first where what is there stays. What can't be told for sure (two
keys with one hash, two rows that look alike) settles nothing.
"""

import numpy as np

from engine.commands.hash_store import Records, repeated, taken
from engine.contracts.readback import Hashes
from engine.frozen import dataclass

CONTESTED_MAX = 1_000_000
"""Contested keys of which each process keeps the winners: 16 bytes each."""

_NONE: Hashes = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Winners:
    """Keys with the row that wins each. Shape: `keys` hashes, ascending; `rows` the rows' hashes."""

    keys: Hashes
    rows: Hashes

    def __len__(self) -> int:
        return len(self.keys)

    def joined(self, newer: "Winners") -> "Winners":
        """Return both; of a key in both the newer one's row."""
        keys = np.concatenate((newer.keys, self.keys))
        found, at = np.unique(keys, return_index=True)
        return Winners(found, np.concatenate((newer.rows, self.rows))[at])

    def unlike(self, earlier: "Winners") -> "Winners":
        """Return those that an earlier settlement doesn't have so."""
        if not len(earlier):
            return self
        at = np.minimum(np.searchsorted(earlier.keys, self.keys), len(earlier) - 1)
        other = (earlier.keys[at] != self.keys) | (earlier.rows[at] != self.rows)
        return Winners(self.keys[other], self.rows[other])


NO_WINNERS = Winners(_NONE, _NONE)


def met_twice(together: Hashes) -> Hashes:
    """Return the hashes that occur more than once. Shape: a range of `HashStore.merged`."""
    starts, counts = repeated(together)
    return together[starts[counts > 1]]


def of_several_rows(together: Records) -> Hashes:
    """Return the keys that several rows wrote. Shape: a range of `HashStore.merged` of key_notes.WRITTEN."""
    at = taken(together, np.lexsort((together["row"], together["key"])))
    same = at["key"][1:] == at["key"][:-1]
    return np.unique(at["key"][1:][same & (at["row"][1:] != at["row"][:-1])])


def settle(together: Records, *, first: bool, always: Hashes = _NONE) -> Winners | str:
    """Return the winner of each contested key, or why they can't be told.

    Shape: `together` is a range of `HashStore.merged` of key_notes.CONTENDER. `first`: the first row wins.
    `always`: keys whose one row is told too, though nobody contests it.
    """
    at = taken(together, np.lexsort((together["place"], together["key"])))
    starts, counts = repeated(at)
    if not len(starts):
        return NO_WINNERS
    contested = (counts > 1) | np.logical_or.reduceat(at["met"], starts)
    why = _unsure(at)
    if why is not None:
        return why
    wanted = contested | np.isin(at["key"][starts], always)
    winners = starts if first else starts + counts - 1
    return Winners(at["key"][starts[wanted]], at["row"][winners[wanted]])


def _unsure(at: Records) -> str | None:
    """Say why keys that several items have can't be settled; `at` by key and place."""
    same = at["key"][1:] == at["key"][:-1]
    if (same & (at["text"][1:] != at["text"][:-1]).any(axis=1)).any():
        return "two keys have one hash"
    by_row = at[np.lexsort((at["row"], at["key"]))]
    alike = (by_row["key"][1:] == by_row["key"][:-1]) & (by_row["row"][1:] == by_row["row"][:-1])
    return "rows that make one key have the same source.key" if alike.any() else None
