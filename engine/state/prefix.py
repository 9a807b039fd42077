"""How far the rows of a batch that is being written are settled: what of it a mark may cover. Pure.

Invariant: a prefix ends where the source can go on reading; every item of its rows is settled, and none of
them was left out for an item that isn't in the table yet.
"""

from itertools import chain

import numpy as np

from engine.batch import (
    DELETED,
    OPEN,
    REFUSED,
    SKIPPED,
    WRITTEN,
    Counts,
    Cursor,
    DeadLetter,
    EncodedBatch,
    Fates,
)
from engine.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first `rows` rows of a batch, all settled, and the cursor behind them."""

    rows: int
    end: Cursor
    counts: Counts
    dead_letters: tuple[DeadLetter, ...]


def settled_prefix(encoded: EncodedBatch, fates: Fates) -> Prefix | None:
    """Return the longest prefix that is settled; None where there is none, or the whole batch is settled."""
    at = _cut(encoded, fates)
    if at is None:
        return None
    rows, end = at
    tally = np.bincount(fates.fates[fates.rows < rows], minlength=REFUSED + 1).tolist()
    letters = chain(zip(encoded.letter_rows.tolist(), encoded.dead_letters, strict=True), fates.letters)
    dead_letters = tuple(letter for row, letter in letters if row < rows)
    skipped = tally[SKIPPED] + int((encoded.skipped_rows < rows).sum())
    coalesced = int((encoded.coalesced_rows < rows).sum())
    settled = tally[WRITTEN] + tally[DELETED] + skipped + coalesced + len(dead_letters)
    counts = Counts(
        rows_read=rows,
        items_emitted=settled,
        items_written=tally[WRITTEN],
        items_deleted=tally[DELETED],
        items_skipped=skipped,
        items_coalesced=coalesced,
        items_dead_lettered=len(dead_letters),
    )
    return Prefix(rows, end, counts, dead_letters)


def _cut(encoded: EncodedBatch, fates: Fates) -> tuple[int, Cursor] | None:
    """Return how many rows the prefix has, and its cursor."""
    waiting = fates.rows[fates.fates == OPEN]
    if not len(waiting) or encoded.batch.cuts is None:
        return None
    row = int(waiting.min())
    while (at := encoded.batch.cuts.before(row)) is not None:
        torn = (encoded.coalesced_rows < at[0]) & (encoded.survivor_rows >= at[0])
        if not torn.any():
            return at
        row = int(encoded.coalesced_rows[torn].min())
    return None
