"""From peeks into a slot to batches: what one reading of a log has handed over, and what of it is durable.

Invariant: a batch's rows are read in a snapshot that sees every transaction of the batch; nothing is handed
over of a log that somebody else has moved on beyond what was read.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import field

import pyarrow as pa

from connectors.log_progress import LogProgress
from connectors.postgres import slot_reading
from connectors.postgres.gathering import Gathering, LogPart
from connectors.postgres.logged import Logged
from connectors.postgres.looking_up import LookUps
from connectors.postgres.slot_reading import SlotReader, number_of, text_of
from connectors.postgres.slots import Slot
from engine.batch import Batch
from engine.clock import utc_at
from engine.contracts.feed import LogPlace
from engine.errors import TransientError
from engine.frozen import dataclass

PART_BYTES = 4_000_000
"""What is needed of rows as they were, as text of one statement."""
POLL_S = 0.25
"""How long a log that was read to its end is left alone, looking up what was in it included; no less than
the peek took, since each decodes from where the oldest transaction that is open began (docs/decisions.md)."""
AHEAD_BYTES = 16_000_000
"""From so much log on that a job has read and others of its slot have not, it reads through a copy of the
slot: each peek decodes all from where the slot stands."""
QUIET_S = 2.0
"""How often a log that has nothing for us brings a batch without rows: the checkpoint says that nothing is
missing, and the slot moves on behind it."""


@dataclass(slots=True)
class LogReading:
    """One reading of a segment of the log. `in_place` raises where a slot is beyond a position.

    `position`: all before it was handed over, in batches up to `number`. Units: `at_s` since 1970, as in
    LogPart; `moved_s` and `peeked_s`, the end of the last peek, by the loop's clock.
    """

    slot: SlotReader
    look_ups: LookUps
    progress: LogProgress
    no_rows: pa.RecordBatch
    in_place: Callable[[Slot | None, int], None]
    segment: int
    position: int
    number: int
    at_s: float = 0.0
    sequence: int = 0
    moved_s: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    peeked_s: float = 0.0
    peek_s: float = 0.0
    drained: bool = False

    async def batches(self, tables: Logged, until: int | None) -> AsyncGenerator[Batch, None]:
        """Peek once: up to a position, or to where the log ends now; at most what a peek takes.

        Raises: PermanentError, TransientError.
        """
        clock = asyncio.get_running_loop().time
        now = await self.slot.now(number_of(self.progress.durable.position))
        self.progress.clock_is(now.clock_s)
        self.progress.held_back_bytes = now.held_back
        limit = now.position if until is None else until
        if not self.slot.crowded and self._far_ahead(now.slot):
            await self.slot.go_ahead(self.position)
        began, began_s = self.position, clock()
        gathering = Gathering(tables, began, self.progress.part_rows, PART_BYTES)
        async with self.slot.peeked(limit, [table.oid for table in tables.tables]) as peeked:
            self.peeked_s = clock()
            self.peek_s = self.peeked_s - began_s
            self.in_place(peeked.slot, number_of(self.progress.durable.position))
            self.drained = peeked.count < slot_reading.PEEK_CHANGES
            for messages in peeked.chunks():
                await asyncio.sleep(0)  # what is passed over waits for nothing else
                gathering.rows_max = self.progress.part_rows
                if (part := gathering.take(messages)) is not None:
                    async with aclosing(self._looked_up(part, tables)) as batches:
                        async for batch in batches:
                            yield batch
        if self.drained:
            gathering.reach(limit, now.clock_s)
        elif gathering.position <= began and not await self.slot.go_ahead(began):
            raise TransientError(
                "source.catch_up.slot: jobs that share it are so far behind that this one can read on only"
                " through a copy of it, for which the server has no room: raise max_replication_slots, or run"
                " them first"
            )
        rest = gathering.rest()
        async with aclosing(self._looked_up(rest, tables)) as batches:
            async for batch in batches:
                yield batch
        quiet = self.drained and until is None
        if rest.position > self.position and not (quiet and clock() - self.moved_s < QUIET_S):
            yield self._batch(rest, self.no_rows, 0)
        elif quiet and self.progress.durable.number >= self.number:
            self.progress.covered(rest.at_s)

    def _far_ahead(self, slot: Slot | None) -> bool:
        """Whether others of the slot keep it so far behind what of this job is durable."""
        if slot is None or slot.position is None:
            return False
        return number_of(self.progress.durable.position) - slot.position > AHEAD_BYTES

    async def _looked_up(self, part: LogPart, tables: Logged) -> AsyncGenerator[Batch, None]:
        found = await self.look_ups.looked_up(part, tables)
        if found is not None:
            yield self._batch(part, *found)

    def _batch(self, part: LogPart, rows: pa.RecordBatch, old: int) -> Batch:
        """Return the next batch, which covers a part."""
        self.position, self.number = part.position, self.number + 1
        self.at_s = max(self.at_s, part.at_s)
        self.moved_s = asyncio.get_running_loop().time()
        self.sequence += 1
        self.progress.handed(self.number, len(rows), rows.nbytes)
        end = LogPlace(text_of(part.position), self.number, utc_at(self.at_s) if self.at_s else None)
        return Batch(self.segment, self.sequence - 1, rows, end.cursor(), old=old)

    async def pause(self) -> None:
        """Wait before the next peek: for what was read to be durable, or for changes."""
        if self.drained:
            left_alone_s = asyncio.get_running_loop().time() - self.peeked_s
            await asyncio.sleep(max(0.0, max(POLL_S, self.peek_s) - left_alone_s))
        else:
            await self.progress.up_to(self.number)
