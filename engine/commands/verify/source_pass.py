"""The first pass: all that the sources say goes into the index, a part at a time.

Invariant: what the book says was read is in a part on disk, and in the order in which it wins.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing

import numpy as np

from engine.batch import Cursor, Segment
from engine.commands.verify.book import Book, Place
from engine.commands.verify.desk import Desk
from engine.commands.verify.index import Parts, Records
from engine.commands.verify.ranks import RANK_BYTES
from engine.contracts.state import SegmentState
from engine.tasks import together

SEGMENT_ROWS = 50_000
SEGMENTS_MAX = 64
READERS = 2

DONE = "source pass done"


class SourcePass:
    """Reads every segment of every job that isn't done yet."""

    def __init__(self, book: Book, desks: Sequence[Desk], told: Callable[[int], None]) -> None:
        self._book = book
        self._desks = desks
        self._told = told
        self._ranked = any(desk.ranked for desk in desks)
        self._parts = Parts(book.directory, book.parts(), RANK_BYTES if self._ranked else 0)
        self._next_place = book.places_count()
        self._places: list[tuple[int, Place]] = []
        self._whole: dict[int, int] = {}
        self._positions: dict[tuple[int, int], tuple[Cursor | None, bool]] = {}
        self._tallies: Counter[str] = Counter()

    async def run(self) -> None:
        """Read everything, then merge the index."""
        for desk in self._desks:
            await self._read(desk)
        self._flush()
        length = await asyncio.to_thread(self._parts.merge)
        self._book.begin()
        self._book.put(DONE, str(length))
        self._book.commit()

    async def _read(self, desk: Desk) -> None:
        states = self._book.segments(desk.number)
        if not states:
            segments = await desk.source.segments(await segments_wanted(desk))
            self._book.begin()
            self._book.plan_segments(desk.number, segments)
            self._book.commit()
            states = self._book.segments(desk.number)
        todo = [SegmentState(segment, at, done) for segment, at, done in states if not done]
        todo.reverse()

        async def reader() -> None:
            while todo:
                state = todo.pop()
                await self._read_segment(desk, state.segment, state.end)

        await together(reader() for _ in range(READERS))

    async def _read_segment(self, desk: Desk, segment: Segment, at: Cursor | None) -> None:
        async with aclosing(desk.source.read(segment, at)) as batches:
            async for batch in batches:
                made = await asyncio.get_running_loop().run_in_executor(
                    desk.line.threads, desk.digest_now, batch
                )
                after = segment.after if at is None else at
                number = self._place(
                    Place(desk.number) if desk.ordered else Place(desk.number, after, batch.end)
                )
                at = batch.end
                places = np.full(len(made.keys), number, np.uint32)
                ranks = made.ranks
                if self._ranked and ranks is None:
                    ranks = np.zeros(len(places), f"S{RANK_BYTES}")
                self._parts.add(Records(made.keys, made.contents, places, ranks))
                self._positions[desk.number, segment.number] = (at, False)
                self._tallies["rows"] += batch.rows.num_rows
                self._tallies["dead_lettered"] += made.dead
                self._told(batch.rows.num_rows)
                if self._parts.full:
                    self._flush()
        self._positions[desk.number, segment.number] = (at, True)

    def _place(self, place: Place) -> int:
        """Return a place's number; a source without a key has one place, which is all of it."""
        if place.until is None and self._whole.get(place.job) is not None:
            return self._whole[place.job]
        number = self._next_place
        self._next_place += 1
        self._places.append((number, place))
        if place.until is None:
            self._whole[place.job] = number
        return number

    def _flush(self) -> None:
        length = self._parts.flush()
        self._book.begin()
        if length:
            self._book.add_part(len(self._parts.lengths) - 1, length)
        for number, place in self._places:
            self._book.add_place(number, place)
        for (job, segment), (at, done) in self._positions.items():
            self._book.segment_at(job, segment, at, done=done)
        self._book.add(self._tallies)
        self._book.commit()
        self._places, self._positions, self._tallies = [], {}, Counter()


async def segments_wanted(desk: Desk) -> int:
    """Cut for even work; where keys may repeat, one segment, so that the newest row comes last."""
    rows = await desk.source.rows_expected()
    if desk.ordered:
        return 1
    return SEGMENTS_MAX if rows is None else max(1, min(SEGMENTS_MAX, rows // SEGMENT_ROWS))
