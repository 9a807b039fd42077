"""What a pass over keys keeps of each batch: hashes of all keys, or all that is to be known of some.

The pass goes through the pipeline as a run does; in the place of the target stands KeyNotes, which encodes as
the target does, so that keys, flaws and what is left out are those of the run, and writes nothing.

Invariant: every item that the run would write is noted once. What a batch left out for a later row of its own
is not, and its key counts as met, since other batches may part the two.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from engine.batch import Batch, EncodedBatch, Fates, WriteReport
from engine.commands.ends import Ends
from engine.commands.hash_store import HashStore
from engine.contracts.readback import Hashes, ItemCodec
from engine.contracts.target import Target
from engine.contracts.transform import RuleItems
from engine.errors import PermanentError
from engine.frozen import dataclass
from engine.hashes import among
from engine.meter import Meter
from engine.own_files import made
from engine.run.letters import LETTERS_WINDOW_BYTES, LetterWindow
from engine.run.pipeline import Stages
from engine.run.settlement import row_hashes

HASH = np.dtype(np.uint64)
CONTENDER = np.dtype(
    [
        ("key", np.uint64),
        ("text", np.uint64, (2,)),
        ("place", np.uint64),
        ("row", np.uint64),
        ("met", np.bool_),
    ]
)
"""An item whose key may be another row's too. `text` is a digest of the key's values, `place` goes up in the
order of the source, `row` is the row's hash; `met`: another row of its batch makes the key."""

NO_ROOM = "--state names another place, on a disk with 8 bytes for each item"

_PARSED_AT_ONCE = 1_000
_ROWS, _BATCHES, _SEGMENTS = 22, 26, 16
"""Bits of a place: the row in its batch, the batch in its segment, the segment."""

Note = Callable[[EncodedBatch], None]

WRITTEN = np.dtype([("key", np.uint64), ("row", np.uint64)])
"""An item that is written where the user says that keys are one row's alone."""


class KeyNotes:
    """A target that notes keys; see contracts.Target."""

    def __init__(self, target: Target, note: Note) -> None:
        self._target = target
        self._note = note

    def encode(self, batch: Batch, items: Sequence[RuleItems]) -> EncodedBatch:
        """Turn items into wire text, as the target does."""
        return self._target.encode(batch, items)

    async def write(self, encoded: EncodedBatch) -> WriteReport:
        """Note the items' keys."""
        self._note(encoded)
        deletes = int(encoded.deletes.sum())
        return WriteReport(len(encoded) - deletes, deletes, 0, ())

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        """Return None: a batch is noted whole."""
        del encoded
        return None

    def drain(self) -> None:
        """Do nothing: nothing is in flight."""

    def flush(self) -> None:
        """Do nothing: nothing waits."""

    def limit(self, units_per_s: float | None) -> None:
        """Do nothing: nothing is written."""

    async def close(self) -> None:
        """Do nothing: the target is its owner's."""


@dataclass(frozen=True, slots=True)
class NotesOrder:
    """What a worker notes: every key's hash, or with `suspects` (a file of hashes) all of those keys."""

    directory: str
    suspects: str | None


def noting(ends: Ends, line: Stages, order: NotesOrder) -> tuple[Stages, HashStore]:
    """Return stages that note instead of writing, and where to; flush that behind the last batch."""
    directory = Path(order.directory)
    made(directory.parent, directory.name)
    apart = replace(line, gate=None, settle=None, meter=Meter(), letters=LetterWindow(LETTERS_WINDOW_BYTES))
    if order.suspects is None:
        store = HashStore(directory, HASH, advice=NO_ROOM)
        target = KeyNotes(line.target, hashes_into(store))
        return replace(apart, target=target, transform=ends.keys_alone()), store
    store = HashStore(directory, CONTENDER, advice=NO_ROOM)
    suspects = np.fromfile(order.suspects, np.uint64)
    codec = ends.connector.codec(ends.target)
    note = contenders_into(store, suspects, ends.source.ticket.schema.key, codec)
    return replace(apart, target=KeyNotes(line.target, note)), store


def checking(ends: Ends, line: Stages, directory: Path) -> tuple[Stages, HashStore]:
    """Return stages that note what they write, and where to; flush that behind the last batch."""
    made(directory.parent, directory.name)
    store = HashStore(directory, WRITTEN, advice=NO_ROOM)
    return replace(line, settle=written_into(store, ends.source.ticket.schema.key)), store


def written_into(store: HashStore, row_key: Sequence[str]) -> Callable[[EncodedBatch], EncodedBatch]:
    """Return what notes the items of each batch on its way to the target; one whose key is met there twice.

    A row that is met in its own batch is noted as no row's too, so that its key has two.
    """

    def passed(encoded: EncodedBatch) -> EncodedBatch:
        found = np.empty(len(encoded), WRITTEN)
        found["key"] = encoded.key_hashes
        found["row"] = row_hashes(encoded.batch, row_key, encoded.rows)
        store.add(found)
        if (met := _met(encoded)).any():
            again = found[met]
            again["row"] = 0
            store.add(again)
        if store.full:
            store.flush()
        return encoded

    return passed


def hashes_into(store: HashStore) -> Note:
    """Return what notes the hash of every key; one that is met in its batch twice."""

    def note(encoded: EncodedBatch) -> None:
        store.add(encoded.key_hashes)
        if (met := _met(encoded)).any():
            store.add(encoded.key_hashes[met])
        if store.full:
            store.flush()

    return note


def contenders_into(store: HashStore, suspects: Hashes, row_key: Sequence[str], codec: ItemCodec) -> Note:
    """Return what notes the items whose keys' hashes are among the suspects."""

    def note(encoded: EncodedBatch) -> None:
        chosen = np.flatnonzero(among(encoded.key_hashes, suspects))
        if not len(chosen):
            return
        found = np.zeros(len(chosen), CONTENDER)
        found["key"] = encoded.key_hashes[chosen]
        found["text"] = _digests(encoded, chosen, codec)
        found["place"] = _places(encoded, encoded.rows[chosen])
        found["row"] = row_hashes(encoded.batch, row_key, encoded.rows[chosen])
        found["met"] = _met(encoded)[chosen]
        store.add(found)
        if store.full:
            store.flush()

    return note


def _met(encoded: EncodedBatch) -> npt.NDArray[np.bool_]:
    """Return which items are of rows that an item of another row was left out for: those, or a few more."""
    others = encoded.survivor_rows[encoded.coalesced_rows != encoded.survivor_rows]
    return np.isin(encoded.rows, others)


def _digests(encoded: EncodedBatch, chosen: npt.NDArray[np.intp], codec: ItemCodec) -> Hashes:
    found = []
    for start in range(0, len(chosen), _PARSED_AT_ONCE):
        sent = codec.sent(encoded, chosen[start : start + _PARSED_AT_ONCE].tolist())
        found += [
            blake2b(orjson.dumps(codec.key_texts(codec.key_of(item))), digest_size=16).digest()
            for item in sent.keys
        ]
    return np.frombuffer(b"".join(found), np.uint64).reshape(-1, 2)


def _places(encoded: EncodedBatch, rows: npt.NDArray[np.uint32]) -> Hashes:
    segment, sequence = encoded.batch.segment, encoded.batch.sequence
    if segment >= 1 << _SEGMENTS or sequence >= 1 << _BATCHES or encoded.batch.rows.num_rows > 1 << _ROWS:
        raise PermanentError("source: too many segments or batches to tell their order; set source.segments")
    base = (segment << (_BATCHES + _ROWS)) + (sequence << _ROWS)
    return rows.astype(np.uint64) + np.uint64(base)
