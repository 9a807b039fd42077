"""Catch-up from MongoDB's log where several documents make one item: it is whose a fresh load says it is."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.support.logged import run
from tests.support.mongo_log_keys import BY_K, BY_R, BY_TAG, OWN, changed, fresh, held
from tests.support.streamed import IMAGES, Streamed, streaming


@pytest.fixture
def streamed(
    mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> Iterator[Streamed]:
    with streaming(mongodb_url, database, dynoxide, table_name, tmp_path, **IMAGES) as made:
        made.command.job["items"] = [BY_K]
        made.collection.delete_many({})
        yield made


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
