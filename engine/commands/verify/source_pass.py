"""The first pass: all that the sources say goes into the index, a part at a time.

Invariant: what the book says was read is in a part on disk, and in the order in which it wins.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing

from engine.batch import Cursor, Segment
from engine.commands.hash_store import HashStore
from engine.commands.verify.book import Book, Place
from engine.commands.verify.desk import Desk
from engine.commands.verify.external_index import NO_ROOM, build, record_type, records
from engine.contracts.state import SegmentState
from engine.tasks import together

SEGMENT_ROWS = 50_000
SEGMENTS_MAX = 64
READERS = 2

DONE, PARTS = "source pass done", "parts of the index"


class SourcePass:
    """Reads every segment of every job that isn't done yet."""

    def __init__(self, book: Book, desks: Sequence[Desk], told: Callable[[int], None]) -> None:
        self._book = book
        self._desks = desks
        self._told = told
        self._record = record_type(ranked=any(desk.ranked for desk in desks))
        self._store = HashStore(
            book.directory, self._record, parts=int(book.get(PARTS) or 0), durable=True, advice=NO_ROOM
        )
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
        length = await asyncio.to_thread(build, self._book.directory, self._store)
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
                self._store.add(records(made.keys, made.contents, number, made.ranks, self._record))
                self._positions[desk.number, segment.number] = (at, False)
                self._tallies["rows"] += batch.rows.num_rows
                self._tallies["dead_lettered"] += made.dead
                self._told(batch.rows.num_rows)
                if self._store.full:
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
        self._store.flush()
        self._book.begin()
        self._book.put(PARTS, str(self._store.parts))
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
