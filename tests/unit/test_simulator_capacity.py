"""The simulator's capacity model: what a table takes, told with a clock that the test moves."""

from collections.abc import Mapping
from itertools import count

import pytest

from bench.simulator.capacity import Bucket, Charge, Resources, Shortage, admit
from bench.simulator.partitions import RING, Partitions
from bench.simulator.settings import TABLE, Capacity, Model, partition_count

EVEN = 0x9E3779B97F4A7C15
"""Multiples of it, on the ring of hashes, spread evenly."""


def places() -> "count[int]":
    return count(0, EVEN)


class Load:
    """Writes to one table as fast as it takes them, a unit each, at moments of its own clock."""

    def __init__(self, capacities: Mapping[str, Capacity], model: Model | None = None) -> None:
        self.model = model or Model(burst_s=0)
        self.resources = Resources.build(capacities, self.model, 0.0)
        self.now = 0.0
        self.places = places()

    def write(self, charges: list[Charge] | None = None) -> Shortage | None:
        charges = charges or [Charge(TABLE, next(self.places) % RING, 1.0)]
        return admit(self.resources, charges, "Write", self.model, self.now)

    def offer(self, units_per_s: int, seconds: float, steps: int = 100) -> tuple[int, list[Shortage]]:
        """Offer so many writes a second; return how many were taken and what was short."""
        taken, short = 0, []
        for _ in range(int(seconds * steps)):
            self.now += 1 / steps
            for _ in range(units_per_s // steps):
                shortage = self.write()
                if shortage is None:
                    taken += 1
                else:
                    short.append(shortage)
        return taken, short


def test_a_provisioned_table_takes_its_rate_and_says_that_the_table_is_short() -> None:
    load = Load({TABLE: Capacity(write=500, read=5)})
    load.offer(1_000, 1)
    taken, short = load.offer(1_000, 10)
    assert taken == pytest.approx(5_000, rel=0.01)
    assert {shortage.reason for shortage in short} == {"TableWriteProvisionedThroughputExceeded"}


def test_what_was_not_used_in_five_minutes_is_there_for_a_burst_and_no_more() -> None:
    load = Load({TABLE: Capacity(write=100, read=5)}, Model())
    load.now = 3_600.0
    taken = 0
    while load.write() is None:
        taken += 1
        load.now += 1 / 1_000  # as fast as one partition takes it
    assert taken == pytest.approx(300 * 100 / 0.9, rel=0.02)


def test_a_step_holds_from_its_moment_on() -> None:
    load = Load({TABLE: Capacity(write=400, read=5)})
    load.resources.set(TABLE, Capacity(write=100, read=5), load.model, now=0.0, at=5.0)
    load.resources.set(TABLE, Capacity(write=800, read=5), load.model, now=0.0, at=10.0)
    before, _ = load.offer(1_000, 5)
    low, _ = load.offer(1_000, 5)
    high, _ = load.offer(1_000, 5)
    assert before == pytest.approx(5 * 400 + 400, rel=0.02)  # a second's worth was there at the start
    assert low == pytest.approx(5 * 100, rel=0.05)
    assert high == pytest.approx(5 * 800, rel=0.02)
    part = load.resources.write[TABLE]
    assert [part.offered(second) for second in (4, 5, 9, 10)] == [400, 100, 100, 800]


def test_a_partition_takes_a_thousand_however_much_the_table_has() -> None:
    load = Load({TABLE: Capacity(write=10_000, read=10)})
    taken = 0
    for _ in range(10_000):
        load.now += 1 / 5_000
        taken += load.write([Charge(TABLE, 7, 1.0)]) is None
    assert taken == pytest.approx(2 * 1_000 + 1_000, rel=0.02)
    shortage = load.write([Charge(TABLE, 7, 1.0)])
    assert shortage is not None
    assert shortage.reason == "TableWriteKeyRangeThroughputExceeded"
    assert load.write([Charge(TABLE, RING // 2, 1.0)]) is None


def test_a_hot_partition_splits_but_not_for_one_key() -> None:
    model = Model(burst_s=0, heat_s=60)
    for keys, partitions in ((1, 1), (50, 2)):
        load = Load({TABLE: Capacity(write=1_000, read=5)}, model)
        parts = load.resources.write[TABLE].partitions
        parts_before = len(parts)
        hot = [number * (RING // 2 // 50) for number in range(keys)]
        for number in range(65 * 1_500):
            load.now += 1 / 1_500
            if parts.has(hot[number % keys], load.now):
                parts.take(hot[number % keys], 1.0)
        assert len(parts) - parts_before == partitions - 1, f"{keys} keys"


def test_a_starved_index_throttles_the_table_and_nothing_is_charged() -> None:
    load = Load({TABLE: Capacity(write=1_000, read=5), "gsi": Capacity(write=10, read=5)})
    charges = [Charge(TABLE, 1, 1.0), Charge("gsi", 2, 1.0)]
    taken, short = 0, []
    for _ in range(1_000):
        load.now += 1 / 100
        shortage = load.write(charges)
        taken += shortage is None
        short += [shortage] if shortage else []
    assert taken == pytest.approx(10 * 10 + 10, rel=0.05)
    assert {shortage.reason for shortage in short} == {"IndexWriteProvisionedThroughputExceeded"}
    assert {shortage.where for shortage in short} == {"gsi"}
    assert sum(load.resources.write[TABLE].used.values()) == taken


def test_on_demand_takes_four_thousand_and_doubles_only_after_half_an_hour() -> None:
    load = Load({TABLE: Capacity()})
    taken, short = load.offer(10_000, 3)
    assert taken == pytest.approx(4 * 4_000, rel=0.05)
    assert {shortage.reason for shortage in short} == {"TableWriteKeyRangeThroughputExceeded"}
    part = load.resources.write[TABLE]
    assert part.offered(2) == 4_000

    fast = Load({TABLE: Capacity()}, Model(doubling_s=5, heat_s=1e9))
    fast.offer(10_000, 6)
    second, _ = fast.offer(10_000, 2)
    assert second == pytest.approx(2 * 8_000, rel=0.15)


def test_warm_throughput_is_there_at_once() -> None:
    assert partition_count(Capacity(warm_write=40_000), Model()) == 40
    load = Load({TABLE: Capacity(warm_write=12_000)})
    taken, _ = load.offer(20_000, 2)
    assert taken == pytest.approx(3 * 12_000, rel=0.05)


def test_the_accounts_quota_and_a_set_maximum_come_before_the_partitions() -> None:
    load = Load({TABLE: Capacity(warm_write=10_000)}, Model(burst_s=0, account_write=300))
    _, short = load.offer(1_000, 2)
    assert {shortage.reason for shortage in short} == {"TableWriteAccountLimitExceeded"}
    load = Load({TABLE: Capacity(max_write=200)})
    taken, short = load.offer(1_000, 2)
    assert {shortage.reason for shortage in short} == {"TableWriteMaxOnDemandThroughputExceeded"}
    assert taken == pytest.approx(3 * 200, rel=0.05)


def test_an_unlimited_table_counts_and_takes_everything() -> None:
    load = Load({TABLE: Capacity(write=1, read=1)}, Model(limited=False))
    taken, short = load.offer(10_000, 1)
    assert (taken, short) == (10_000, [])
    assert sum(load.resources.write[TABLE].used.values()) == 10_000


def test_a_large_item_overdraws_and_is_paid_off() -> None:
    bucket = Bucket(10, 0.0)
    assert bucket.has(0.0)
    bucket.take(400)
    assert not bucket.has(38.9)
    assert bucket.has(39.1)


def test_partitions_split_when_the_data_outgrows_them() -> None:
    load = Load({TABLE: Capacity(write=10, read=10)}, Model(partition_bytes=1_000))
    load.resources.hold(1_000, load.model, 0.0)
    assert len(load.resources.write[TABLE].partitions) == 1
    load.resources.hold(2_001, load.model, 0.0)
    assert len(load.resources.write[TABLE].partitions) == 3
    assert len(load.resources.read[TABLE].partitions) == 3


def test_partitions_cover_the_ring_however_often_they_split() -> None:
    parts = Partitions(3, 1_000, 0.0, heat_s=300)
    parts.grow_to(10, 1.0)
    assert len(parts) >= 10
    starts = parts.starts()
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    for place, _ in zip(places(), range(1_000), strict=False):
        assert parts.has(place % RING, 2.0)
