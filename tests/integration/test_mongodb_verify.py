"""verify over a collection finds what was damaged and nothing else; what it repairs stays repaired."""

from datetime import UTC, datetime

import pytest
from bson import Decimal128, ObjectId

from engine.commands.verify import recheck
from tests.support.mongo_load import BARE, ID_TYPES, Loaded, mixed

DOCUMENTS = 200
ITEMS = 3 * DOCUMENTS


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(recheck, "PAUSES_S", (0.0, 0.0, 0.0))


@pytest.fixture
def loaded(request, mongodb_url, database, dynoxide, table_name, tmp_path):
    name, key = request.param
    made = Loaded(mongodb_url, database, dynoxide, table_name, tmp_path, key)
    made.fill(mixed if name == "mixed" else ID_TYPES[name], DOCUMENTS)
    made.run()
    yield made
    made.mongo.close()


every_type = pytest.mark.parametrize(
    "loaded",
    [*((name, "_id") for name in BARE), ("document", "n"), ("mixed", "n")],
    indirect=True,
    ids=lambda given: f"{given[0]} by {given[1]}",
)
some_types = pytest.mark.parametrize(
    "loaded",
    [("ObjectId", "_id"), ("number", "_id"), ("mixed", "n")],
    indirect=True,
    ids=lambda given: given[0],
)
one_type = pytest.mark.parametrize("loaded", [("ObjectId", "_id")], indirect=True, ids=["ObjectId"])


def counts(report):
    return tuple(report[name] for name in ("matched", "mismatched", "missing", "extra"))


def damage(loaded: Loaded) -> str:
    """Flip a byte, write a number in another form, take an item away, add one that no document gives."""
    seventh, eighth, ninth = (loaded.key_of(n) for n in (7, 8, 9))
    loaded.put(seventh, "T#000", x={"S": "y7"})
    loaded.put(eighth, "D", v={"N": "2.00"}, n={"N": "0.8E1"})
    loaded.delete(ninth, "T#001")
    loaded.put(ninth, "T#002", x={"S": "of no document"})
    return seventh


@every_type
@pytest.mark.parametrize("read", ["scan", "get"])
def test_planted_damage_is_found_and_nothing_else(loaded, read):
    assert counts(loaded.report("verify", "--full", "--read", read)) == (ITEMS, 0, 0, 0)
    seventh = damage(loaded)
    report = loaded.report("verify", "--full", "--read", read, code=4)
    assert counts(report) == (ITEMS - 2, 1, 1, 1 if read == "scan" else 0)
    (mismatch,) = [each for each in report["differences"] if each["kind"] == "mismatched"]
    assert mismatch["key"] == {"PK": {"S": seventh}, "SK": {"S": "T#000"}}
    assert mismatch["attributes"] == {"x": {"source": {"S": "x7"}, "target": {"S": "y7"}}}


@every_type
def test_a_sample_finds_it_in_the_documents(loaded):
    seventh = damage(loaded)
    report = loaded.report("verify", "--sample", "1000", code=4)
    found = {(each["kind"], each["key"]["PK"]["S"], each["key"]["SK"]["S"]) for each in report["differences"]}
    assert {("mismatched", seventh, "T#000"), ("missing", loaded.key_of(9), "T#001")} <= found
    assert found <= {
        ("mismatched", seventh, "T#000"),
        ("missing", loaded.key_of(9), "T#001"),
        ("extra", loaded.key_of(9), "T#002"),
    }


@pytest.mark.parametrize("loaded", [(name, "_id") for name in BARE], indirect=True, ids=BARE)
def test_a_sample_goes_in_both_directions(loaded):
    report = loaded.report("verify", "--sample", "50", "--seed", "3")
    assert report["extra_checked"] is True
    assert report["mismatched"] == report["missing"] == report["extra"] == 0
    loaded.collection.delete_many({"n": {"$gt": 20}})
    report = loaded.report("verify", "--sample", "100", code=4)
    assert report["extra"] > 0
    assert report["missing"] == report["mismatched"] == 0


@pytest.mark.parametrize("loaded", [("mixed", "n")], indirect=True, ids=["mixed"])
def test_where_keys_do_not_tell_the_document_the_second_direction_is_left_out_and_said(loaded):
    report = loaded.report("verify", "--sample", "50")
    assert report["extra_checked"] is False
    assert any("don't tell their source row" in notice for notice in report["notices"])


@some_types
def test_repair_leaves_nothing_and_deletes_only_when_told(loaded):
    damage(loaded)
    repaired = loaded.report("verify", "--full", "--repair", code=4)
    assert (repaired["repaired"], repaired["deleted"], repaired["left"]) == (2, 0, 1)
    assert counts(loaded.report("verify", "--full", code=4)) == (ITEMS, 0, 0, 1)
    deleted = loaded.report("verify", "--full", "--repair", "--delete-extra")
    assert (deleted["deleted"], deleted["left"]) == (1, 0)
    assert counts(loaded.report("verify", "--full")) == (ITEMS, 0, 0, 0)


@one_type
def test_an_item_whose_key_no_id_reads_like_is_extra_too(loaded):
    loaded.put("D#no ObjectId", "D", v={"N": "1"})
    loaded.put(f"D#{ObjectId()}", "D", v={"N": "1"})
    loaded.put("E#other", "D", v={"N": "1"})
    assert counts(loaded.report("verify", "--full", code=4)) == (ITEMS, 0, 0, 2)


@one_type
def test_documents_that_the_filter_leaves_out_make_their_items_extra(loaded):
    loaded.command.job["source"]["filter"] = {"n": {"$lte": 100}}
    assert counts(loaded.report("verify", "--full", code=4)) == (300, 0, 0, 300)
    report = loaded.report("verify", "--sample", "1000", code=4)
    assert counts(report)[1:3] == (0, 0)
    assert report["extra"] > 0


@one_type
def test_a_document_that_changes_its_number_only_in_form_matches(loaded):
    loaded.collection.update_one({"n": 8}, {"$set": {"v": Decimal128("2.000")}})
    assert counts(loaded.report("verify", "--full")) == (ITEMS, 0, 0, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"capped": True, "size": 10_000_000, "max": 50},
        {"timeseries": {"timeField": "at"}, "expireAfterSeconds": 10**8},
    ],
    ids=["capped", "time series"],
)
def test_what_a_collection_lets_go_of_by_itself_is_told_and_stays(
    mongodb_url, database, dynoxide, table_name, tmp_path, options
):
    loaded = Loaded(mongodb_url, database, dynoxide, table_name, tmp_path, "n")
    with loaded.mongo:
        loaded.mongo[database].create_collection("c", **options)
        now = datetime.now(UTC)
        loaded.fill(lambda n: n, 50, tags=lambda n: [], at=lambda n: now)
        loaded.run()
        if "capped" in options:
            loaded.collection.insert_many([{"_id": n, "n": n, "v": n / 4} for n in range(51, 61)])
        else:
            for n in range(1, 11):
                loaded.put(f"D#{1000 + n}", "D", n={"N": "1"})
        missing = 10 if "capped" in options else 0
        found = loaded.report("verify", "--full", code=4 if missing else 0)
        assert (found["forgotten"], found["extra"], found["missing"]) == (10, 0, missing)
        found = loaded.report("verify", "--full", "--repair", "--delete-extra")
        assert (found["forgotten"], found["deleted"], found["left"]) == (10, 0, 0)
        assert len(loaded.items()) == 60
