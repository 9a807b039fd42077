"""What of a batch a catch-up run is about: the items of keys that changed rows make, by whomever. Pure.

By the log these are keys that changed rows made, too.

Invariant: an item whose key a changed row makes is never left out. What is left out isn't counted, as if its
row hadn't been read.
"""

from dataclasses import replace

import numpy as np

from engine.batch import Batch, EncodedBatch
from engine.contracts.readback import Hashes
from engine.frozen import dataclass
from engine.hashes import among
from engine.run.settlement import row_hashes


@dataclass(frozen=True, slots=True)
class Touched:
    """The keys that changed rows make, and these rows.

    Shape: `keys` and `rows` are hashes, ascending; `row_key` the columns that tell a row, none where there is
    no key: then every row counts as changed.
    """

    keys: Hashes
    rows: Hashes
    row_key: tuple[str, ...]

    def of(self, encoded: EncodedBatch) -> EncodedBatch:
        """Return a batch with the items of these keys alone, and with the dead letters of these rows."""
        chosen = np.flatnonzero(among(encoded.key_hashes, self.keys))
        kept = encoded if len(chosen) == len(encoded) else encoded.subset(chosen)
        skipped, letter_rows, letters = encoded.skipped_rows, encoded.letter_rows, encoded.dead_letters
        if self.row_key and (len(skipped) or len(letters)):
            changed = among(every_row(encoded.batch, self.row_key), self.rows)
            told = changed[letter_rows]
            letters = tuple(letters[at] for at in np.flatnonzero(told).tolist())
            skipped, letter_rows = skipped[changed[skipped]], letter_rows[told]
        return replace(
            kept,
            emitted=len(chosen) + len(letters) + len(skipped) + encoded.coalesced,
            dead_letters=letters,
            letter_rows=letter_rows,
            skipped_rows=skipped,
        )


def every_row(batch: Batch, row_key: tuple[str, ...]) -> Hashes:
    """Return a hash of what tells each row of a batch, the same in every batch."""
    return row_hashes(batch, row_key, np.arange(batch.rows.num_rows, dtype=np.uint32))
