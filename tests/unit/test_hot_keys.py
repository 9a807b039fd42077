"""A hot partition key is told from a table that is short as a whole."""

from random import Random

from connectors.dynamodb.writing.hot_keys import KEYS_MAX, HotKeys

HOT = 7


def test_a_key_that_alone_is_rejected_again_and_again_is_hot():
    keys_seen = HotKeys(0.0)
    found = [keys_seen.observe([HOT, *range(100, 124)], [HOT], 0.1 * n) for n in range(3)]
    assert found == [set(), set(), {HOT}]


def test_a_single_rejection_of_many_keys_makes_none_hot():
    keys_seen = HotKeys(0.0)
    for n in range(50):
        keys = list(range(n * 25, n * 25 + 25))
        assert keys_seen.observe(keys, keys[-3:], 0.01 * n) == set()


def test_a_table_that_is_short_rejects_the_large_customer_too_but_not_alone():
    keys_seen, random = HotKeys(0.0), Random(3)
    for n in range(200):
        keys = [HOT if random.random() < 0.3 else random.randrange(1000, 2000) for _ in range(25)]
        rejected = [key for key in keys if random.random() < 0.4]
        assert HOT not in keys_seen.observe(keys, rejected, 0.01 * n)


def test_a_key_blamed_for_a_hot_partition_again_and_again_is_hot():
    keys_seen = HotKeys(0.0)
    assert [keys_seen.blame({HOT, n}, 0.1 * n) for n in range(100, 103)] == [set(), set(), {HOT}]
    assert keys_seen.blame({HOT}, 60.0) == set()


def test_a_key_most_of_whose_items_pass_is_not_hot():
    """A lane would hold all of it back."""
    keys_seen = HotKeys(0.0)
    for n in range(10):
        assert keys_seen.observe([HOT] * 5 + list(range(100, 120)), [HOT] * 2, 0.1 * n) == set()


def test_rejections_long_ago_are_forgotten():
    keys_seen = HotKeys(0.0)
    for n in range(10):
        assert keys_seen.observe([HOT, *range(100, 124)], [HOT], 10.0 * n) == set()


def test_what_is_remembered_is_bounded():
    keys_seen = HotKeys(0.0)
    for n in range(1000):
        keys_seen.observe(list(range(n * 25, n * 25 + 25)), list(range(n * 25, n * 25 + 20)), 0.001 * n)
    assert len(keys_seen._recent.now.keys) <= KEYS_MAX
