"""State in a table: what a run began with, however long, is written once and referred to."""

import hashlib
from collections import Counter
from dataclasses import replace

import pytest

from connectors.dynamodb.state import still
from connectors.dynamodb.state.reading import read_state
from connectors.dynamodb.state.table import STILL_VERSION
from connectors.postgres.standing import RelationFact, Standing
from engine.batch import Effort
from engine.errors import JobError
from engine.plain import dumped
from tests.support.state_tables import LATER, Bill, Place
from tests.support.states import a_mark, a_run

PARTITIONS = 4_000


@pytest.fixture
def place(dynoxide, table_name, tmp_path):
    place = Place(dynoxide, table_name, tmp_path)
    yield place
    place.table.meta.client.close()


def standing(relations: int) -> str:
    """What a source with so many partitions says of itself, with names that hardly compress."""
    facts = tuple(
        RelationFact(
            number,
            f'public."{hashlib.sha256(str(number).encode()).hexdigest()}"',
            "r",
            number,
            True,
            None,
            True,
        )
        for number in range(relations)
    )
    return dumped(Standing("7", 1, False, 1, 1, facts, ()))


def long_run(run_id="run-1", **changes):
    run = replace(a_run(run_id), **changes)
    return replace(
        run, fingerprint={**run.fingerprint, "standing": standing(PARTITIONS)}, rules="rules of " + run_id
    )


def texts_of(place):
    return Counter(item["PK"] for item in place.table.scan()["Items"] if item["SK"].startswith("TEXT#"))


async def closed(store, run):
    await store.begin(run)
    await store.advance([a_mark(number, "99", 5, done=True) for number in range(2)], Effort())
    await store.finish("complete", LATER, Effort(), None)


async def test_a_standing_of_thousands_of_partitions_is_written_once(place):
    """As one item it was refused at the first checkpoint, and below that cost 380 units a second and more."""
    assert len(standing(PARTITIONS)) > 400 * 1024
    store = await place.open("one")
    bill = Bill(store)
    await store.begin(long_run())
    assert bill.units["orders"] <= 2 * 4 + 2
    written, bill.units = bill.units["orders#run-1"], Counter()
    assert written > 100, "it doesn't compress away"
    await store.advance([a_mark(0, "10", 3)], Effort())
    assert bill.units["orders"] + bill.units["orders#run-1"] <= 2 * 4
    await store.close()
    assert (await read_state(place.section, "orders")).fingerprint == long_run().fingerprint
    store = await place.open("two")
    bill = Bill(store)
    assert (await store.load()).rules == "rules of run-1"
    await store.resume()
    await store.advance([a_mark(0, "20", 3)], Effort())
    assert (await store.load()).counts.rows_read == 6
    await store.close()


async def test_a_crash_before_a_run_refers_to_its_standing_leaves_the_run_before(place, monkeypatch):
    store = await place.open("one")
    await closed(store, long_run())
    put_all, commit = store._table.put_all, store._table.commit

    async def crash(given):
        raise ConnectionError

    async def crash_behind_the_first(items):
        await put_all(items[:1])
        raise ConnectionError

    for name, cut in (("put_all", crash_behind_the_first), ("commit", crash)):
        with monkeypatch.context() as patch:
            patch.setattr(store._table, name, cut)
            with pytest.raises(ConnectionError):
                await store.begin(long_run("run-2"))
        assert (await read_state(place.section, "orders")).rules == "rules of run-1"
        assert (await store.last_complete()).fingerprint == long_run().fingerprint
    assert (store._table.put_all, store._table.commit) == (put_all, commit)
    await store.begin(long_run("run-3"))
    assert (await store.load()).rules == "rules of run-3"
    await store.close()


async def test_a_closed_run_keeps_its_standing_for_as_long_as_another_one_may_follow_on_it(place):
    store = await place.open()
    await closed(store, long_run())
    for number in (2, 3):
        run_id = f"run-{number}"
        await store.begin(long_run(run_id, kind="catch_up"))
        assert (await store.last_complete()).rules == f"rules of run-{number - 1}"
        assert set(texts_of(place)) == {f"orders#run-{number - 1}", f"orders#{run_id}"}
        await store.advance([a_mark(part, "99", 5, done=True) for part in range(2)], Effort())
        await store.finish("complete", LATER, Effort(), None)
        assert set(texts_of(place)) == {f"orders#{run_id}"}, "nothing of earlier runs piles up"
    await store.close()


async def test_a_standing_that_an_earlier_version_has_written_is_read_and_goes_apart(place, monkeypatch):
    run = replace(long_run(), fingerprint={"standing": standing(500)})
    with monkeypatch.context() as patch:
        patch.setattr(still, "INLINE_BYTES", 10**6)
        store = await place.open("one")
        await store.begin(run)
        await store.close()
    assert not texts_of(place)
    store = await place.open("two")
    assert await store.load() == run
    await store.resume()
    assert texts_of(place)
    item = place.table.get_item(Key={"PK": "orders", "SK": "RUN"})["Item"]
    assert (item["version"], len(item["record"]) < 4096) == (STILL_VERSION, True)
    assert (await store.load()).fingerprint == run.fingerprint
    await store.close()


async def test_a_part_of_a_standing_that_is_lost_is_told(place):
    store = await place.open()
    await store.begin(long_run())
    part = next(item for item in place.table.scan()["Items"] if item["SK"].startswith("TEXT#"))
    place.table.delete_item(Key={name: part[name] for name in ("PK", "SK")})
    with pytest.raises(JobError, match=r"is damaged \(what it refers to.*--fresh"):
        await store.load()
    await store.begin(long_run("run-2"))
    assert (await store.load()).run_id == "run-2"
    await store.close()


async def test_a_long_text_beside_the_checkpoint_is_kept_whole_and_replaced(place):
    store = await place.open()
    for count in (PARTITIONS, PARTITIONS + 1):
        await store.keep_beside("standing", standing(count))
        assert await store.beside("standing") == standing(count)
    kept = [item for item in place.table.scan()["Items"] if item["SK"].startswith("BESIDE-standing#")]
    assert len({item["SK"].split("#")[1] for item in kept}) == 1
    await store.keep_beside("standing", "short")
    assert await store.beside("standing") == "short"
    await store.keep_beside("standing", None)
    assert await store.beside("standing") is None
    assert not [item for item in place.table.scan()["Items"] if item["SK"].startswith("BESIDE")]
    await store.close()
