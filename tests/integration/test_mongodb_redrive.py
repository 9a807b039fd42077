"""Dead letters of a collection lead back to their documents, whatever type `_id` has."""

import json
import math
from typing import Any

import pytest

from connectors.dynamodb.target import TableTarget
from engine.errors import PermanentError
from tests.support import loads
from tests.support.mongo_load import BARE, ID_TYPES, Loaded, mixed

DOCUMENTS, BAD = 80, 8


@pytest.fixture
def loaded(request, mongodb_url, database, dynoxide, table_name, tmp_path):
    """A load whose every tenth document has left a dead letter of its own and one of its second tag."""
    name, key = request.param
    made = Loaded(mongodb_url, database, dynoxide, table_name, tmp_path, key)
    made.fill(
        mixed if name == "mixed" else ID_TYPES[name],
        DOCUMENTS,
        v=lambda n: math.nan if n % 10 == 0 else n / 4,
        tags=lambda n: [{"x": f"x{n}"}, {"x": math.inf if n % 10 == 0 else n}],
    )
    made.run(code=3)
    assert len(made.command.dead_letters()) == 2 * BAD
    yield made
    made.mongo.close()


every_type = pytest.mark.parametrize(
    "loaded",
    [*((name, "_id") for name in BARE), *((name, "n") for name in ("document", "timestamp", "mixed"))],
    indirect=True,
    ids=lambda given: f"{given[0]} by {given[1]}",
)
some = pytest.mark.parametrize(
    "loaded", [("ObjectId", "_id"), ("mixed", "n")], indirect=True, ids=["ObjectId", "mixed"]
)


def mend(loaded: Loaded, below: int) -> None:
    loaded.collection.update_many(
        {"n": {"$lt": below, "$mod": [10, 0]}}, {"$set": {"v": 1, "tags.1.x": "mended"}}
    )


@every_type
def test_letters_whose_documents_were_mended_leave_the_file(loaded):
    mend(loaded, 50)
    loaded.collection.delete_one({"n": 80})
    report = loaded.report("redrive", code=3)
    figures = tuple(report[name] for name in ("tried", "settled", "left", "gone", "items_written"))
    tags_again = 3  # a letter stands for its rule's items of a row: the first tag is written anew
    assert figures == (2 * BAD, 8, 8, 2, 3 * 4 + tags_again)
    letters = loaded.command.dead_letters()
    assert {letter["reason"] for letter in letters} == {"number_not_finite"}
    assert all(isinstance(text, str) for letter in letters for text in letter["source_key"].values())
    found = {int(item["n"]["N"]): item["v"] for item in loaded.items().values() if "n" in item}
    assert {n: found[n] for n in (10, 20, 30, 40)} == {n: {"N": 1} for n in (10, 20, 30, 40)}
    mend(loaded, 1_000)
    assert loaded.report("redrive", "--drop-gone")["dropped"] == 2
    assert loaded.command.dead_letters() == []
    verified = loaded.report("verify", "--full", code=4)
    of_the_deleted = 1  # its first tag, which was written
    assert verified["matched"] == 3 * (DOCUMENTS - 1)
    assert (verified["mismatched"], verified["missing"], verified["extra"]) == (0, 0, of_the_deleted)


@pytest.mark.parametrize("loaded", [("ObjectId", "_id")], indirect=True, ids=["ObjectId"])
def test_a_changed_mapping_settles_letters(loaded):
    doc, tag = loaded.command.job["items"]
    del doc["attributes"]["v"]
    tag["attributes"]["x"] = {"sql": "'fixed'"}
    loaded.report("redrive")
    items = loaded.items().values()
    assert sum("n" in item for item in items) == DOCUMENTS
    assert sum(item.get("x") == {"S": "fixed"} for item in items) == 2 * BAD


@some
def test_a_redrive_that_fails_leaves_every_letter(loaded, monkeypatch):
    before = loaded.command.dead_letters()
    mend(loaded, 1_000)
    write = TableTarget.write

    async def written_and_lost(self: Any, encoded: Any) -> None:
        await write(self, encoded)
        raise PermanentError("the network is gone")

    monkeypatch.setattr(TableTarget, "write", written_and_lost)
    assert loaded.command.here("redrive").code == 1
    assert loaded.command.dead_letters() == before
    monkeypatch.setattr(TableTarget, "write", write)
    assert loaded.report("redrive")["settled"] == 2 * BAD
    assert loaded.command.dead_letters() == []


@some
def test_only_what_the_letters_name_is_written(loaded):
    mend(loaded, 1_000)
    loaded.collection.update_many({}, {"$set": {"v": 1_000}})
    path = loaded.command.state / "load" / "dead-letters.jsonl"
    letters = [
        letter for letter in path.read_text().rstrip("\n").split("\n") if json.loads(letter)["rule"] == "Tag"
    ]
    path.write_text("\n".join(letters) + "\n")
    assert loaded.report("redrive")["items_written"] == 2 * BAD, "both tags, and nothing of rule Doc"
    assert all(item["v"] != {"N": 1_000} for item in loaded.items().values() if "n" in item)


@pytest.mark.parametrize("loaded", [("ObjectId", "_id")], indirect=True)
def test_letters_that_name_rows_in_another_way_are_no_letters_that_are_gone(loaded):
    loaded.collection.insert_one({"_id": "of another type", "n": 1_000})
    before = loaded.command.dead_letters()
    ended = loaded.command.here("redrive", "--drop-gone")
    assert ended.code == 2
    assert "name their rows by _id, but" in ended.stderr
    assert "backfill run --fresh" in ended.stderr
    assert loaded.command.dead_letters() == before


def test_documents_of_a_view_can_not_be_tried_one_by_one(
    mongodb_url, database, dynoxide, table_name, tmp_path
):
    made = Loaded(mongodb_url, database, dynoxide, table_name, tmp_path, "n")
    made.fill(mixed, 10, v=lambda n: math.nan)
    made.mongo[database].create_collection("v", viewOn="c", pipeline=[])
    made.command.job["source"]["collection"] = "v"
    made.run(code=3)
    ended = made.command.here("redrive")
    made.mongo.close()
    assert ended.code == 2
    assert "has no key by which rows can be looked up" in ended.stderr
    assert len(made.command.dead_letters()) == 10
    assert len(loads.items(dynoxide, table_name)) == 20
