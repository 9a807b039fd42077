"""What was encoded comes out of a request's entry again, in every mode."""

import numpy as np
import orjson
import pytest

from connectors.dynamodb.encoding.entries import entry
from connectors.dynamodb.reading.codec import TableCodec
from engine.batch import Batch
from engine.contracts.transform import DELETE
from engine.kinds import Scalar
from tests.support.items import batch_of, encoded, rule_items, table_info

KINDS = {"PK": Scalar.STRING, "SK": Scalar.STRING, "it's": Scalar.STRING, "v": Scalar.INT}
ROWS = [
    {"PK": "a", "SK": "#", "it's": "quoted \"' ?", "v": "2"},
    {"PK": "b", "SK": "#", "it's": None, "v": "3"},
    {"PK": "c", "SK": "#", "it's": "gone", "v": "4", DELETE: True},
]
ITEMS = {
    "a": {"PK": {"S": "a"}, "SK": {"S": "#"}, "it's": {"S": "quoted \"' ?"}, "v": {"N": "2"}},
    "b": {"PK": {"S": "b"}, "SK": {"S": "#"}, "v": {"N": "3"}},
    "c": None,
}
CODEC = TableCodec(table_info().keys)


@pytest.mark.parametrize("mode", ["put", "insert", "newer"])
def test_an_item_is_taken_out_of_its_entry_as_it_went_in(mode):
    rows = ROWS[:2] if mode == "insert" else ROWS  # an insert deletes nothing
    made = encoded(rule_items(KINDS, rows), mode=mode, version="v" if mode == "newer" else None)
    sent = CODEC.sent(made, range(len(made)))
    keys = [CODEC.key_of(key) for key in sent.keys]
    assert sorted(key["PK"]["S"] for key in keys) == [row["PK"] for row in rows]
    assert all(item == ITEMS[key["PK"]["S"]] for key, item in zip(keys, sent.items, strict=True))
    versions = {"a": "2", "b": "3", "c": "4"}
    wanted = [{"N": versions[key["PK"]["S"]]} for key in keys] if mode == "newer" else []
    assert sent.versions == wanted


@pytest.mark.parametrize("mode", ["put", "newer"])
def test_what_is_encoded_has_the_hashes_of_what_a_server_gives_back(mode):
    made = encoded(rule_items(KINDS, ROWS), mode=mode, version="v" if mode == "newer" else None)
    found = CODEC.sent_digests(made)
    there = [item for item in ITEMS.values() if item is not None]
    wanted = CODEC.digests([dict(reversed(item.items())) for item in there])
    assert set(wanted.contents.tolist()) == set(found.contents[~made.deletes].tolist())
    assert set(wanted.keys.tolist()) == set(found.keys[~made.deletes].tolist())
    deleted = CODEC.digests([{"PK": {"S": "c"}, "SK": {"S": "#"}}]).keys
    assert found.keys[made.deletes].tolist() == deleted.tolist()


def test_deletes_of_keys_alone_are_a_batch_like_any_other():
    keys = [{"PK": {"S": text}, "SK": {"S": "#"}} for text in ("x", 'y"')]
    made = CODEC.deletes(Batch(0, 0, batch_of(1).rows, None), keys)
    assert [entry(orjson.loads(made.item(at))).key for at in range(2)] == keys
    assert made.deletes.all()
    assert np.array_equal(made.key_hashes, CODEC.sent_digests(made).keys)


def test_what_is_no_entry_is_said_so():
    with pytest.raises(ValueError, match="no entry"):
        entry({"Get": {}})
