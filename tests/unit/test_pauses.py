"""Pauses before repetitions."""

from random import Random

from engine.throttle.pauses import jittered


def test_pauses_grow_and_stay_within_their_bounds():
    random = Random(7)
    for attempt in range(1, 200):
        pause_s = jittered(attempt, 0.02, 2.0, random)
        assert 0.02 <= pause_s <= min(2.0, 0.02 * 3**attempt)
    assert len({jittered(5, 0.02, 2.0, random) for _ in range(50)}) == 50
