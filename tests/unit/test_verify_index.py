"""The index on disk knows every key once, the last one that was added, whatever part it is in."""

import numpy as np
import pytest

from engine.commands.verify import index as indexes
from engine.commands.verify.index import Index, Parts, Records


def records(keys, contents, place=0):
    count = len(keys)
    return Records(np.array(keys, np.uint64), np.array(contents, np.uint64), np.full(count, place, np.uint32))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(indexes, "PART_RECORDS", 100)


def built(directory, added):
    parts = Parts(directory, [])
    for each in added:
        parts.add(each)
        if parts.full:
            parts.flush()
    parts.flush()
    return Index(directory, parts.merge())


def test_the_last_of_equal_keys_counts_within_a_part_and_across(tmp_path):
    index = built(
        tmp_path,
        [
            records([5, 7], [50, 70], place=1),
            records([5], [51], place=2),
            records(range(1000, 1100), range(100), place=3),
            records([7], [71], place=4),
        ],
    )
    assert index.length == 102
    found = index.at(index.find(np.array([5, 7], np.uint64)))
    assert found.contents.tolist() == [51, 71]
    assert found.places.tolist() == [2, 4]


def test_every_key_is_found_and_no_other(tmp_path):
    keys = np.random.default_rng(1).integers(0, 2**64, 1_000, np.uint64)
    index = built(tmp_path, [records(part, part >> np.uint64(1)) for part in np.split(keys, 10)])
    found = index.find(keys)
    assert (index.at(found).contents == keys >> np.uint64(1)).all()
    assert (index.find(keys + np.uint64(1)) == -1).all()
    assert index.find(np.array([0, 2**64 - 1], np.uint64)).tolist() == [-1, -1]


def test_what_was_marked_stays_marked_when_it_is_opened_again(tmp_path):
    keys = list(range(0, 2**64 - 1, 2**64 // 500))
    index = built(tmp_path, [records(keys, keys)])
    index.mark(index.find(np.array(keys[:-3], np.uint64)))
    index.sync()
    left = [key for each in Index(tmp_path, index.length).unseen() for key in each.keys.tolist()]
    assert sorted(left) == keys[-3:]


def test_an_index_of_nothing_finds_nothing(tmp_path):
    index = built(tmp_path, [])
    assert index.length == 0
    assert index.find(np.array([1, 2], np.uint64)).tolist() == [-1, -1]
    assert list(index.unseen()) == []
    index.sync()
