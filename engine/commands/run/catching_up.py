"""A catch-up run of a job in which several rows may make one item: which rows it reads, what it writes.

Such a run is about the keys that changed rows make. A row that hasn't changed may win one; so all rows that
may make it are read, in order, as a full run reads them, and of what they make the items of these keys are
written.

Invariant: of each key that a changed row makes, the item that a full run would have written last is written
last; where the rows that make a key can't be found, nothing is written.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from engine.batch import Batch, Cursor, Segment
from engine.commands.ends import Ends
from engine.commands.hash_store import PART_RECORDS, HashStore
from engine.commands.peers import needed, refusal
from engine.contracts.readback import Hashes
from engine.contracts.source import PeerReading, Sharing, Source
from engine.errors import JobError
from engine.frozen import dataclass
from engine.rules.peers import Untold
from engine.run.pipeline import Stages
from engine.run.touched import Touched, every_row
from engine.run.voice import Voice

WHOLE = Segment(0, None, None, None)
NO_ROOM = "TMPDIR names another place, on a disk with 16 bytes for each changed item"


async def caught_up(stack: AsyncExitStack, ends: Ends, line: Stages, voice: Voice) -> Stages:
    """Return the stages of a catch-up run, which reads the rows that may make the same items besides.

    Raises: JobError where those can't be found.
    """
    found = needed(ends)
    if found is None:
        return line
    if isinstance(found, Untold):
        raise JobError(refusal(ends, found))
    peers = ends.source.abilities.peers
    assert peers is not None, "it has been asked"
    for text in await ends.source.abilities.peers_cost(found):
        voice.warn(text)
    touched = await _touched(stack, ends, line)
    voice.note(
        f"the changed rows make {len(touched.keys):,} keys that other rows may make, too: those that share"
        f" {' or '.join(' and '.join(names) for names in found.by)} are read besides"
    )
    return replace(line, source=_WithPeers(ends.source, peers, found), settle=touched.of)


async def _touched(stack: AsyncExitStack, ends: Ends, line: Stages) -> Touched:
    """Read the changed rows for the keys that they make, also where their items can't be written.

    Raises: what reading them raises.
    """
    row_key = ends.source.ticket.schema.key
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="backfill-touched-")))
    keys, rows = (_store(folder / name) for name in ("keys", "rows"))
    transform = ends.keys_alone()
    target = await ends.plain_target(transform.rules)

    def taken(batch: Batch) -> None:
        keys.add(target.encode(batch, transform(batch)).key_hashes)
        if row_key:
            rows.add(every_row(batch, row_key))
        for store in (keys, rows):
            if store.full:
                store.flush()

    try:
        async with aclosing(ends.source.read(WHOLE, None)) as batches:
            async for batch in batches:
                await asyncio.get_running_loop().run_in_executor(line.threads, taken, batch)
    finally:
        await target.close()
    return Touched(_ascending(folder / "keys", keys), _ascending(folder / "rows", rows), row_key)


def _store(folder: Path) -> HashStore:
    folder.mkdir()
    return HashStore(folder, np.dtype(np.uint64), advice=NO_ROOM)


def _ascending(folder: Path, store: HashStore) -> Hashes:
    """Return what a store holds, each hash once: in memory, or mapped where that is a lot."""
    path = folder / "ascending"
    with path.open("wb") as file:
        for together in store.merged():
            np.unique(together).tofile(file)
    if path.stat().st_size <= PART_RECORDS * 8:
        return np.fromfile(path, np.uint64)
    return np.memmap(path, np.uint64, "r")


@dataclass(frozen=True, slots=True)
class _WithPeers:
    """A source's reading that gives peers besides; see contracts.RowReading."""

    source: Source
    peers: PeerReading
    sharing: Sharing

    @property
    def notices(self) -> Sequence[str]:
        """The source's."""
        return self.source.notices

    def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        """Read the changed rows of a segment, and their peers."""
        return self.peers.read_with_peers(self.sharing, segment, after)
