"""Items change places, never their texts, and none that is begun does."""

import json
from dataclasses import replace

import numpy as np
import pytest

from connectors.dynamodb.writing.grouping import begun_first, in_groups
from connectors.dynamodb.writing.stride import ITEMS_START, SAMPLE_S, STRIDE_S, Stride
from engine.batch import EncodedBatch
from tests.support.encoded import delete, encoded, put

ORDER = [7, 2, 9, 0, 5, 3, 8, 1, 6, 4]


def spread_out() -> EncodedBatch:
    """Ten rows, an item each, sent in ORDER."""
    made = encoded([delete(f"p{row}") if row == 5 else put(f"p{row}") for row in ORDER], units=ORDER)
    return replace(made, rows=np.array(ORDER, np.uint32), rules=np.array(ORDER, np.uint16))


def assert_same_items(items: EncodedBatch) -> None:
    for index, row in enumerate(items.rows.tolist()):
        entry = json.loads(items.item(index))
        assert f'"p{row}"' in json.dumps(entry)
        assert bool(items.deletes[index]) is ("DeleteRequest" in entry) is (row == 5)
        assert (items.units[index], items.rules[index]) == (row, row)
    was = spread_out()
    hashes = dict(zip(was.rows.tolist(), zip(was.key_hashes, was.partition_hashes, strict=True), strict=True))
    found = zip(items.rows.tolist(), zip(items.key_hashes, items.partition_hashes, strict=True), strict=True)
    assert dict(found) == hashes


@pytest.mark.parametrize("begun", [0, 3, 10])
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_groups_follow_one_another_and_inside_one_the_order_stays(begun: int, rows: int) -> None:
    items = in_groups(spread_out(), begun, rows)
    assert_same_items(items)
    rest = sorted(ORDER[begun:], key=lambda row: row // rows)
    assert items.rows.tolist() == ORDER[:begun] + rest


def test_what_belongs_to_begun_rows_comes_first() -> None:
    items, left = begun_first(spread_out(), 2)
    assert_same_items(items)
    assert items.rows.tolist() == [7, 2, 0, 5, 3, 1, 6, 4, 9, 8]
    assert left == 6


def test_nothing_is_left_of_what_isnt_begun() -> None:
    items, left = begun_first(spread_out(), 0)
    assert (items.rows.tolist(), left) == (ORDER, 0)


def test_a_slower_target_is_believed_at_once_and_a_faster_one_by_half() -> None:
    stride = Stride(0.0)
    assert stride.items == ITEMS_START
    stride.observe(10, 1.0)
    assert stride.items == 10 * STRIDE_S
    stride.observe(10 + 1000, 2.0)
    assert stride.items == (10 + 1000) / 2 * STRIDE_S
    assert stride.due == 2.0 + SAMPLE_S


def test_a_time_without_work_says_nothing() -> None:
    stride = Stride(0.0)
    stride.observe(80, 1.0)
    assert stride.items == 80 * STRIDE_S
    stride.rest(1.1)
    stride.go_on(100.0)
    assert stride.due == pytest.approx(100.0 + SAMPLE_S - 0.1)
    stride.observe(100, 100.15)
    assert stride.items == pytest.approx(80 * STRIDE_S)
