"""Catch-up from MongoDB's log where several documents make one item: it is whose a fresh load says it is."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.logged import items, run
from tests.support.streamed import IMAGES, Streamed, streaming

BY_K: dict[str, Any] = {
    "name": "K",
    "key": {"PK": "K#{k}", "SK": "K"},
    "attributes": {"of": "{_id}", "v": "{v}"},
    "delete_when": "v = 'gone'",
}
BY_R = BY_K | {"name": "R", "key": {"PK": "R#{deep.r}", "SK": "R"}}
BY_TAG = BY_K | {"name": "Tag", "for_each": "tags", "key": {"PK": "T#{k}", "SK": "{each}"}}
OWN = BY_K | {"name": "Own", "key": {"PK": "D#{_id}", "SK": "D"}}
ALIKE: list[Any] = [1, "1", 1.0, 2.5, "2.5", "x"]
"""Values of a key, some of which print alike."""


@pytest.fixture
def streamed(
    mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> Iterator[Streamed]:
    with streaming(mongodb_url, database, dynoxide, table_name, tmp_path, **IMAGES) as made:
        made.command.job["items"] = [BY_K]
        made.collection.delete_many({})
        yield made


def held(streamed: Streamed) -> dict[str, tuple[int, str]]:
    """Return the document that each item is of, and what it says of it."""
    found = items(streamed.command).items()
    return {place: (int(item["of"]["N"]), item["v"]["S"]) for place, item in found}


def fresh(streamed: Streamed) -> dict[str, tuple[int, str]]:
    """Return what documents would make that are written one after the other, by the test's own reckoning."""
    found: dict[str, tuple[int, str]] = {}
    rules = [rule["name"] for rule in streamed.command.job["items"]]
    hidden = "filter" in streamed.command.job["source"]
    for document in streamed.collection.find().sort("_id"):
        if hidden and document.get("hidden"):
            continue
        k = str(document["k"]).removesuffix(".0")
        keys = [f"K#{k}|K"] if "K" in rules else []
        keys += [f"R#{document['deep']['r']}|R"] if "R" in rules else []
        keys += [f"T#{k}|{tag}" for tag in document["tags"]] if "Tag" in rules else []
        keys += [f"D#{document['_id']}|D"] if "Own" in rules else []
        for key in keys:
            if document["v"] == "gone":
                found.pop(key, None)
            else:
                found[key] = document["_id"], document["v"]
    return found


def changed(streamed: Streamed, random: Random) -> None:
    """Be an application that does something to a few documents of a few keys."""
    one, other = random.randint(1, 25), random.randint(1, 25)
    c = streamed.collection
    document = {
        "k": random.choice(ALIKE),
        "deep": {"r": random.choice("ab")},
        "tags": random.sample("pqr", random.randint(0, 3)),
        "v": random.choice(["gone", f"v{random.random()}", f"w{random.random()}"]),
    }
    match random.randrange(6):
        case 0:
            c.delete_one({"_id": one})
        case 1 | 2:
            c.replace_one({"_id": one}, document, upsert=True)
        case 3:
            c.update_many({"_id": {"$in": [one, other]}}, {"$set": {"k": document["k"]}})
        case 4:
            c.update_one({"_id": one}, {"$set": {"hidden": random.random() < 0.5, "tags": document["tags"]}})
        case 5:
            with streamed.mongo.start_session() as session, session.start_transaction():
                first, second = (
                    c.find_one({"_id": one}, session=session),
                    c.find_one({"_id": other}, session=session),
                )
                if first and second:  # keys are handed round
                    c.update_one({"_id": one}, {"$set": {"k": second["k"]}}, session=session)
                    c.update_one({"_id": other}, {"$set": {"k": first["k"]}}, session=session)


def test_whatever_an_application_does_the_items_are_those_of_a_fresh_load(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(11)
    streamed.command.job["items"] = [BY_K, BY_TAG, BY_R, OWN]
    streamed.command.job["source"]["filter"] = {"hidden": {"$ne": True}}
    for _ in range(60):
        changed(streamed, random)
    run(streamed.command, "full")
    assert held(streamed) == fresh(streamed)
    for part_rows in (1_000, 1, 3, 2, 7):
        monkeypatch.setattr("connectors.mongodb.feed.PART_ROWS", part_rows)
        monkeypatch.setattr("connectors.deciding.DECIDING_BYTES", random.choice((1, 1_000_000)))
        monkeypatch.setattr("connectors.mongodb.peers.PEERS_BYTES_MAX", random.choice((1, 4_000_000)))
        for _ in range(40):
            changed(streamed, random)
        run(streamed.command, "catch_up")
        assert held(streamed) == fresh(streamed)


def test_who_has_a_key_is_found_among_the_documents_as_they_are(streamed: Streamed) -> None:
    c = streamed.collection
    c.insert_many([{"_id": n, "k": f"x{(n + 1) // 2}", "v": "first"} for n in range(1, 15)])
    c.insert_many([{"_id": 20, "k": 1, "v": "first"}, {"_id": 21, "k": "1", "v": "first"}])
    run(streamed.command, "full")
    c.delete_one({"_id": 2})
    c.delete_one({"_id": 3})
    c.delete_many({"_id": {"$in": [5, 6]}})
    c.update_one({"_id": 8}, {"$set": {"k": "y"}})
    c.update_one({"_id": 9}, {"$set": {"k": "x6"}})
    c.update_one({"_id": 14}, {"$set": {"k": "x6"}})
    c.delete_one({"_id": 21})
    run(streamed.command, "catch_up")
    owners = {place[2:-2]: of for place, (of, _) in held(streamed).items()}
    assert owners == {"x1": 1, "x2": 4, "x4": 7, "y": 8, "x5": 10, "x6": 14, "x7": 13, "1": 20}
    assert run(streamed.command, "catch_up")["items_emitted"] == 0


def test_a_plan_says_what_is_read_besides_and_what_makes_that_slow(streamed: Streamed) -> None:
    streamed.collection.insert_one({"_id": 1, "k": "x", "v": "first"})
    scanned = "No index of c begins with k, so it is looked through at every thousand changes"
    warnings = "\n".join(streamed.command.here("plan", "--json").report["warnings"])
    assert "each catch-up run reads the rows that share k with a changed one, too." in warnings
    assert scanned in warnings
    streamed.collection.create_index("k")
    assert scanned not in "\n".join(streamed.command.here("plan", "--json").report["warnings"])
