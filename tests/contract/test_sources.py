"""What every source must hold to; see docs/connectors.md. Run for ours, and for the one in the docs."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from engine.batch import Cursor, Segment
from engine.contracts.source import SourceAbilities, SourceTicket
from tests.support.source_subjects import (
    Documented,
    MongoDB,
    Postgres,
    Subject,
    Toy,
    batches,
    documented,
    numbers,
    opened,
)

SUBJECTS = (
    "postgres",
    "postgres repeated key",
    "postgres no key",
    "mongodb",
    "mongodb mixed ids",
    "toy",
    "documented",
)
ROWS = 40
ALL = list(range(1, ROWS + 1))


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    def server(name: str) -> str:
        url: str = request.getfixturevalue(name)
        return url

    match request.param:
        case "postgres":
            yield Postgres(server("postgres_url"), None, "t")
        case "postgres repeated key":
            yield Postgres(server("postgres_url"), ("third",), "t")
        case "postgres no key":
            yield Postgres(server("postgres_url"), None, "v")
        case "mongodb":
            yield MongoDB(server("mongodb_url"), server("database"), mixed=False)
        case "mongodb mixed ids":
            yield MongoDB(server("mongodb_url"), server("database"), mixed=True)
        case "toy":
            yield Toy(request.node.name)
        case _:
            with documented("source"):
                yield Documented(tmp_path / "rows.sqlite")


@pytest.mark.parametrize("wanted", [1, 3, 8])
async def test_segments_are_disjoint_and_cover_all(subject: Subject, wanted: int) -> None:
    await subject.fill(ROWS)
    async with opened(subject) as source:
        segments = await source.segments(wanted)
        parts = [await numbers(subject, await batches(source, segment)) for segment in segments]
        keyed = bool(source.ticket.schema.key)
    assert [segment.number for segment in segments] == list(range(len(segments)))
    assert len(segments) == 1 or (keyed and 1 < len(segments) <= 2 * wanted)
    assert sorted(chain(*parts)) == ALL, "each row is in one segment"
    assert list(chain(*parts)) == ALL, "segments and rows come in the order of the key"


@pytest.mark.parametrize("rows", [0, 1])
async def test_a_source_may_be_empty_or_have_one_row(subject: Subject, rows: int) -> None:
    await subject.fill(rows)
    async with opened(subject) as source:
        segments = await source.segments(4)
        found = [batch for segment in segments for batch in await batches(source, segment)]
        expected = await source.rows_expected()
        assert expected is None or expected >= 0
    assert segments
    assert await numbers(subject, found) == ALL[:rows]
    assert [batch.rows.num_rows for batch in found] == [1] * rows, "an empty batch is none"


async def test_batches_are_whole_and_as_the_schema_says(subject: Subject) -> None:
    await subject.fill(ROWS)
    async with opened(subject) as source:
        schema = source.ticket.schema
        for segment in await source.segments(2):
            found = await batches(source, segment)
            for place, batch in enumerate(found):
                batch.rows.validate(full=True)
                assert batch.rows.schema == schema.arrow()
                assert batch.rows.num_rows
                assert (batch.segment, batch.sequence) == (segment.number, place)
                assert (batch.end is None) == (not schema.key), "where reading goes on is its key"
                assert schema.key or batch.cuts is None
            assert len(found) > 1


async def test_reading_goes_on_behind_every_cursor(subject: Subject) -> None:
    """Behind the end of each batch, and where its cuts say: nothing is missing, nothing comes twice."""
    await subject.fill(ROWS)
    async with opened(subject) as source:
        if not source.ticket.schema.key:
            return
        for segment in await source.segments(2):
            found = await batches(source, segment)
            rows = await numbers(subject, found)
            cursors: dict[Cursor, int] = {}
            begin = 0
            for batch in found:
                for row in range(batch.rows.num_rows):
                    place = None if batch.cuts is None else batch.cuts.before(row)
                    if place is not None:
                        assert 0 < place[0] <= row, "a cut isn't behind the row that is asked for"
                        cursors[place[1]] = begin + place[0]
                begin += batch.rows.num_rows
                assert batch.end is not None
                assert cursors.setdefault(batch.end, begin) == begin, "one cursor is one place"
            for cursor, place in cursors.items():
                assert await numbers(subject, await batches(source, segment, cursor)) == rows[place:]


async def test_a_ticket_opens_the_same_view_elsewhere(subject: Subject) -> None:
    await subject.fill(ROWS)
    async with opened(subject) as source:
        ticket = SourceTicket.from_json(source.ticket.as_json())
        assert ticket == source.ticket
        segments = await source.segments(3)
        if subject.keeps_view:
            await subject.add(ROWS + 1)
        async with opened(subject, ticket) as worker:
            assert worker.ticket == ticket
            found = [batch for segment in segments for batch in await batches(worker, segment)]
    assert await numbers(subject, found) == ALL


async def test_a_source_is_the_same_one_tomorrow(subject: Subject) -> None:
    await subject.fill(ROWS)
    async with opened(subject) as source:
        continuity = source.abilities.continuity
        identity, schema = source.identity, source.ticket.schema
        standing = None if continuity is None else continuity.standing
    assert identity
    assert all(isinstance(text, str) for pair in identity.items() for text in pair)
    await subject.add(ROWS + 1)
    async with opened(subject) as again:
        assert (again.identity, again.ticket.schema) == (identity, schema)
        if standing is not None:
            now = again.abilities.continuity
            assert now is not None
            assert await now.misfit(standing, goes_on=False) is None
            assert await now.misfit(standing, goes_on=True) is None


async def test_a_reading_may_be_left_and_a_source_closed_twice(subject: Subject) -> None:
    await subject.fill(ROWS)
    source = await subject.open()
    (segment,) = await source.segments(1)
    for _ in range(3):
        reading = source.read(segment, None)
        await anext(reading)
        await reading.aclose()
    assert await numbers(subject, await batches(source, segment)) == ALL
    await source.close()
    await source.close()


async def test_abilities_are_as_declared(subject: Subject) -> None:
    await subject.fill(ROWS)
    async with opened(subject) as source:
        able = source.abilities
        assert able.lookup is None or source.ticket.schema.key, "rows are looked up by the key"
        assert await able.count(60) in (None, ROWS)
        size, slow = await able.inspect()
        assert size is None or size > 0
        for said in (*slow, *await able.lasting(10**6, "12 days"), *source.notices):
            assert said.endswith("."), "a sentence each"
        if able.sample is not None:
            drawn = await numbers(subject, able.sample(ROWS, ROWS))
            assert set(drawn) <= set(ALL)
            assert len(set(drawn)) == len(drawn)


async def test_what_a_source_does_not_declare_has_an_answer() -> None:
    able = SourceAbilities()
    assert (able.lookup, able.continuity, able.sample) == (None, None, None)
    assert (await able.count(1), await able.inspect(), await able.lasting(1, "1 s")) == (None, (None, ()), ())


async def test_lookup_gives_the_rows_that_are_asked_for(subject: Subject) -> None:
    await subject.fill(ROWS)
    async with opened(subject) as source:
        lookup = source.abilities.lookup
        if lookup is None:
            return
        drawn = await lookup.sample_keys(12, 7)
        assert drawn == await lookup.sample_keys(12, 7), "a seed draws the same keys"
        assert len(drawn) == 12
        keys = list(dict.fromkeys(await lookup.sample_keys(10 * ROWS, 1)))
        rows = {key: await numbers(subject, lookup.rows_by_key([key])) for key in keys}
        assert sorted(chain(*rows.values())) == ALL, "the keys of a sample lead to all rows"
        some = keys[::3]
        found = await numbers(subject, lookup.rows_by_key(some))
        assert sorted(found) == sorted(number for key in some for number in rows[key])
        assert await numbers(subject, lookup.rows_by_key([])) == []
        assert subject.unknown is not None
        assert await numbers(subject, lookup.rows_by_key([subject.unknown])) == []
        both = await numbers(subject, lookup.rows_by_key([subject.unknown, keys[0]]))
        assert both == rows[keys[0]]
        looked_up = [batch async for batch in lookup.rows_by_key(some)]
        assert all(batch.rows.schema == source.ticket.schema.arrow() for batch in looked_up)


async def test_a_segment_that_is_read_knows_no_other(subject: Subject) -> None:
    """Segments are read side by side, at any speed."""
    await subject.fill(ROWS)
    async with opened(subject) as source:
        segments = await source.segments(2)
        readings = {segment: source.read(segment, None) for segment in segments}
        found: dict[Segment, list[int]] = {segment: [] for segment in segments}
        while readings:
            for segment, reading in list(readings.items()):
                batch = await anext(reading, None)
                if batch is None:
                    del readings[segment]
                else:
                    found[segment] += await numbers(subject, [batch])
    assert list(chain(*found.values())) == ALL
