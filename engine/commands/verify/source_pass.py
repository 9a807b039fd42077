"""The first pass: all that the sources say goes into the external index, a part at a time.

Invariant: what the progress store says was read is in a part on disk, and in the order in which it wins.
"""

import asyncio
import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import orjson

from engine.batch import Batch, EncodedBatch
from engine.commands.hash_store import HashStore, Records
from engine.commands.helpers import Todo, carry_out
from engine.commands.room import on_disk
from engine.commands.verify.external_index import NO_ROOM, build, record_type
from engine.commands.verify.opened_job import UNDECIDED, UNKNOWN, OpenedJob
from engine.commands.verify.orders import ReadOrder, SegmentRead, VerifyHelper, VerifyHelpers
from engine.commands.verify.progress_store import ProgressStore, RowRange
from engine.commands.verify.version_order import ranks_of
from engine.commands.whose import fault_of
from engine.contracts.readback import ItemCodec
from engine.contracts.state import SegmentState
from engine.own_files import made

SEGMENT_ROWS = 50_000
SEGMENTS_EVEN, SEGMENTS_MAX = 64, 4_096
"""Segments that keep some readers busy to the end; large sources have more, of READ_RECORDS rows each.

An order ends after so many anyway, so they make no more parts of the index, and what the last reader has left
when all others have nothing doesn't grow with the source.
"""
READERS = 2
PARSED_AT_ONCE = 1_000
COMMIT_S = 5.0
"""How often what was read is made to count."""

READ_RECORDS, READ_S = 500_000, 30.0
"""Records and seconds after which an order to read ends, where it can be gone on with: what a reader holds in
memory, and what is read again after a kill."""
ROW_RANGES = 2**16
"""Row ranges of one order; the index holds 2^32 of them."""

DONE, PARTS = "source pass done", "parts of the index"
_ORDERS = "read-*"
"""Directories of orders, which hold what isn't in the index yet."""


class SourcePass:
    """Reads every segment of every job that isn't done yet, with the help of others."""

    def __init__(
        self,
        progress: ProgressStore,
        jobs: Sequence[OpenedJob],
        told: Callable[[int], None],
        helpers: VerifyHelpers,
    ) -> None:
        self._progress = progress
        self._jobs = jobs
        self._told = told
        self._helpers = helpers
        self._record = record_type(ranked=any(job.ranked for job in jobs))
        parts = int(progress.get(PARTS) or 0)
        self._store = HashStore(progress.directory, self._record, parts=parts, durable=True, advice=NO_ROOM)
        self._next_range = progress.row_ranges_count()
        self._whole: dict[int, int] = {}
        self._numbers = itertools.count()
        self._found: list[tuple[ReadOrder, SegmentRead]] = []
        self._committed_at = monotonic()

    async def run(self) -> None:
        """Read everything, then merge the index."""
        for left in self._progress.directory.glob(_ORDERS):
            shutil.rmtree(left)
        for job in self._jobs:  # of two jobs the later wins
            with fault_of(job.job):
                await self._read(job)
        length = await asyncio.to_thread(build, self._progress.directory, self._store)
        with self._progress.transaction():
            self._progress.put(DONE, str(length))

    async def _read(self, job: OpenedJob) -> None:
        todo = Todo(state for state in await segments(self._progress, job) if not state.done)

        async def here(state: SegmentState) -> SegmentState | None:
            order = self._order(job, state)
            return self._keep(order, await read_segment(job, order, self._record, self._told))

        async def there(helper: VerifyHelper, state: SegmentState) -> SegmentState | None:
            order = self._order(job, state)
            found = await helper.ask(order)
            assert isinstance(found, SegmentRead), "that is what was asked for"
            self._told(found.tallies.get("rows", 0))
            return self._keep(order, found)

        try:
            await carry_out(todo, here, self._helpers, there)
        finally:
            self._commit()

    def _order(self, job: OpenedJob, state: SegmentState) -> ReadOrder:
        number = next(self._numbers)
        place = self._progress.directory / _ORDERS.replace("*", str(number))
        return ReadOrder(number, job.number, state, str(place), self._first_range(job))

    def _first_range(self, job: OpenedJob) -> int:
        """Return the number of an order's first row range; what has one range keeps its number."""
        if job.one_range and job.number in self._whole:
            return self._whole[job.number]
        first = self._next_range
        self._next_range += ROW_RANGES
        if job.one_range:
            self._whole[job.number] = first
        return first

    def _keep(self, order: ReadOrder, found: SegmentRead) -> SegmentState | None:
        """Take what was read into the index; return what is left of the segment."""
        place = Path(order.directory)
        self._store.adopt(place)
        place.rmdir()
        self._found.append((order, found))
        if monotonic() - self._committed_at > COMMIT_S:
            self._commit()
        return None if found.state.done else found.state

    def _commit(self) -> None:
        """Have what was read count."""
        with self._progress.transaction():
            self._progress.put(PARTS, str(self._store.parts))
            for order, found in self._found:
                for number, rows in enumerate(found.ranges, start=order.first_range):
                    self._progress.put_row_range(number, rows)
                self._progress.put_segment(order.job, found.state)
                self._progress.add(found.tallies)
        self._found = []
        self._committed_at = monotonic()


async def read_segment(
    job: OpenedJob,
    order: ReadOrder,
    dtype: np.dtype[Any],
    told: Callable[[int], None],
    *,
    durable: bool = True,
) -> SegmentRead:
    """Do an order to read; with `durable` what was read outlives the machine's end."""
    loop = asyncio.get_running_loop()
    place = Path(order.directory)
    with on_disk(place.parent, NO_ROOM):
        store = HashStore(made(place.parent, place.name), dtype, durable=durable, advice=NO_ROOM)
    segment, at, done = order.state.segment, order.state.end, True
    ranges, tallies, records, began = list[RowRange](), Counter[str](), 0, monotonic()
    async with aclosing(job.source.read(segment, at)) as batches:
        async for batch in batches:
            found, dead = await loop.run_in_executor(job.stages.threads, records_of, job, batch, dtype)
            after = segment.after if at is None else at
            at = batch.end
            if len(found):  # rows that give nothing belong to no range
                if not (job.one_range and ranges):
                    ranges.append(RowRange(job.number) if job.one_range else RowRange(job.number, after, at))
                found["row_range"] = order.first_range + len(ranges) - 1
                store.add(found)
            records += len(found)
            tallies.update(rows=batch.rows.num_rows, dead_lettered=dead)
            told(batch.rows.num_rows)
            enough = records >= READ_RECORDS or len(ranges) == ROW_RANGES or monotonic() - began > READ_S
            if at is not None and enough:
                done = False
                break
            if store.full:
                await asyncio.to_thread(store.flush)
    await asyncio.to_thread(store.flush)
    return SegmentRead(order.number, SegmentState(segment, at, done=done), tuple(ranges), tallies)


async def segments(progress: ProgressStore, job: OpenedJob) -> list[SegmentState]:
    """Return how the segments of a job's source stand, which are cut for even work if they weren't yet.

    Where keys may repeat there is one, so that the newest row comes last.
    """
    states = progress.segments(job.number)
    if not states:
        rows = await job.source.rows_expected()
        cut = await job.source.segments(1 if job.ordered else segments_wanted(rows))
        states = [SegmentState(segment, None, done=False) for segment in cut]
        with progress.transaction():
            for state in states:
                progress.put_segment(job.number, state)
    return states


def segments_wanted(rows: int | None) -> int:
    """Return into how many segments a source of so many rows is cut; None: nobody knows how many."""
    if rows is None:
        return SEGMENTS_EVEN
    large = min(SEGMENTS_MAX, rows // READ_RECORDS)
    return max(1, min(rows // SEGMENT_ROWS, max(SEGMENTS_EVEN, large)))


def records_of(job: OpenedJob, batch: Batch, dtype: np.dtype[Any]) -> tuple[Records, int]:
    """Return what rows make as records, and how many dead letters; fit for a thread.

    Dead letters come first, so that an item of the same key wins.
    """
    made = job.make_now(batch)
    letters = made.encoded.dead_letters
    found = [orjson.loads(letter.item_json) for letter in letters if letter.item_json is not None]
    dead = job.codec.digests([job.codec.key_of(item) for item in found if job.codec.has_key(item)]).keys
    records = np.zeros(len(dead) + len(made.keys), dtype)
    records["key"] = np.concatenate((dead, made.keys))
    records["content"][: len(dead)] = UNKNOWN
    records["content"][len(dead) :] = made.contents
    if job.ranked:
        _rank(job.codec, made.encoded, records[len(dead) :])
    return records, len(letters)


def _rank(codec: ItemCodec, encoded: EncodedBatch, records: Records) -> None:
    """Rank items by their versions; what can't be ranked is checked again."""
    for start in range(0, len(encoded), PARSED_AT_ONCE):
        some = records[start : start + PARSED_AT_ONCE]
        ranks, whole = ranks_of(codec, codec.sent(encoded, range(start, start + len(some))).versions)
        some["rank"] = ranks
        some["content"][~whole] = UNDECIDED
