"""Hot partition keys: found where they are spread over the source, not where rows merely lie together."""

from dataclasses import replace

import numpy as np
import pytest

from connectors.dynamodb.planning.hot_keys import HotKeyCounter
from connectors.dynamodb.planning.use import TABLE, Entries
from tests.unit.test_plan_collisions import measured


def counter(batches: list[list[str]]) -> HotKeyCounter:
    found = HotKeyCounter(1_000)
    for keys in batches:
        _, items = measured(keys)
        entries = Entries(np.full(len(keys), 10), np.ones(len(keys), np.int32), items.key[0])
        found.add(len(keys), [replace(items, own={TABLE: entries})])
    return found


def test_a_key_that_is_everywhere_is_hot_and_bounds_the_time() -> None:
    keys = [["hot" if n % 4 == 0 else f"k{part}-{n}" for n in range(100)] for part in range(10)]
    (hot,) = counter(keys).hottest({"": 1_000_000.0})
    assert (hot.of, hot.key) == ("", "hot")
    assert hot.share == pytest.approx(0.25)
    assert hot.least_s == pytest.approx(250.0)


def test_rows_that_lie_together_make_no_key_hot() -> None:
    keys = [[f"user {part}"] * 15 + [f"k{part}-{n}" for n in range(85)] for part in range(10)]
    assert counter(keys).hottest({"": 1_000_000.0}) == []


def test_nothing_measured_nothing_hot() -> None:
    assert HotKeyCounter(1_000).hottest({}) == []
