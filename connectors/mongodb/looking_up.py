"""Documents as they are now, and as they were, of changes that the log told: none is older than its change.

Invariant: of a key whose last change this is all documents that make it are found: none that does has changed
since that time, so it doesn't matter that each look is taken at a time of its own.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from itertools import accumulate

import numpy as np
import pyarrow as pa

from connectors.deciding import decided
from connectors.mongodb.changes import Changes
from connectors.mongodb.documents import read_columns
from connectors.mongodb.layout import FieldColumns
from connectors.mongodb.peers import PeerQuery
from connectors.mongodb.positions import position_text, position_value
from connectors.mongodb.query import in_commands
from connectors.mongodb.reading import CollectionReader
from engine.contracts.feed import Deciding
from engine.frozen import dataclass


@dataclass(frozen=True, slots=True)
class DocumentLookUps:
    """What looks changed documents up, and their peers."""

    columns: FieldColumns
    reader: CollectionReader
    peers: PeerQuery

    async def looked_up(
        self, part: Changes, by: Sequence[tuple[str, ...]], deciding: Deciding | None
    ) -> tuple[Sequence[pa.RecordBatch], int]:
        """Return documents as they were and behind them as they are, and how many the former are.

        With peers (`by`) as ChangeFeed.read says.
        """
        old = [await asyncio.to_thread(self._digest, part.old)] if part.old else []
        ids = [position_value(position_text(element)) for element in part.ids]
        now = list[pa.RecordBatch]()
        for some in in_commands([each] for each in ids):
            async with aclosing(self.reader.not_older(some, part.time)) as rows:
                now += [each async for each in rows]
        if by and ids:
            old += now
            where = await self.peers.besides(ids, by, old)
            now = await decided(old, self.reader.besides(where, part.time), deciding)
        return [*old, *now], sum(map(len, old))

    def _digest(self, old: Sequence[bytes]) -> pa.RecordBatch:
        starts = np.array([0, *accumulate(map(len, old[:-1]))], np.int64)
        return read_columns(self.columns, b"".join(old), starts)
