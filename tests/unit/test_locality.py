"""Rejections that stick to their items are told from those that fall on all alike."""

from random import Random

from connectors.dynamodb.writing.locality import Locality


def rehearse(fresh: float, again: float, seed: int, suspected: bool = False) -> float:
    """Return how often requests of 20 fresh items and 5 sent again, rejected by chance, are called local."""
    random, locality, local = Random(seed), Locality(0.0), 0
    for n in range(1000):
        now = n * 0.02
        lost = [
            sum(random.random() < chance for _ in range(count)) for chance, count in ((fresh, 20), (again, 5))
        ]
        locality.observe(20, lost[0], 5, lost[1], now)
        local += locality.local(now, suspected=suspected)
    return local / 1000


def test_a_partition_that_is_short_rejects_the_same_items_again():
    assert min(rehearse(0.02, 0.8, seed) for seed in range(5)) > 0.98
    assert min(rehearse(0.005, 0.2, seed) for seed in range(5)) > 0.9


def test_a_table_that_is_short_rejects_all_alike():
    for share in (0.01, 0.05, 0.3, 0.8, 1.0):
        assert max(rehearse(share, share, seed) for seed in range(5)) < 0.1


def test_nothing_is_local_that_falls_on_a_large_part_of_the_fresh_items():
    assert max(rehearse(0.4, 1.0, seed) for seed in range(5)) < 0.02


def test_a_known_hot_key_is_blamed_first_but_not_against_the_evidence():
    locality = Locality(0.0)
    assert locality.local(0.0, suspected=True)
    assert not locality.local(0.0, suspected=False)
    for share in (0.03, 0.3):
        assert max(rehearse(share, share, seed, suspected=True) for seed in range(5)) < 0.2
    assert rehearse(0.02, 0.5, 1, suspected=True) > 0.98


def test_without_evidence_a_hot_key_excuses_only_a_few_rejections():
    for rejected, local in ((1, True), (5, False)):
        locality = Locality(0.0)
        for n in range(100):
            locality.observe(0, 0, 25, rejected, n * 0.01)
        assert locality.local(1.0, suspected=True) == local


def test_requests_of_one_sort_alone_prove_nothing():
    locality = Locality(0.0)
    for n in range(100):
        locality.observe(25, 1, 0, 0, n * 0.01)
        locality.observe(0, 0, 25, 20, n * 0.01)
    assert not locality.local(1.0, suspected=False)


def test_what_is_long_ago_is_forgotten():
    locality = Locality(0.0)
    for n in range(50):
        locality.observe(20, 0, 5, 5, n * 0.01)
    assert locality.local(0.5, suspected=False)
    assert not locality.local(60.0, suspected=False)
