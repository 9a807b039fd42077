"""Catch-up runs from MongoDB's log: the table ends as the source says, and nothing is left."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.logged import followed, items, refused, run, until
from tests.support.streamed import IMAGES, Streamed, streaming


@pytest.fixture
def options() -> dict[str, Any]:
    return {}


@pytest.fixture
def streamed(
    mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path, options: dict[str, Any]
) -> Iterator[Streamed]:
    with streaming(mongodb_url, database, dynoxide, table_name, tmp_path, **options) as made:
        yield made


@pytest.mark.parametrize("driver", ["pymongo", "motor"])
def test_what_becomes_of_documents_becomes_of_their_items(streamed: Streamed, driver: str) -> None:
    command, c = streamed.command, streamed.collection
    command.job["source"]["driver"] = driver
    run(command, "full")
    assert len(items(command)) == 100
    c.delete_one({"_id": 1})
    c.update_one({"_id": 3}, {"$set": {"v": "second"}})
    c.replace_one({"_id": 4}, {"v": "third"})
    c.insert_one({"_id": 200, "v": "new"})
    c.insert_one({"_id": 201})
    c.delete_one({"_id": 201})
    c.delete_one({"_id": 5})
    c.insert_one({"_id": 5, "v": "back"})
    report = run(command, "catch_up")
    found = items(command)
    assert {"D#1|D", "D#201|D"}.isdisjoint(found)
    assert [found[f"D#{n}|D"]["v"]["S"] for n in (3, 4, 5, 200)] == ["second", "third", "back", "new"]
    assert len(found) == 100
    assert (report["items_written"], report["items_deleted"]) == (4, 2)
    assert run(command, "catch_up")["items_emitted"] == 0


def test_documents_that_leave_what_is_read_lose_their_items_and_come_back(streamed: Streamed) -> None:
    command, c = streamed.command, streamed.collection
    command.job["source"]["filter"] = {"hidden": {"$ne": True}}
    command.job["items"][0] |= {"when": "v <> 'off'", "delete_when": "v = 'deleted'"}
    run(command, "full")
    gone = {1: {"hidden": True}, 2: {"v": "off"}, 3: {"v": "deleted"}}
    for n, change in gone.items():
        c.update_one({"_id": n}, {"$set": change})
    run(command, "catch_up")
    assert len(items(command)) == 97
    for n in gone:
        c.update_one({"_id": n}, {"$set": {"v": "on"}, "$unset": {"hidden": ""}})
    run(command, "catch_up")
    assert [items(command)[f"D#{n}|D"]["v"]["S"] for n in gone] == ["on"] * 3


@pytest.mark.parametrize("options", [IMAGES])
def test_keys_that_changed_and_elements_that_are_gone(streamed: Streamed) -> None:
    """From pre-images: whatever a document's items were called before, they aren't there any more."""
    command, c = streamed.command, streamed.collection
    c.create_index("v", unique=True)
    command.job["items"] = [
        {"name": "V", "key": {"PK": "V#{v}", "SK": "V"}, "attributes": {"n": "{_id}"}},
        {
            "name": "Tag",
            "for_each": "tags",
            "unique": True,
            "key": {"PK": "D#{_id}", "SK": "T#{each.x}"},
        },
        {"name": "Nth", "for_each": "tags", "key": {"PK": "D#{_id}", "SK": "N#{index:02d}"}},
    ]
    run(command, "full")
    assert len(items(command)) == 500
    for v in ("second", "first1"):  # there and back
        c.update_one({"_id": 1}, {"$set": {"v": v}})
    for v in ("second", "third"):
        c.update_one({"_id": 2}, {"$set": {"v": v}})
    c.update_one({"_id": 3}, {"$pull": {"tags": {"x": "a"}}})
    c.update_one({"_id": 4}, {"$unset": {"tags": ""}})
    c.delete_one({"_id": 5})
    c.insert_one({"_id": 5, "v": "back", "tags": [{"x": "c"}]})
    c.update_one({"_id": 6}, {"$set": {"v": "first5"}})  # what another one had
    run(command, "catch_up")
    found = items(command)
    expected = {f"V#{d['v']}|V" for d in c.find()}
    for d in c.find():
        for place, tag in enumerate(d.get("tags", [])):
            expected |= {f"D#{d['_id']}|T#{tag['x']}", f"D#{d['_id']}|N#{place:02d}"}
    assert found.keys() == expected
    assert found["V#first5|V"]["n"] == {"N": 6}
    assert run(command, "catch_up")["items_emitted"] == 0


def test_a_collection_that_was_emptied_leaves_no_item(streamed: Streamed) -> None:
    command, c = streamed.command, streamed.collection
    run(command, "full")
    c.delete_many({})
    run(command, "catch_up")
    assert items(command) == {}
    c.insert_one({"_id": 7})
    run(command, "catch_up")
    assert items(command).keys() == {"D#7|D"}


@pytest.mark.parametrize("options", [IMAGES])
def test_a_transaction_of_many_parts_and_documents_larger_than_a_message(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a change no more is asked for than keys need, so that both its images may take 16 MB each."""
    monkeypatch.setattr("connectors.mongodb.feed.PART_ROWS", 7)
    command, c = streamed.command, streamed.collection
    c.create_index("v", unique=True)
    command.job["items"][0]["key"]["PK"] = "V#{v}"
    command.job["source"]["projection"] = {"v": 1}
    run(command, "full")
    with streamed.mongo.start_session() as session, session.start_transaction():
        for n in range(1, 101):
            c.update_one({"_id": n}, {"$set": {"v": f"{n}th"}}, session=session)
        c.delete_many({"_id": {"$gt": 90}}, session=session)
    with streamed.mongo.start_session() as session:
        session.start_transaction()
        c.delete_many({"_id": {"$lt": 50}}, session=session)
        session.abort_transaction()
    for size in (9_000_000, 10_000_000):
        c.replace_one({"_id": 1}, {"v": f"of {size}", "pad": "x" * size})
    report = run(command, "catch_up")
    found = items(command)
    assert found.keys() == {f"V#{v}|D" for v in ("of 10000000", *(f"{n}th" for n in range(2, 91)))}
    assert report["rows_read"] > 100
    assert run(command, "catch_up")["rows_read"] == 0


def test_an_item_that_cannot_be_written_leaves_what_was_there(streamed: Streamed) -> None:
    command, c = streamed.command, streamed.collection
    run(command, "full")
    c.update_one({"_id": 1}, {"$set": {"v": float("nan")}})
    c.delete_one({"_id": 2})
    run(command, "catch_up", code=3)
    assert items(command)["D#1|D"]["v"] == {"S": "first1"}
    assert "D#2|D" not in items(command)
    (letter,) = command.dead_letters()
    assert letter["detail"].endswith("; what an earlier run wrote under this key stays as it was")


@pytest.mark.parametrize("options", [IMAGES])
@pytest.mark.parametrize(
    ("key", "write"),
    [
        ("{_id}", lambda c: c.insert_one({"_id": "7"})),
        ("{v}", lambda c: c.update_one({"_id": 1}, {"$set": {"v": 5}})),
    ],
    ids=["_id", "a field with a unique index"],
)
def test_texts_of_two_types_that_may_meet_end_the_run(streamed: Streamed, key: str, write: Any) -> None:
    """A document that had the type for a while, and is gone: its item may be another's by now."""
    command, c = streamed.command, streamed.collection
    c.create_index("v", unique=True)
    command.job["items"][0]["key"]["PK"] = f"D#{key}"
    run(command, "full")
    write(c)
    c.delete_many({"$or": [{"_id": {"$type": "string"}}, {"v": 5}]})
    said = refused(command, 1)
    assert "of another type than" in said
    assert "--fresh" in said
    run(command, "full", 0, "--fresh")
    run(command, "catch_up")


def written_by_another(command: Command, place: str, version: int) -> None:
    """Be an application that writes the target itself."""
    partition, sort = place.split("|")
    item = {"PK": {"S": partition}, "SK": {"S": sort}, "v": {"S": "another's"}, "n": {"N": str(version)}}
    target = command.job["target"]
    loads.client(target["endpoint_url"]).put_item(TableName=target["table"], Item=item)


@pytest.mark.parametrize("options", [IMAGES])
@pytest.mark.parametrize("follows", [False, True])
def test_in_mode_newer_what_another_writes_with_a_higher_version_stays(
    streamed: Streamed, *, follows: bool
) -> None:
    """What a delete may take is told by versions: its document's own, or a lower one."""
    command, c = streamed.command, streamed.collection
    command.job["target"] |= {"mode": "newer", "version": "n"}
    command.job["items"][0]["attributes"]["n"] = "{n}"
    command.job["items"][0]["key"]["PK"] = "D#{k}"
    c.update_many({}, [{"$set": {"n": 1, "k": {"$concat": ["k", {"$toString": "$_id"}]}}}])
    c.create_index("k", unique=True)
    run(command, "full")
    for number in (1, 2, 3):
        written_by_another(command, f"D#k{number}|D", 9)
    written_by_another(command, "D#k7|D", 1)

    def changes() -> None:
        c.delete_many({"_id": {"$in": [1, 4]}})
        for number in (2, 5):
            c.update_one({"_id": number}, {"$set": {"k": f"moved{number}", "n": 2}})
        c.update_many({"_id": {"$in": [3, 6]}}, {"$set": {"v": "second", "n": 2}})
        c.delete_one({"_id": 7})
        c.update_one({"_id": 8}, {"$set": {"k": "away", "n": 2}})
        c.update_one({"_id": 8}, {"$set": {"k": "k8", "n": 3}})
        c.update_one({"_id": 9}, {"$set": {"v": "unseen"}})
        c.update_one({"_id": 10}, {"$set": {"k": "still"}})

    def scene(_: threading.Event) -> None:
        changes()
        written_by_another(command, "D#k11|D", 9)  # while its own change is on its way, or behind it
        c.update_one({"_id": 11}, {"$set": {"v": "late", "n": 2}})
        c.update_one({"_id": 100}, {"$set": {"v": "seen", "n": 2}})
        until(lambda: items(command)["D#k100|D"]["v"] == {"S": "seen"}, "it isn't there")

    if follows:
        assert followed(command, scene).code == 0
        assert items(command)["D#k11|D"]["n"] == {"N": 9}
    else:
        changes()
        assert run(command, "catch_up")["items_skipped"] == 4
    found = {place: (item["v"]["S"], int(item["n"]["N"])) for place, item in items(command).items()}
    assert [found[f"D#k{n}|D"] for n in (1, 2, 3)] == [("another's", 9)] * 3, "newer than what is gone"
    assert {"D#k4|D", "D#k5|D", "D#k7|D", "D#away|D", "D#k10|D"}.isdisjoint(found)
    assert (found["D#moved2|D"], found["D#moved5|D"]) == (("first2", 2), ("first5", 2))
    assert (found["D#k6|D"], found["D#k8|D"]) == (("second", 2), ("first8", 3))
    assert found["D#k9|D"] == ("first9", 1), "a document that changes without its version is not newer"
    assert found["D#still|D"] == ("first10", 1)
    assert run(command, "catch_up")["items_emitted"] == 0


@pytest.mark.parametrize("options", [IMAGES])
def test_in_mode_newer_a_delete_has_the_version_of_its_document(streamed: Streamed) -> None:
    command, c = streamed.command, streamed.collection
    c.update_many({}, {"$set": {"n": 5}})
    command.job["target"] |= {"mode": "newer", "version": "n"}
    command.job["items"][0]["attributes"]["n"] = "{n}"
    run(command, "full")
    c.delete_one({"_id": 1})
    c.update_one({"_id": 2}, {"$set": {"v": "second", "n": 6}})
    run(command, "catch_up")
    found = items(command)
    assert "D#1|D" not in found
    assert found["D#2|D"]["n"] == {"N": 6}
