"""Which row's item stands for a key that several rows make: found out before anything is written. Pure.

    settlement.applied(encoded)  # the batch without the items that another row's item stands for

Invariant: of the rows that make a contested key exactly one is the winner, in every process and whatever the
batches are; an item whose key isn't contested is never left out.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.batch import Batch, EncodedBatch
from engine.contracts.readback import Hashes
from engine.frozen import dataclass
from engine.hashes import among, folded

_ROW_SEED = 101


@dataclass(frozen=True, slots=True)
class Settlement:
    """The contested keys and their winners.

    Shape: `keys` the keys' hashes, ascending; `winners` beside each the hash of the row that makes its item;
    `row_key` the source columns that tell a row.
    """

    keys: Hashes
    winners: Hashes
    row_key: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def applied(self, encoded: EncodedBatch) -> EncodedBatch:
        """Return a batch without the items of losers."""
        contested = np.flatnonzero(among(encoded.key_hashes, self.keys))
        if not len(contested):
            return encoded
        losers = contested[~self._wins(encoded, contested)]
        return encoded.without(losers) if len(losers) else encoded

    def alone(self, encoded: EncodedBatch) -> EncodedBatch:
        """Return a batch with nothing but the winners' items."""
        stays = np.zeros(len(encoded), np.bool_)
        contested = np.flatnonzero(among(encoded.key_hashes, self.keys))
        stays[contested[self._wins(encoded, contested)]] = True
        return encoded.without(np.flatnonzero(~stays))

    def _wins(self, encoded: EncodedBatch, chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        at = np.searchsorted(self.keys, encoded.key_hashes[chosen])
        rows = row_hashes(encoded.batch, self.row_key, encoded.rows[chosen])
        found: npt.NDArray[np.bool_] = rows == self.winners[at]
        return found


def row_hashes(batch: Batch, row_key: Sequence[str], rows: npt.NDArray[np.uint32]) -> Hashes:
    """Return a hash of what tells each of these rows, the same in every batch."""
    assert row_key, "rows without a key can't be told apart"
    chosen = pl.Series(rows)
    parts = [pl.Series(batch.rows.column(name)).gather(chosen) for name in row_key]
    return folded(part.hash(_ROW_SEED + place).to_numpy() for place, part in enumerate(parts))
