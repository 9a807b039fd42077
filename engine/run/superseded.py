"""What of a batch's old keys stays a delete: those that no row makes any more. Pure.

    superseded.of(encoded)  # behind the encoder, which leaves out deletes of keys that a good item has

Invariant: no key is deleted that a changed row makes now, also where its item can't be written: then what was
written of it before stays, and the dead letter says so. Old rows count for nothing but the deletes that are
sent.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.batch import Batch, DeadLetter, EncodedBatch
from engine.contracts.readback import Hashes
from engine.frozen import dataclass
from engine.hashes import among
from engine.run.touched import Touched

STAYS = "; what an earlier run wrote under this key stays as it was"
UNLESS = " unless another row makes it"


@dataclass(frozen=True, slots=True)
class Superseded:
    """`keys_of` gives the hashes of all keys that the rows of a batch make by the rule of that name.

    `touched` is there where rows stand in batches besides that only share values with changed ones, and says
    what a batch is about.
    """

    keys_of: Callable[[Batch, str], Hashes]
    touched: Callable[[Batch], Touched] | None = None

    def of(self, encoded: EncodedBatch) -> EncodedBatch:
        """Return a batch without deletes of keys that its rows make."""
        old = encoded.batch.old
        if not old:
            return encoded
        stays = STAYS
        if self.touched is not None:
            encoded, stays = self.touched(encoded.batch).of(encoded), STAYS + UNLESS
        told = encoded.letter_rows >= old
        letters = tuple(
            replace(letter, detail=letter.detail + stays)
            for letter, known in zip(encoded.dead_letters, told.tolist(), strict=True)
            if known
        )
        letter_rows = encoded.letter_rows[told]
        kept = encoded
        if letters:
            made = np.sort(np.concatenate(list(self._made(encoded.batch, letters, letter_rows))))
            gone = (encoded.rows < old) & among(encoded.key_hashes, made)
            kept = encoded.subset(np.flatnonzero(~gone))
        counted = encoded.coalesced_rows >= old
        skipped = encoded.skipped_rows[encoded.skipped_rows >= old]
        return replace(
            kept,
            emitted=len(kept) + len(letters) + len(skipped) + int(counted.sum()),
            dead_letters=letters,
            letter_rows=letter_rows,
            skipped_rows=skipped,
            coalesced_rows=encoded.coalesced_rows[counted],
            survivor_rows=encoded.survivor_rows[counted],
        )

    def _made(
        self, batch: Batch, letters: Sequence[DeadLetter], rows: npt.NDArray[np.uint32]
    ) -> Iterator[Hashes]:
        """Yield the hashes of the keys that rows make by the rules whose items of them are dead letters."""
        names = np.array([letter.rule for letter in letters])
        for name in dict.fromkeys(names.tolist()):
            chosen = batch.rows.take(pa.array(np.unique(rows[names == name])))
            yield self.keys_of(replace(batch, rows=chosen, old=0), name)
