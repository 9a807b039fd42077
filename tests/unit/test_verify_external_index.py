"""The external index knows every key once, by what counts of it, whatever part of the store it is in."""

import numpy as np
import pytest

from engine.commands import hash_store
from engine.commands.hash_store import HashStore
from engine.commands.verify.external_index import ExternalIndex, build, record_type


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(hash_store, "PART_RECORDS", 100)


def built(directory, added, *, ranked=False):
    """An index of (keys, contents, row range) or, ranked, (keys, contents, row range, ranks)."""
    store = HashStore(directory, record_type(ranked=ranked), advice="")
    for keys, *columns in added:
        some = np.zeros(len(keys), record_type(ranked=ranked))
        some["key"] = np.array(keys, np.uint64)
        for name, values in zip(("content", "row_range", "rank"), columns, strict=False):
            some[name] = values
        store.add(some)
        if store.full:
            store.flush()
    length = build(directory, store)
    return ExternalIndex(directory, length), length


def test_the_last_of_equal_keys_counts_within_a_part_and_across(tmp_path):
    index, length = built(
        tmp_path,
        [
            ([5, 7], [50, 70], 1),
            ([5], [51], 2),
            (range(1000, 1100), range(100), 3),
            ([7], [71], 4),
        ],
    )
    assert length == 102
    at = index.find(np.array([5, 7], np.uint64))
    assert index.contents[at].tolist() == [51, 71]
    assert index.row_ranges[at].tolist() == [2, 4]


def test_with_ranks_the_first_of_the_highest_counts(tmp_path):
    index, _ = built(
        tmp_path,
        [
            ([5, 5, 7], [50, 51, 70], 1, [b"2", b"1", b"3"]),
            (range(1000, 1100), range(100), 2),
            ([5, 7], [52, 71], 3, [b"2", b"4"]),
        ],
        ranked=True,
    )
    assert index.contents[index.find(np.array([5, 7], np.uint64))].tolist() == [50, 71]


def test_every_key_is_found_and_no_other(tmp_path):
    keys = np.random.default_rng(1).integers(0, 2**64, 1_000, np.uint64)
    index, _ = built(tmp_path, [(part, part >> np.uint64(1), 0) for part in np.split(keys, 10)])
    assert (index.contents[index.find(keys)] == keys >> np.uint64(1)).all()
    assert (index.find(keys + np.uint64(1)) == -1).all()
    assert index.find(np.array([0, 2**64 - 1], np.uint64)).tolist() == [-1, -1]


def test_what_was_marked_stays_marked_when_it_is_opened_again(tmp_path):
    keys = list(range(0, 2**64 - 1, 2**64 // 500))
    index, length = built(tmp_path, [(keys, keys, 0)])
    index.mark(index.find(np.array(keys[:-3], np.uint64)))
    index.sync()
    left = [key for each, _, _ in ExternalIndex(tmp_path, length).unseen() for key in each.tolist()]
    assert sorted(left) == keys[-3:]


def test_an_index_of_nothing_finds_nothing(tmp_path):
    index, length = built(tmp_path, [])
    assert length == 0
    assert index.find(np.array([1, 2], np.uint64)).tolist() == [-1, -1]
    assert list(index.unseen()) == []
    index.sync()


def test_marks_need_no_room_that_isnt_there_yet(tmp_path):
    """A hole in a mapped file ends the process by SIGBUS where the disk is full by then."""
    _, length = built(tmp_path, [(range(20_000), range(20_000), 1)])
    assert (tmp_path / "seen").stat().st_blocks * 512 >= length
