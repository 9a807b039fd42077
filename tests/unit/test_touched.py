"""What a catch-up run takes of a batch: items of touched keys, dead letters of touched rows, and no more."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from engine.batch import Batch, DeadLetter, EncodedBatch
from engine.run.touched import Touched, every_row


def batch(*ids: int) -> Batch:
    return Batch(0, 0, pa.RecordBatch.from_pylist([{"id": str(each)} for each in ids]), None)


def encoded(ids: list[int], keys: list[int], letters: list[int]) -> EncodedBatch:
    """Return an item for each key, of the rows in turn, and a dead letter for each of some rows."""
    count = len(keys)
    dead = tuple(DeadLetter("r", "key_null", str(row), {}, None) for row in letters)
    return EncodedBatch(
        batch=batch(*ids),
        text=memoryview(b"".join(f"{key},".encode() for key in keys)),
        offsets=np.concatenate(([0], np.cumsum([len(f"{key},") for key in keys]))),
        units=np.ones(count, np.int32),
        key_hashes=np.array(keys, np.uint64),
        partition_hashes=np.array(keys, np.uint64),
        deletes=np.zeros(count, np.bool_),
        rows=np.arange(count, dtype=np.uint32),
        rules=np.zeros(count, np.uint16),
        emitted=count + len(letters),
        dead_letters=dead,
        letter_rows=np.array(letters, np.uint32),
    )


def touched(keys: list[int], rows: list[int], row_key: tuple[str, ...] = ("id",)) -> Touched:
    hashes = np.sort(every_row(batch(*rows), ("id",))) if rows else np.empty(0, np.uint64)
    return Touched(np.array(sorted(keys), np.uint64), hashes, row_key)


def test_items_of_touched_keys_stay_whoever_makes_them() -> None:
    found = touched([7, 9], [1]).of(encoded([1, 2, 3], [7, 8, 9], []))
    assert [found.item(at) for at in range(len(found))] == [b"7", b"9"]
    assert (found.rows.tolist(), found.emitted) == ([0, 2], 2)


def test_dead_letters_of_touched_rows_stay_and_are_counted() -> None:
    found = touched([7], [1, 3]).of(encoded([1, 2, 3], [7], [1, 2]))
    assert [letter.detail for letter in found.dead_letters] == ["2"]
    assert (found.letter_rows.tolist(), found.emitted) == ([2], 2)


def test_rows_without_a_key_count_as_touched() -> None:
    found = touched([7], [], row_key=()).of(encoded([1, 2], [8], [1]))
    assert (len(found), len(found.dead_letters), found.emitted) == (0, 1, 1)


def test_what_was_coalesced_stays_counted() -> None:
    """Its survivor may be what a touched key's item is: a mark goes on behind both or behind none."""
    before = replace(encoded([1, 2], [7], []), emitted=2, coalesced_rows=np.array([1], np.uint32))
    before = replace(before, survivor_rows=np.array([0], np.uint32))
    found = touched([], [1]).of(before)
    assert (len(found), found.coalesced, found.emitted) == (0, 1, 1)


def test_a_row_is_known_in_whatever_batch_it_comes() -> None:
    assert every_row(batch(1, 2, 3), ("id",))[1] == every_row(batch(2), ("id",))[0]
