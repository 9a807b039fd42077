"""What a plan adds up: sizes exactly, in memory that grows with the sizes that differ."""

import numpy as np
import pytest

from engine.commands.plan import tally
from engine.commands.plan.tally import SizeCounter


@pytest.mark.parametrize("held", [3, 1_000_000])
def test_sizes_are_exact_however_many_are_held(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "SIZES_HELD", held)
    every = np.random.default_rng(3).integers(0, 5_000_000, 2_000)
    counter = SizeCounter()
    for part in np.array_split(every, 40):
        counter.add(part)
    assert counter.total == every.sum()
    assert counter.at(1) == every.max()
    assert counter.at(0.5) == np.sort(every)[999]
    assert counter.histogram((100_000, 1_000_000)) == [
        (100_000, (every <= 100_000).sum()),
        (1_000_000, ((every > 100_000) & (every <= 1_000_000)).sum()),
    ]


def test_equal_sizes_are_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "SIZES_HELD", 10)
    counter = SizeCounter()
    for _ in range(100):
        counter.add(np.array([1, 2, 2]))
    assert sum(map(len, counter._parts)) < 20
    assert (counter.total, counter.at(0.3), counter.at(0.9)) == (500, 1, 2)


def test_without_items_all_is_nought() -> None:
    counter = SizeCounter()
    assert (counter.total, counter.at(0.5), counter.at(1)) == (0, 0, 0)
    assert counter.histogram((10, 20)) == [(10, 0), (20, 0)]
