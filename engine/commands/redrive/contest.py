"""Items of dead letters whose keys other rows may make, too: all these rows are written in their order.

Invariant: of each key of a letter's row the item that a load would have written last is written last; no two
writes of one key are under way together.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace

import numpy as np

from engine.batch import Cursor, DeadLetter, Segment
from engine.commands.redrive.report import RedriveReport
from engine.contracts.source import PeerReading, Sharing
from engine.contracts.target import written
from engine.frozen import dataclass
from engine.run.pipeline import Stages

ROWS_AT_ONCE = 500
"""Rows whose peers are asked for together: the statement stays short."""
_WHOLE = Segment(0, None, None, None)


@dataclass(frozen=True, slots=True)
class Contest:
    """The rows that may make one key, as they find each other."""

    stages: Stages
    peers: PeerReading
    sharing: Sharing

    async def write(
        self,
        keys: Mapping[Cursor, Iterable[int]],
        report: RedriveReport,
        fail: Callable[[DeadLetter], None],
    ) -> None:
        """Write the items of some rows' keys (as hashes), whoever makes them; `fail` is told of refusals."""
        target = self.stages.target
        rows = list(keys)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = tuple(rows[start : start + ROWS_AT_ONCE])
            wanted = np.array([key for row in some for key in keys[row]], np.uint64)
            reading = self.peers.read_with_peers(replace(self.sharing, of=some), _WHOLE, None)
            async with aclosing(reading) as batches:
                async for batch in batches:
                    encoded = target.encode(batch, self.stages.transform(batch))
                    chosen = np.flatnonzero(np.isin(encoded.key_hashes, wanted))
                    found = await written(target, encoded.subset(chosen))
                    report.add(found)
                    for letter in found.dead_letters:
                        fail(letter)
