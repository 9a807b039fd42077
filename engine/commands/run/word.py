"""The user's word that each item key is one row's alone, held to what was written.

Invariant: a run that goes by the word ends as complete only if no two rows of what it read make one key. What
is noted as items go by says which keys to look at; that two rows make one is called so only where a second
look at the rows has shown it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from engine.batch import EncodedBatch, Segment, source_key_of
from engine.commands.hash_store import HashStore
from engine.commands.run.contest import NO_WINNERS, Winners, of_several_rows
from engine.commands.run.key_notes import NO_ROOM, WRITTEN
from engine.commands.run.key_pass import contested, key_pass, look_at, ranges
from engine.commands.run.prepare import Prepared
from engine.contracts.readback import Hashes
from engine.contracts.state import RunState
from engine.errors import JobError, PermanentError
from engine.hashes import among
from engine.report import FAILED_FOR_GOOD
from engine.run.voice import Voice

NOTES = "keys.written"
"""The directory of notes beside the checkpoint."""

_SAID = "though the job says that keys are unique"


class BrokenWord(PermanentError):
    """Two rows make one item though the job says that none do."""


def see_to_whole(run: RunState) -> None:
    """See that no earlier part of a run has found the word broken: mending the rows mends no item of theirs.

    Raises: JobError.
    """
    if run.outcome == FAILED_FOR_GOOD:
        raise JobError(f"this run can't be gone on with, since it has found that {run.error}")


async def held_to(
    prepared: Prepared, segments: Sequence[Segment], notes: Path | None, workers: int, voice: Voice
) -> None:
    """See that no two rows make one key. `notes`: where each of the workers noted what it wrote.

    Without notes, as after an interruption or where a worker died, all keys are looked at again.
    Raises: BrokenWord, and what reading raises.
    """
    if notes is None:
        voice.say(
            "this run was interrupted, or lost a worker, so whether keys are unique is seen by looking at all"
            " of them"
        )
        found = await key_pass(prepared, segments, NO_WINNERS, voice)
    else:
        store = HashStore(notes, WRITTEN, advice=NO_ROOM)
        for number in range(workers):
            store.adopt(notes / str(number))
        suspects = [np.empty(0, np.uint64)]
        suspects += [of_several_rows(together) async for together in ranges(store)]
        found = await contested(prepared, segments, np.concatenate(suspects), NO_WINNERS, voice)
    if isinstance(found, str):
        raise BrokenWord(f"{found}, {_SAID}; take `unique` out of the job, and start over with --fresh")
    if len(found):
        raise await _broken(prepared, segments, found, voice)


async def _broken(
    prepared: Prepared, segments: Sequence[Segment], found: Winners, voice: Voice
) -> BrokenWord:
    """Name two of the rows that make one key."""
    naming = _Naming(found.keys[:1], prepared)
    await look_at(prepared, segments, naming.note, voice)
    rows = " and ".join(", ".join(f"{name}={text}" for name, text in row.items()) for row in naming.rows[:2])
    return BrokenWord(
        f"the rows {rows} make one item, {' '.join(naming.key)}, and so do rows of {len(found) - 1:,} other"
        f" keys, {_SAID}: which of them is in the table is left to chance; take `unique` out of the job, or"
        " mend the rows, and start over with --fresh"
    )


class _Naming:
    """Takes down the rows that make a key."""

    def __init__(self, key: Hashes, prepared: Prepared) -> None:
        self._key = key
        self._row_key = prepared.ends.source.ticket.schema.key
        self._codec = prepared.ends.connector.codec(prepared.ends.target)
        self.rows: list[Mapping[str, str | None]] = []
        self.key: tuple[str, ...] = ()

    def note(self, encoded: EncodedBatch) -> None:
        for at in np.flatnonzero(among(encoded.key_hashes, self._key)).tolist():
            row = int(encoded.rows[at])
            others = encoded.coalesced_rows[encoded.survivor_rows == row].tolist()
            for each in sorted({row, *others}):
                self.rows.append(source_key_of(encoded.batch, self._row_key, each))
            sent = self._codec.sent(encoded, [at]).keys
            self.key = self._codec.key_texts(self._codec.key_of(sent[0]))
