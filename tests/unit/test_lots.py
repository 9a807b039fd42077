"""Which items share a request: full ones, within the limits, no key twice, hot keys at their own pace."""

import pytest

from connectors.dynamodb.writing.loads import Load
from connectors.dynamodb.writing.lots import LANE_IDLE_S, LANES_MAX, Queue
from tests.support.encoded import encoded, put

MUCH = float("inf")


def load(
    count: int, *, prefix: str = "p", segment: int = 0, wcu: int = 1, partition: str | None = None
) -> Load:
    entries = [put(partition or f"{prefix}{n}", str(n)) for n in range(count)]
    return Load(encoded(entries, segment=segment, wcu=wcu))


def indexes(lot) -> list[int]:
    return [item.start for item in lot]


def drain(queue: Queue, now: float = 0.0, units_max: float = MUCH) -> list:
    lots = []
    while (lot := queue.take(now, units_max)) is not None:
        lots.append(lot)
    return lots


def test_fresh_items_go_in_their_order_in_full_requests():
    queue = Queue(25, 10**6)
    queue.add(load(60))
    lots = drain(queue)
    assert [indexes(lot) for lot in lots] == [list(range(25)), list(range(25, 50)), list(range(50, 60))]


def test_segments_take_turns_and_each_sends_its_batches_in_order():
    queue = Queue(25, 10**6)
    first, second, other = load(50), load(50, prefix="q"), load(50, prefix="r", segment=1)
    for each in (first, second, other):
        queue.add(each)
    assert [lot.runs[0].load for lot in drain(queue)] == [first, other, first, other, second, second]


def test_requests_end_at_the_limit_of_bytes_and_of_units():
    item = len(load(1).encoded.text)
    queue = Queue(25, 4 * item + 3)
    queue.add(load(10))
    assert [lot.items for lot in drain(queue)] == [4, 4, 2]
    queue = Queue(25, 10**6)
    queue.add(load(10, wcu=3))
    assert [lot.items for lot in drain(queue, units_max=10)] == [3, 3, 3, 1]


def test_a_single_item_beyond_the_units_goes_alone():
    queue = Queue(25, 10**6)
    queue.add(load(3, wcu=400))
    assert [lot.items for lot in drain(queue, units_max=10)] == [1, 1, 1]


def test_leftovers_wait_for_their_time_then_go_first_and_are_filled_up():
    queue = Queue(25, 10**6)
    queue.add(load(100))
    first = queue.take(0.0, MUCH)
    queue.again(list(first)[20:], 0.3)
    second = queue.take(0.1, MUCH)
    assert indexes(second) == list(range(25, 50))
    third = queue.take(0.4, MUCH)
    assert indexes(third) == [*range(20, 25), *range(50, 70)]
    assert indexes(queue.take(0.4, MUCH)) == list(range(70, 95))


def test_leftovers_that_ripen_about_the_same_time_share_a_request():
    queue = Queue(25, 10**6)
    queue.add(load(50))
    for at in (0.11, 0.12, 0.14):
        queue.again(list(queue.take(0.0, MUCH))[:1] if at < 0.13 else [], at)
    assert queue.next_at(0.0) == pytest.approx(0.15)
    assert queue.take(0.2, MUCH).items == 2


def test_a_long_leftover_is_cut_where_the_request_is_full():
    queue = Queue(25, 10**6)
    queue.add(load(60))
    lots = drain(queue)
    queue.again([lots[2].runs[0], lots[0].runs[0]], 0.0)
    assert [lot.items for lot in drain(queue)] == [25, 10]


def test_equal_keys_never_share_a_request():
    queue = Queue(25, 10**6)
    queue.add(load(5, segment=0))
    queue.add(load(5, segment=1))
    lots = drain(queue)
    queue.again([item for lot in lots for item in lot], 0.0)
    assert [sorted(indexes(lot)) for lot in drain(queue)] == [list(range(5))] * 2


def test_halves_go_next_and_as_they_are():
    queue = Queue(25, 10**6)
    queue.add(load(50))
    lot = queue.take(0.0, MUCH)
    queue.exactly(lot.halves())
    assert indexes(queue.take(0.0, MUCH)) == list(range(12))
    assert indexes(queue.take(0.0, MUCH)) == list(range(12, 25))


def test_an_abandoned_batch_is_not_sent_on():
    queue = Queue(25, 10**6)
    gone, there = load(60), load(10, prefix="q")
    queue.add(gone)
    queue.add(there)
    queue.again(queue.take(0.0, MUCH).runs, 0.0)
    gone.abandoned = True
    assert [lot.runs[0].load for lot in drain(queue)] == [there]


def test_a_hot_key_keeps_to_its_pace_while_others_pass():
    queue = Queue(25, 10**6)
    hot = load(5000, partition="hot")
    queue.add(hot)
    queue.park(hot.partitions(0, 1)[0], 0.0)
    queue.add(load(100, prefix="q", segment=1))
    sent = {"hot": 0, "other": 0}
    for tick in range(200):
        for lot in drain(queue, tick / 100):
            for item in lot:
                sent["hot" if item.load is hot else "other"] += 1
    assert sent["other"] == 100
    assert 1900 <= sent["hot"] <= 2100, "1,000 write units a second, for two seconds"


def test_what_has_cooled_down_loses_its_lane():
    queue = Queue(25, 10**6)
    hot = load(1, partition="hot")
    queue.park(hot.partitions(0, 1)[0], 0.0)
    queue.add(hot)
    assert sum(lot.items for tick in range(10) for lot in drain(queue, tick / 100)) == 1
    assert queue.take(1.0 + LANE_IDLE_S, MUCH) is None
    assert not queue.lanes


def test_lanes_are_few():
    queue = Queue(25, 10**6)
    for partition in range(1000):
        queue.park(partition, 0.0)
    assert len(queue.lanes) == LANES_MAX
