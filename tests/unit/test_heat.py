"""A hot partition key is told from a table that is short as a whole."""

from random import Random

from connectors.dynamodb.writing.heat import KEYS_MAX, Heat

HOT = 7


def test_a_key_that_alone_is_rejected_again_and_again_is_hot():
    heat = Heat(0.0)
    found = [heat.observe([HOT, *range(100, 124)], [HOT], 0.1 * n) for n in range(3)]
    assert found == [set(), set(), {HOT}]


def test_a_single_rejection_of_many_keys_makes_none_hot():
    heat = Heat(0.0)
    for n in range(50):
        keys = list(range(n * 25, n * 25 + 25))
        assert heat.observe(keys, keys[-3:], 0.01 * n) == set()


def test_a_table_that_is_short_rejects_the_large_customer_too_but_not_alone():
    heat, random = Heat(0.0), Random(3)
    for n in range(200):
        keys = [HOT if random.random() < 0.3 else random.randrange(1000, 2000) for _ in range(25)]
        rejected = [key for key in keys if random.random() < 0.4]
        assert HOT not in heat.observe(keys, rejected, 0.01 * n)


def test_a_key_blamed_for_a_hot_partition_again_and_again_is_hot():
    heat = Heat(0.0)
    assert [heat.blame({HOT, n}, 0.1 * n) for n in range(100, 103)] == [set(), set(), {HOT}]
    assert heat.blame({HOT}, 60.0) == set()


def test_rejections_long_ago_are_forgotten():
    heat = Heat(0.0)
    for n in range(10):
        assert heat.observe([HOT, *range(100, 124)], [HOT], 10.0 * n) == set()


def test_what_is_remembered_is_bounded():
    heat = Heat(0.0)
    for n in range(1000):
        heat.observe(list(range(n * 25, n * 25 + 25)), list(range(n * 25, n * 25 + 20)), 0.001 * n)
    assert len(heat._now) <= KEYS_MAX
