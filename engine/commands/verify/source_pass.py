"""The first pass: all that the sources say goes into the external index, a part at a time.

Invariant: what the progress store says was read is in a part on disk, and in the order in which it wins.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np
import orjson

from engine.batch import Batch, Cursor, EncodedBatch, Segment
from engine.commands.hash_store import HashStore, Records
from engine.commands.verify.external_index import NO_ROOM, build, record_type
from engine.commands.verify.opened_job import UNDECIDED, UNKNOWN, OpenedJob
from engine.commands.verify.progress_store import ProgressStore, RowRange
from engine.commands.verify.version_order import ranks_of
from engine.commands.whose import fault_of
from engine.contracts.readback import ItemCodec
from engine.contracts.state import SegmentState
from engine.tasks import together

SEGMENT_ROWS = 50_000
SEGMENTS_MAX = 64
READERS = 2
PARSED_AT_ONCE = 1_000

DONE, PARTS = "source pass done", "parts of the index"


class SourcePass:
    """Reads every segment of every job that isn't done yet."""

    def __init__(
        self, progress: ProgressStore, jobs: Sequence[OpenedJob], told: Callable[[int], None]
    ) -> None:
        self._progress = progress
        self._jobs = jobs
        self._told = told
        self._record = record_type(ranked=any(job.ranked for job in jobs))
        parts = int(progress.get(PARTS) or 0)
        self._store = HashStore(progress.directory, self._record, parts=parts, durable=True, advice=NO_ROOM)
        self._next_range = progress.row_ranges_count()
        self._ranges: list[tuple[int, RowRange]] = []
        self._whole: dict[int, int] = {}
        self._states: dict[tuple[int, int], SegmentState] = {}
        self._tallies: Counter[str] = Counter()

    async def run(self) -> None:
        """Read everything, then merge the index."""
        for job in self._jobs:
            with fault_of(job.job):
                await self._read(job)
        self._flush()
        length = await asyncio.to_thread(build, self._progress.directory, self._store)
        with self._progress.transaction():
            self._progress.put(DONE, str(length))

    async def _read(self, job: OpenedJob) -> None:
        todo = [state for state in await segments(self._progress, job) if not state.done]
        todo.reverse()

        async def reader() -> None:
            while todo:
                state = todo.pop()
                await self._read_segment(job, state.segment, state.end)

        await together(reader() for _ in range(READERS))

    async def _read_segment(self, job: OpenedJob, segment: Segment, at: Cursor | None) -> None:
        loop = asyncio.get_running_loop()
        async with aclosing(job.source.read(segment, at)) as batches:
            async for batch in batches:
                made, dead = await loop.run_in_executor(
                    job.stages.threads, records_of, job, batch, self._record
                )
                after = segment.after if at is None else at
                at = batch.end
                made["row_range"] = self._range(
                    RowRange(job.number) if job.ordered else RowRange(job.number, after, at)
                )
                self._store.add(made)
                self._states[job.number, segment.number] = SegmentState(segment, at, done=False)
                self._tallies["rows"] += batch.rows.num_rows
                self._tallies["dead_lettered"] += dead
                self._told(batch.rows.num_rows)
                if self._store.full:
                    self._flush()
        self._states[job.number, segment.number] = SegmentState(segment, at, done=True)

    def _range(self, rows: RowRange) -> int:
        """Return a row range's number; a source without a key has one range, which is all of it."""
        if rows.until is None and rows.job in self._whole:
            return self._whole[rows.job]
        number = self._next_range
        self._next_range += 1
        self._ranges.append((number, rows))
        if rows.until is None:
            self._whole[rows.job] = number
        return number

    def _flush(self) -> None:
        self._store.flush()
        with self._progress.transaction():
            self._progress.put(PARTS, str(self._store.parts))
            for number, rows in self._ranges:
                self._progress.put_row_range(number, rows)
            for (job, _), state in self._states.items():
                self._progress.put_segment(job, state)
            self._progress.add(self._tallies)
        self._ranges, self._states, self._tallies = [], {}, Counter()


async def segments(progress: ProgressStore, job: OpenedJob) -> list[SegmentState]:
    """Return how the segments of a job's source stand, which are cut for even work if they weren't yet.

    Where keys may repeat there is one, so that the newest row comes last.
    """
    states = progress.segments(job.number)
    if not states:
        rows = await job.source.rows_expected()
        wanted = SEGMENTS_MAX if rows is None else max(1, min(SEGMENTS_MAX, rows // SEGMENT_ROWS))
        cut = await job.source.segments(1 if job.ordered else wanted)
        states = [SegmentState(segment, None, done=False) for segment in cut]
        with progress.transaction():
            for state in states:
                progress.put_segment(job.number, state)
    return states


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
