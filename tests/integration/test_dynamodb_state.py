"""State in a table: runs go on from another machine, and a stalled runner can't overwrite its successor."""

import json
import math
import os
import shutil
from collections import Counter

import pytest

from connectors.dynamodb.state import lease as state_lease
from connectors.dynamodb.state import store as state_store
from connectors.dynamodb.state.reading import read_state
from connectors.dynamodb.state.store import open_store
from connectors.dynamodb.state.table import SPREAD_VERSION
from connectors.dynamodb.table import create
from engine.batch import Effort
from engine.errors import JobError, PermanentError
from tests.support.state_tables import LATER, NOW, Bill, Place
from tests.support.states import a_letter, a_mark, a_run

LEASE_S, APART_S = 60.0, 10.0


@pytest.fixture
def place(dynoxide, table_name, tmp_path):
    place = Place(dynoxide, table_name, tmp_path)
    yield place
    place.table.meta.client.close()


def ids(store):
    return [json.loads(line)["source_key"]["id"] for line in store.dead_letters.read_text().splitlines()]


async def test_a_run_goes_on_from_another_machine_with_its_dead_letters(place):
    store = await place.open("one")
    await store.begin(a_run())
    await store.advance([a_mark(0, "10", 3, [a_letter("1")]), a_mark(1, "110", 2)], Effort())
    await store.advance([a_mark(1, "120", 2, [a_letter("2")])], Effort())
    await store.close()
    store = await place.open("two")
    assert (await store.load()).counts.items_written == 7
    await store.resume()
    assert ids(store) == ["1", "2"]
    await store.advance([a_mark(0, "20", 1, [a_letter("3")])], Effort())
    assert ids(store) == ["1", "2", "3"]
    await store.close()


async def test_another_machine_is_refused_while_the_lease_lives(place):
    store = await place.open("one")
    holder = rf"already being run by pid {os.getpid()} on .* since 2025-12-29T09:20:00.000Z"
    with pytest.raises(JobError, match=holder + r".*runs out in 60 s"):
        await place.open("two", NOW + 10)
    assert await store._lease.renew()
    await store.close()
    await (await place.open("two", NOW + 10)).close()


async def test_a_heartbeat_makes_the_lease_last(place):
    now = NOW
    store = await open_store(place.section, place.tmp_path / "one", "orders", clock=lambda: now)
    now = NOW + 50
    assert await store._lease.renew()
    with pytest.raises(JobError, match="already being run"):
        await place.open("two", NOW + 70)
    await store.close()


async def test_a_runner_that_stalled_is_fenced_off(place):
    stalled = await place.open("one")
    await stalled.begin(a_run())
    await stalled.advance([a_mark(0, "10", 3)], Effort())
    assert stalled.tenure.held
    heir = await place.open("two", NOW + LEASE_S + APART_S + 1)
    await heir.load()
    await heir.resume()
    with pytest.raises(PermanentError, match="another runner has taken it over"):
        await stalled.advance([a_mark(0, "20", 3, [a_letter("5")])], Effort())
    with pytest.raises(PermanentError, match="run again"):
        await stalled.advance([a_mark(0, "20", 3)], Effort())
    with pytest.raises(PermanentError, match="another runner"):
        await stalled.finish("failed", LATER, Effort(), None)
    assert not stalled.tenure.held
    assert "another runner has taken it over" in stalled.tenure.lost
    assert not await stalled._lease.renew()
    await heir.advance([a_mark(0, "15", 1, [a_letter("4")])], Effort())
    await stalled.close()
    await heir.advance([a_mark(0, "20", 1)], Effort())
    assert (await heir.load()).counts.items_written == 5
    await heir.close()


async def test_a_runner_that_was_killed_is_followed_at_once_on_its_machine(place):
    killed = await place.open("one")
    await killed.begin(a_run())
    killed._local.release()  # the kernel does this; the item in the table stays
    store = await place.open("one")
    assert (await store.load()).run_id == "run-1"
    await store.close()
    await killed.close()


async def test_a_lease_that_another_one_had_meanwhile_is_lost_even_when_it_was_given_back(place):
    stalled = await place.open("one")
    await stalled.begin(a_run())
    heir = await place.open("two", NOW + LEASE_S + APART_S + 1)
    await heir.close()
    assert not await stalled._lease.renew()
    with pytest.raises(PermanentError, match="another runner has had it meanwhile"):
        await stalled.advance([a_mark(0, "10", 3)], Effort())
    assert not stalled.tenure.held
    await stalled.close()


async def test_a_lease_that_ended_goes_on_where_nobody_had_it(place):
    store = await place.open("one")
    await store.begin(a_run())
    store.tenure.until(store.tenure.clock() - 1)
    assert not store.tenure.held
    await store.advance([a_mark(0, "10", 3, [a_letter("1")])], Effort())
    assert store.tenure.held
    await store.close()


async def test_a_tenure_is_counted_from_before_the_lease_was_asked_for(place, monkeypatch):
    store = await place.open("one")
    asked_s = store.tenure.clock()

    async def slow(*_, **__):
        monkeypatch.setattr(state_lease, "boot_s", lambda: asked_s + 30)

    monkeypatch.setattr(state_lease, "boot_s", lambda: asked_s)
    monkeypatch.setattr(store._table, "call", slow)
    assert await store._lease.renew()
    assert store.tenure.end_s == asked_s + LEASE_S
    monkeypatch.undo()
    await store.close()


@pytest.mark.parametrize("away", ["a copy of its directory", "a lock file made anew"])
async def test_a_copy_of_the_state_directory_is_another_owner(place, away):
    store = await place.open("one")
    await store.begin(a_run())
    if away == "a lock file made anew":
        (place.tmp_path / "one" / "orders" / "lock").unlink()
        machine = "one"
    else:
        shutil.copytree(place.tmp_path / "one", place.tmp_path / "copy")
        machine = "copy"
    with pytest.raises(JobError, match="already being run"):
        await place.open(machine)
    await store.advance([a_mark(0, "10", 3)], Effort())
    await store.close()


async def test_a_state_table_that_is_made_anew_ends_what_runs_on_it(place):
    store = await place.open("one")
    await store.begin(a_run())
    client = place.table.meta.client
    client.delete_table(TableName=place.section.table)
    await create(place.section.as_target(), print)
    with pytest.raises(PermanentError, match="the table was made anew"):
        await store.advance([a_mark(0, "10", 3)], Effort())
    assert not store.tenure.held
    await store.close()


async def test_dead_letters_that_no_checkpoint_counts_vanish(place, monkeypatch):
    store = await place.open("one")
    await store.begin(a_run())
    await store.advance([a_mark(0, "10", 3, [a_letter("1")])], Effort())

    async def cut_off(*_):
        raise PermanentError("the network is gone")

    monkeypatch.setattr(store, "_commit_segments", cut_off)
    with pytest.raises(PermanentError):
        await store.advance([a_mark(0, "20", 3, [a_letter("2")])], Effort())
    assert ids(store) == ["1", "2"]
    await store.close()
    store = await place.open("one")
    assert (await store.load()).counts.items_dead_lettered == 1
    await store.resume()
    assert ids(store) == ["1"]
    await store.advance([a_mark(0, "20", 3, [a_letter("2b")])], Effort())
    await store.close()
    store = await place.open("two")
    await store.load()
    await store.resume()
    assert ids(store) == ["1", "2b"]
    await store.close()


async def test_a_dead_letter_over_400_kb_is_kept_whole(place):
    blob = os.urandom(600_000).hex()
    letter = a_letter("1", "item_too_large", json.dumps({"PK": {"S": "a"}, "blob": {"S": blob}}))
    store = await place.open("one")
    await store.begin(a_run())
    await store.advance([a_mark(0, "10", 0, [letter])], Effort())
    await store.close()
    store = await place.open("two")
    await store.load()
    await store.resume()
    assert json.loads(store.dead_letters.read_text())["item"]["blob"]["S"] == blob
    await store.close()


async def test_a_catch_up_elsewhere_still_has_the_full_runs_dead_letters(place):
    store = await place.open("one")
    await store.begin(a_run(segments=1))
    await store.advance([a_mark(0, "10", 3, [a_letter("1")], done=True)], Effort())
    await store.finish("complete_with_dead_letters", LATER, Effort(), None)
    await store.close()
    store = await place.open("two")
    assert (await store.load()).closed
    await store.begin(a_run("run-2", kind="catch_up", segments=1))
    await store.advance([a_mark(0, "10", 3, [a_letter("2")])], Effort())
    await store.close()
    store = await place.open("three")
    await store.load()
    await store.resume()
    assert ids(store) == ["1", "2"]
    await store.close()


async def test_segments_of_earlier_runs_do_not_pile_up(place):
    store = await place.open()
    for number in range(3):
        await store.begin(a_run(f"run-{number}", segments=30))
    await store.close()
    left = {item["PK"] for item in place.table.scan()["Items"] if item["SK"].startswith("SEGMENT#")}
    assert left == {"orders#run-2"}


async def test_status_reads_without_the_lease(place):
    assert await read_state(place.section, "orders") is None
    store = await place.open()
    assert await read_state(place.section, "orders") is None
    await store.begin(a_run())
    await store.advance([a_mark(0, "10", 3)], Effort())
    assert (await read_state(place.section, "orders")).counts.items_written == 3
    await store.close()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("record", "tampered", "is damaged"),
        ("version", 99, r"newer backfill \(state version 99"),
    ],
)
async def test_damage_and_newer_versions_are_told(place, name, value, said):
    store = await place.open()
    await store.begin(a_run())
    place.table.update_item(
        Key={"PK": "orders", "SK": "RUN"},
        UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": name},
        ExpressionAttributeValues={":value": value},
    )
    with pytest.raises(JobError, match=said + ".*--fresh"):
        await store.load()
    await store.begin(a_run("run-2"))
    assert (await store.load()).run_id == "run-2"
    await store.close()


async def test_a_lost_segment_is_told(place):
    store = await place.open()
    await store.begin(a_run())
    place.table.delete_item(Key={"PK": "orders#run-1", "SK": "SEGMENT#00000001"})
    with pytest.raises(JobError, match=r"damaged \(1 segments, not 2\)"):
        await store.load()
    await store.close()


async def test_a_table_with_other_keys_is_refused(place):
    client = place.table.meta.client
    client.create_table(
        TableName=place.section.table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(JobError, match="state") as refused:
        await place.open()
    assert "target" not in str(refused.value)


async def test_many_segments_ask_of_no_partition_more_than_it_takes(place):
    """Below one key a checkpoint of 500 cursors took all of the 1,000 units that a partition has a second."""
    store = await place.open("one")
    bill = Bill(store)
    await store.begin(a_run(segments=2_000))
    assert bill.most() <= 256
    assert bill.calls["BatchWriteItem"] == 80
    await store.advance([a_mark(number, "10", 1) for number in range(500)], Effort())
    assert bill.most() <= 2 * math.ceil(500 / 8)
    assert bill.calls["TransactWriteItems"] == 1 + 6 + 1, "the run, 99 segments at a time, the run"
    await store.advance([a_mark(7, "20", 1)], Effort())
    assert bill.calls["TransactWriteItems"] == 8 + 2, "what hasn't changed isn't written"
    await store.close()
    store = await place.open("two")
    run = await store.load()
    assert [state.segment.number for state in run.segments] == list(range(2_000))
    assert (run.counts.rows_read, run.segments[7].end.key) == (501, ("20",))
    await store.begin(a_run("run-2", segments=2))
    left = {item["PK"] for item in place.table.scan()["Items"] if item["SK"].startswith("SEGMENT#")}
    assert left == {"orders#run-2"}
    await store.close()


async def test_a_state_of_an_earlier_version_goes_on_below_its_one_key(place, monkeypatch):
    store = await place.open("one")
    with monkeypatch.context() as patch:
        patch.setattr(state_store, "spread_for", lambda _: 1)
        await store.begin(a_run(segments=600))
    await store.advance([a_mark(0, "10", 3)], Effort())
    await store.close()
    run = {"PK": "orders", "SK": "RUN"}
    place.table.update_item(Key=run, UpdateExpression="REMOVE spread")
    assert place.table.get_item(Key=run)["Item"]["version"] == 1, "an earlier version reads it, too"
    store = await place.open("two")
    assert (await store.load()).counts.rows_read == 3
    await store.resume()
    await store.advance([a_mark(0, "20", 3), a_mark(599, "20", 1)], Effort())
    assert (await read_state(place.section, "orders")).counts.rows_read == 7
    await store.begin(a_run("run-2", segments=600))
    items = place.table.scan()["Items"]
    assert Counter(item["PK"] for item in items if item["SK"].startswith("SEGMENT#")) == {
        f"orders#run-2#0{n}": 200 for n in range(3)
    }
    assert place.table.get_item(Key=run)["Item"]["version"] == SPREAD_VERSION, "an earlier version refuses it"
    await store.close()
