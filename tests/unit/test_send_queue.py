"""Which items share a request: full ones, within the limits, no key twice, hot keys at their own pace."""

import pytest

from connectors.dynamodb.writing.hot_lanes import LANE_IDLE_S, LANES_MAX, HotLanes
from connectors.dynamodb.writing.open_batch import OpenBatch
from connectors.dynamodb.writing.send_queue import SendQueue
from engine.throttle.decisions import ignore
from tests.support.encoded import encoded, put

MUCH = float("inf")


def batch(
    count: int, *, prefix: str = "p", segment: int = 0, units: int = 1, partition: str | None = None
) -> OpenBatch:
    entries = [put(partition or f"{prefix}{n}", str(n)) for n in range(count)]
    return OpenBatch(encoded(entries, segment=segment, units=units))


def indexes(request) -> list[int]:
    return [item.start for item in request]


def drain(queue: SendQueue, now: float = 0.0, units_max: float = MUCH) -> list:
    requests = []
    while (request := queue.take(now, units_max)) is not None:
        requests.append(request)
    return requests


def test_fresh_items_go_in_their_order_in_full_requests():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    queue.fresh.add(batch(60))
    requests = drain(queue)
    assert [indexes(request) for request in requests] == [
        list(range(25)),
        list(range(25, 50)),
        list(range(50, 60)),
    ]


def test_segments_take_turns_and_each_sends_its_batches_in_order():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    first, second, other = batch(50), batch(50, prefix="q"), batch(50, prefix="r", segment=1)
    for each in (first, second, other):
        queue.fresh.add(each)
    assert [request.spans[0].batch for request in drain(queue)] == [
        first,
        other,
        first,
        other,
        second,
        second,
    ]


def test_requests_end_at_the_limit_of_bytes_and_of_units():
    item = len(batch(1).encoded.text)
    queue = SendQueue(25, 4 * item + 3, HotLanes(ignore))
    queue.fresh.add(batch(10))
    assert [request.items for request in drain(queue)] == [4, 4, 2]
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    queue.fresh.add(batch(10, units=3))
    assert [request.items for request in drain(queue, units_max=10)] == [3, 3, 3, 1]


def test_a_single_item_beyond_the_units_goes_alone():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    queue.fresh.add(batch(3, units=400))
    assert [request.items for request in drain(queue, units_max=10)] == [1, 1, 1]


def test_leftovers_wait_for_their_time_then_go_first_and_are_filled_up():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    queue.fresh.add(batch(100))
    first = queue.take(0.0, MUCH)
    queue.again(list(first)[20:], 0.3)
    second = queue.take(0.1, MUCH)
    assert indexes(second) == list(range(25, 50))
    third = queue.take(0.4, MUCH)
    assert indexes(third) == [*range(20, 25), *range(50, 70)]
    assert indexes(queue.take(0.4, MUCH)) == list(range(70, 95))


def test_leftovers_that_ripen_about_the_same_time_share_a_request():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    queue.fresh.add(batch(50))
    for at in (0.11, 0.12, 0.14):
        queue.again(list(queue.take(0.0, MUCH))[:1] if at < 0.13 else [], at)
    assert queue.next_at(0.0) == pytest.approx(0.15)
    assert queue.take(0.2, MUCH).items == 2


def test_a_long_leftover_is_cut_where_the_request_is_full():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    queue.fresh.add(batch(60))
    requests = drain(queue)
    queue.again([requests[2].spans[0], requests[0].spans[0]], 0.0)
    assert [request.items for request in drain(queue)] == [25, 10]


def test_equal_keys_never_share_a_request():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    queue.fresh.add(batch(5, segment=0))
    queue.fresh.add(batch(5, segment=1))
    requests = drain(queue)
    queue.again([item for request in requests for item in request], 0.0)
    assert [sorted(indexes(request)) for request in drain(queue)] == [list(range(5))] * 2


def test_halves_go_next_and_as_they_are():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    queue.fresh.add(batch(50))
    request = queue.take(0.0, MUCH)
    queue.next(request.halves())
    assert indexes(queue.take(0.0, MUCH)) == list(range(12))
    assert indexes(queue.take(0.0, MUCH)) == list(range(12, 25))


def test_an_abandoned_batch_is_not_sent_on():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    gone, there = batch(60), batch(10, prefix="q")
    queue.fresh.add(gone)
    queue.fresh.add(there)
    queue.again(queue.take(0.0, MUCH).spans, 0.0)
    gone.abandoned = True
    assert [request.spans[0].batch for request in drain(queue)] == [there]


def test_a_hot_key_keeps_to_its_pace_while_others_pass():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    hot = batch(5000, partition="hot")
    queue.fresh.add(hot)
    queue._lanes.give(hot.partitions(0, 1)[0], 0.0)
    queue.fresh.add(batch(100, prefix="q", segment=1))
    sent = {"hot": 0, "other": 0}
    for tick in range(200):
        for request in drain(queue, tick / 100):
            for item in request:
                sent["hot" if item.batch is hot else "other"] += 1
    assert sent["other"] == 100
    assert 1900 <= sent["hot"] <= 2100, "1,000 write units a second, for two seconds"


def test_what_has_cooled_down_loses_its_lane():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    hot = batch(1, partition="hot")
    queue._lanes.give(hot.partitions(0, 1)[0], 0.0)
    queue.fresh.add(hot)
    assert sum(request.items for tick in range(10) for request in drain(queue, tick / 100)) == 1
    assert queue.take(1.0 + LANE_IDLE_S, MUCH) is None
    assert not queue._lanes.by_key


def test_lanes_are_few():
    queue = SendQueue(25, 10**6, HotLanes(ignore))
    for partition in range(1000):
        queue._lanes.give(partition, 0.0)
    assert len(queue._lanes.by_key) == LANES_MAX
