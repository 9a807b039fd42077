"""`run --follow` by MongoDB's log: the target goes on as the source says, until it is told to stop."""

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.support import loads, mongo_log_keys
from tests.support.command import kill_group
from tests.support.logged import followed, items, run, until
from tests.support.streamed import IMAGES, Streamed, streaming


@pytest.fixture
def streamed(
    mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> Iterator[Streamed]:
    with streaming(mongodb_url, database, dynoxide, table_name, tmp_path) as made:
        yield made


def seen(streamed: Streamed, value: str) -> None:
    """Change document 100, and wait until the target has it: then it has all that came before, too."""
    streamed.collection.update_one({"_id": 100}, {"$set": {"v": value}})
    place = "D#100|D"
    until(lambda: items(streamed.command).get(place, {}).get("v") == {"S": value}, f"{value} isn't there")


def as_collection(streamed: Streamed) -> bool:
    made = {f"D#{document['_id']}|D": {"S": document["v"]} for document in streamed.collection.find()}
    return {place: item["v"] for place, item in items(streamed.command).items()} == made


def test_a_full_run_and_then_what_changes_until_it_is_stopped(streamed: Streamed) -> None:
    c = streamed.collection

    def scene(_: threading.Event) -> None:
        until(lambda: len(items(streamed.command)) == 100, "the full run")
        c.delete_one({"_id": 1})
        c.delete_one({"_id": 2})
        c.insert_one({"_id": 2, "v": "again"})
        seen(streamed, "once")
        assert as_collection(streamed)
        c.delete_many({"_id": {"$lt": 50}})
        seen(streamed, "twice")
        assert as_collection(streamed)

    ended = followed(streamed.command, scene)
    assert ended.code == 0, ended.stderr
    assert (ended.report["kind"], ended.report["outcome"]) == ("catch_up", "complete")
    loads.assert_balanced(ended.report)
    assert ended.report["catch_up_lag_s"] < 3600
    assert run(streamed.command, "catch_up")["rows_read"] == 0


def test_a_plain_run_gives_an_end_to_what_a_killed_follower_left(streamed: Streamed) -> None:
    run(streamed.command, "full")
    process = streamed.command.start("run", "--follow", "--workers", "1", log=streamed.command.folder / "log")
    seen(streamed, "followed")
    kill_group(process)
    streamed.collection.delete_one({"_id": 1})
    assert run(streamed.command, "catch_up")["resumed"]
    assert as_collection(streamed)
    assert streamed.command.here("status", "--json").report["catch_up_lag_s"] >= 0


def test_a_collection_that_is_dropped_ends_it_with_a_sentence(streamed: Streamed) -> None:
    run(streamed.command, "full")

    def scene(over: threading.Event) -> None:
        seen(streamed, "under way")
        streamed.collection.drop()
        until(over.is_set, "it goes on")

    ended = followed(streamed.command, scene)
    assert ended.code == 1, ended.stderr
    assert "was dropped" in ended.report["error"]


def test_documents_that_take_keys_from_each_other_are_followed(
    mongodb_url: str,
    database: str,
    dynoxide: str,
    table_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys, random = mongo_log_keys, Random(7)
    monkeypatch.setattr("connectors.mongodb.feed.PART_ROWS", 3)
    with streaming(mongodb_url, database, dynoxide, table_name, tmp_path, **IMAGES) as made:
        made.collection.delete_many({})
        made.command.job["items"] = [keys.BY_K, keys.BY_TAG, keys.BY_R, keys.OWN]
        made.command.job["source"]["filter"] = {"hidden": {"$ne": True}}
        for _ in range(40):
            keys.changed(made, random)

        def scene(_: threading.Event) -> None:
            for _ in range(3):
                for _ in range(40):
                    keys.changed(made, random)
                until(lambda: keys.held(made) == keys.fresh(made), "the items aren't those of a fresh load")

        ended = followed(made.command, scene)
        assert ended.code == 0, ended.stderr
        loads.assert_balanced(ended.report)
        assert keys.held(made) == keys.fresh(made)
