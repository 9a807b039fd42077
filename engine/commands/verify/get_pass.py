"""Instead of the two passes: items are read by key as the source gives them.

For samples, and for a source that is small beside its table.

Invariant: each item is counted as matched or noted as a suspect, in the transaction that moves the position.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from random import Random

from engine.batch import Batch, Cursor
from engine.commands.verify.book import Book, Place, Suspect
from engine.commands.verify.desk import Desk
from engine.commands.verify.digests import ABSENT, content_hashes, key_hashes
from engine.commands.verify.findings import judged
from engine.commands.verify.source_pass import segments_wanted
from engine.commands.verify.target_pass import TargetReader

STRETCHES = 200
"""Ranges of a source that are cut for a sample; the rows of one are neighbours."""


class GetPass:
    """Compares what the source gives with what the target has under the same keys."""

    def __init__(
        self, book: Book, desks: Sequence[Desk], reader: TargetReader, told: Callable[[int], None]
    ) -> None:
        self._book = book
        self._desks = desks
        self._reader = reader
        self._told = told
        self._next_place = book.places_count()

    async def everything(self) -> None:
        """Compare every row's items that weren't compared before."""
        for desk in self._desks:
            if not self._book.segments(desk.number):
                segments = await desk.source.segments(await segments_wanted(desk))
                self._book.begin()
                self._book.plan_segments(desk.number, segments)
                self._book.commit()
            for segment, at, done in self._book.segments(desk.number):
                if done:
                    continue
                async with aclosing(desk.source.read(segment, at)) as batches:
                    async for batch in batches:
                        after = segment.after if at is None else at
                        at = batch.end
                        await self._compare(desk, batch, Place(desk.number, after, at))
                        self._book.segment_at(desk.number, segment.number, at, done=False)
                        self._book.commit()
                self._book.begin()
                self._book.segment_at(desk.number, segment.number, at, done=True)
                self._book.commit()

    async def rows(self, desk: Desk, keys: Sequence[Cursor]) -> None:
        """Compare the items of some rows."""
        async with aclosing(desk.rows_of(Place(desk.number, keys=tuple(keys)))) as batches:
            async for batch in batches:
                names = desk.source.ticket.schema.key
                columns = [batch.rows.column(name).to_pylist() for name in names]
                own = tuple(Cursor(tuple(key)) for key in zip(*columns, strict=True))
                await self._compare(desk, batch, Place(desk.number, keys=own))
                self._book.commit()

    async def stretches(self, desk: Desk, count: int, random: Random) -> None:
        """Compare the items of some rows from random stretches of a source that can't look rows up."""
        segments = list(await desk.source.segments(STRETCHES))
        chosen = random.sample(segments, min(len(segments), count))
        for number, segment in enumerate(chosen):
            share = count * (number + 1) // len(chosen) - count * number // len(chosen)
            async with aclosing(desk.source.read(segment, None)) as batches:
                async for batch in batches:
                    rows = range(batch.rows.num_rows)
                    some = sorted(random.sample(rows, min(share, len(rows))))
                    part = Batch(batch.segment, batch.sequence, batch.rows.take(some), batch.end)
                    await self._compare(desk, part, Place(desk.number, segment.after, batch.end))
                    self._book.commit()
                    break

    async def _compare(self, desk: Desk, batch: Batch, place: Place) -> None:
        """Compare a batch's items; leaves the transaction open."""
        looked = await desk.look(batch)
        expected, schema = looked.expected, desk.schema
        hashes = expected.hashes(schema).tolist()
        contents = expected.contents(keeps=desk.keeps).tolist()
        keys = [schema.of(key) for key in expected.keys]
        items = await self._reader.get(keys)
        found = dict(zip(key_hashes(items, schema).tolist(), items, strict=True))
        tallies: Counter[str] = Counter()
        suspects = []
        for at, key_hash in enumerate(hashes):
            actual = found.get(key_hash)
            verdict = judged(
                expected.items[at],
                actual,
                keeps=desk.keeps,
                version=desk.version,
                at=expected.versions[at] if expected.versions else None,
            )
            if verdict in ("missing", "mismatched", "extra"):
                target = ABSENT if actual is None else int(content_hashes([actual])[0])
                suspects.append(Suspect(self._next_place, key_hash, contents[at], target, dict(keys[at])))
            else:
                tallies[verdict] += 1
        tallies.update(rows=batch.rows.num_rows, dead_lettered=len(looked.encoded.dead_letters))
        self._book.begin()
        self._book.add_place(self._next_place, Place(desk.number) if desk.ordered else place)
        self._book.suspect(suspects)
        self._book.add(tallies)
        self._next_place += 1
        self._told(batch.rows.num_rows)
