"""What was added comes out once and by key, equal keys as they were added, whatever part they lie in."""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.commands import hash_store
from engine.commands.hash_store import HashStore
from engine.errors import PermanentError
from tests.support.full_disk import files_no_larger_than

RECORD = np.dtype([("key", np.uint64), ("number", np.uint32)])
KEYS = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63, 2**64 - 1]))


@given(st.lists(st.lists(KEYS, max_size=30), max_size=6), st.booleans())
def test_records_come_by_key_and_equal_ones_as_they_were_added(added, whole):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_store, "PART_RECORDS", 10)
        with TemporaryDirectory() as directory:
            store = HashStore(Path(directory), RECORD, advice="")
            count = 0
            for keys in added:
                some = np.zeros(len(keys), RECORD)
                some["key"], some["number"] = keys, np.arange(count, count + len(keys))
                count += len(keys)
                store.add(some)
                if store.full and not whole:
                    store.flush()
            ranges = [each.tolist() for each in store.merged()]
    every = [(key, number) for number, key in enumerate(key for keys in added for key in keys)]
    assert [pair for each in ranges for pair in each] == sorted(every)
    for one, other in pairwise(ranges):
        assert not one or not other or one[-1][0] < other[0][0]


def test_only_the_parts_that_count_are_gone_on_with(tmp_path):
    store = HashStore(tmp_path, np.dtype(np.uint64), durable=True, advice="")
    for keys in ([3, 1], [2]):
        store.add(np.array(keys, np.uint64))
        store.flush()
    again = HashStore(tmp_path, np.dtype(np.uint64), parts=1, durable=True, advice="")
    again.add(np.array([7], np.uint64))
    assert [key for each in again.merged() for key in each.tolist()] == [1, 3, 7]


def test_a_full_disk_is_said_with_what_to_do(tmp_path):
    store = HashStore(tmp_path / "gone", np.dtype(np.uint64), advice="make room")
    store.add(np.array([1], np.uint64))
    with pytest.raises(
        PermanentError, match=r"gone can't be written \(No such file or directory\): make room"
    ):
        store.flush()
    store = HashStore(tmp_path, np.dtype(np.uint64), advice="make room")
    store.add(np.arange(100_000, dtype=np.uint64))
    numpys = r"can't be written \(100000 requested and \d+ written\)"
    with files_no_larger_than(20_000), pytest.raises(PermanentError, match=numpys):
        store.flush()


def test_many_parts_take_few_descriptors(tmp_path, monkeypatch):
    """An order to read makes a part: hours of reading make thousands, and a process may often open 1,024."""
    monkeypatch.setattr(hash_store, "PART_RECORDS", 20)
    monkeypatch.setattr(hash_store, "OPEN_MAX", 4)
    store = HashStore(tmp_path, RECORD, advice="")
    spread = np.random.default_rng(1).integers(0, 2**64, (40, 5), np.uint64)
    for number, keys in enumerate(spread):
        store.add(np.array([(key, number) for key in keys], RECORD))
        store.flush()
    before, found = len([*Path("/dev/fd").iterdir()]), []
    for together in store.merged():
        assert len([*Path("/dev/fd").iterdir()]) <= before
        found += together.tolist()
    assert found == sorted((key, number) for number, keys in enumerate(spread.tolist()) for key in keys)
