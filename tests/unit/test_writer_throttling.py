"""The writer before a table that is short, as a whole or in places: nobody waits for what isn't his."""

import asyncio
import json
from collections import Counter

from connectors.dynamodb.http.connection import Answer
from connectors.dynamodb.writing.decisions import LaneGiven, RejectionsJudged
from engine.throttle.decisions import TrialBegun
from tests.support.encoded import encoded, put
from tests.support.model_table import Bucket, ModelTable, fault
from tests.support.writing import Scene, on_virtual_time, puts


@on_virtual_time
async def test_throttling_is_counted_by_cause_and_outlived():
    table = ModelTable()
    slow = iter([True] * 30 + [False] * 10_000)
    reasons = [
        {
            "reason": "IndexWriteProvisionedThroughputExceeded",
            "resource": "arn:aws:dynamodb:::table/t/index/G",
        }
    ]
    table.before = lambda entries: (
        fault(400, "ThrottlingException", throttlingReasons=reasons) if next(slow) else None
    )
    scene = Scene(table)
    report = await scene.writer.write(encoded(puts(500)))
    assert report.items_written == 500
    assert scene.meter.throttled == {"index": 30}
    assert scene.meter.requests["throttled"] == 30
    await scene.writer.close()


@on_virtual_time
async def test_a_hot_partition_key_slows_only_itself():
    table = ModelTable(partition_rate=100.0)
    loop = asyncio.get_running_loop()
    scene = Scene(table)
    began = loop.time()
    mixed = [put("hot", str(n)) if n % 5 == 0 else put(f"p{n}") for n in range(2000)]
    hot = asyncio.create_task(scene.writer.write(encoded(mixed, segment=0)))
    await asyncio.sleep(0.5)
    ended = []
    for number in range(10):
        await scene.writer.write(encoded(puts(1000, f"q{number}-"), segment=1))
        ended.append(loop.time() - began)
    assert ended[-1] < 3.0, "the other batches don't wait for the hot key"
    assert not hot.done()
    report = await hot
    assert report.items_written == 2000
    assert loop.time() - began < 400 / 100 * 1.2, "and the hot key gets nearly all that its partition gives"
    assert table.throttled < table.requests * 0.1
    await scene.writer.close()


@on_virtual_time
async def test_a_table_that_is_short_as_a_whole_makes_no_key_hot():
    table = ModelTable(rate=1000.0)
    scene = Scene(table)
    entries = [put(f"tenant{n % 12}", str(n)) for n in range(6000)]
    report = await scene.writer.write(encoded(entries))
    assert report.items_written == 6000
    assert not scene.writer._throttling.lanes.by_key
    assert scene.meter.rate_limit < 1200
    await scene.writer.close()


@on_virtual_time
async def test_the_cap_holds_and_small_requests_keep_within_it():
    table = ModelTable()
    loop = asyncio.get_running_loop()
    scene = Scene(table)
    scene.writer.limit(100.0)
    began = loop.time()
    await scene.writer.write(encoded(puts(2000)))
    assert 19.6 <= loop.time() - began < 20.5
    assert table.units_between(began, began + 10) <= 1020
    await scene.writer.close()


@on_virtual_time
async def test_throttling_alone_never_ends_the_patience():
    table = ModelTable()
    loop = asyncio.get_running_loop()
    began = loop.time()
    table.before = lambda entries: fault(400, "ThrottlingException") if loop.time() - began < 1000 else None
    scene = Scene(table, give_up_after_s=60.0)
    report = await scene.writer.write(encoded(puts(30)))
    assert report.items_written == 30
    await scene.writer.close()


@on_virtual_time
async def test_neighbours_of_a_hot_key_do_not_slow_the_table():
    """They come back without a reason, like everything that is rejected in part."""
    table = ModelTable(partition_rate=40.0, partition_count=20)
    scene = Scene(table)
    scene.writer.limit(600.0)
    others = asyncio.create_task(scene.writer.write(encoded(puts(12_000), segment=0)))
    await asyncio.sleep(3.0)
    hot = asyncio.create_task(
        scene.writer.write(encoded([put("hot", str(n)) for n in range(3000)], segment=1))
    )
    before = len(table.items)
    await asyncio.sleep(10.0)
    written = sum(1 for key in table.items if key[0] != "hot") - before
    assert written >= 0.95 * 600 * 10
    assert any(key[0] == "hot" for key in table.items), "and the hot key has what they leave"
    others.cancel()
    hot.cancel()
    await scene.writer.close()


@on_virtual_time
async def test_a_partition_that_others_keep_busy_does_not_slow_the_table():
    table = ModelTable(partition_rate=40.0, partition_count=20)
    table.partitions[table.partition_of("p0")] = Bucket(10.0, table.now())
    scene = Scene(table)
    scene.writer.limit(600.0)
    write = asyncio.create_task(scene.writer.write(encoded(puts(10_000))))
    await asyncio.sleep(10.0)
    assert len(table.items) >= 0.93 * 600 * 10
    assert not scene.writer._throttling.lanes.by_key
    write.cancel()
    await scene.writer.close()


@on_virtual_time
async def test_a_table_that_becomes_short_while_a_key_is_hot_slows_everybody():
    table = ModelTable(rate=1000.0, partition_rate=100.0, partition_count=20)
    scene = Scene(table)
    mixed = [put("hot", str(n)) if n % 4 == 0 else put(f"p{n}") for n in range(16_000)]
    write = asyncio.create_task(scene.writer.write(encoded(mixed)))
    await asyncio.sleep(5.0)
    assert scene.writer._throttling.lanes.by_key
    table.bucket = Bucket(250.0, table.now())
    await asyncio.sleep(5.0)
    asked, refused = table.requests, table.throttled
    await asyncio.sleep(5.0)
    assert scene.meter.rate_limit < 300
    assert table.throttled - refused < 0.4 * (table.requests - asked)
    write.cancel()
    await scene.writer.close()


class SingleItems:
    """PutItem, and one partition key that takes so many a second; rejections name the partition."""

    def __init__(self, hot_rate: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.hot = Bucket(hot_rate, self.loop.time())
        self.written: Counter[str] = Counter()
        self.rejected = 0

    async def send(self, operation, parts) -> Answer:
        key = json.loads(b"".join(parts))["Item"]["PK"]["S"]
        await asyncio.sleep(0.005)
        if key == "hot" and not self.hot.spend(1, self.loop.time()):
            self.rejected += 1
            reasons = [{"reason": "TableWriteKeyRangeThroughputExceeded", "resource": "arn:aws:x:table/t"}]
            return fault(400, "ThrottlingException", throttlingReasons=reasons)
        self.written["hot" if key == "hot" else "others"] += 1
        return Answer(200, b"{}", None, 0.005)


@on_virtual_time
async def test_a_hot_key_whose_items_go_one_by_one_slows_only_itself():
    """Nothing else in such a request tells a hot key from a short table: what names the partition must."""
    table = SingleItems(hot_rate=50.0)
    scene = Scene(table, mode="newer")
    scene.writer.limit(1000.0)
    keys = [("hot", str(n)) if n % 4 == 0 else (f"p{n}", "0") for n in range(12_000)]
    entries = [{"Item": {"PK": {"S": pk}, "SK": {"S": sk}}} for pk, sk in keys]
    write = asyncio.create_task(scene.writer.write(encoded(entries, keys=keys)))
    await until_told(scene, LaneGiven)
    assert any(isinstance(decision, TrialBegun) for decision in scene.decisions), "it was the rate at first"
    assert scene.writer._throttling.pace.rate == 1000.0, "what the hot key cost the others is given back"
    await asyncio.sleep(5.0)
    assert table.written["others"] >= 0.85 * 1000 * 5
    assert table.written["hot"] >= 0.8 * 50 * 5
    assert len(scene.writer._throttling.lanes.by_key) == 1
    write.cancel()
    await scene.writer.close()


@on_virtual_time
async def test_what_a_short_partition_cost_the_table_is_given_back_once_it_is_known():
    table = ModelTable(partition_rate=40.0, partition_count=20)
    table.partitions[table.partition_of("p0")] = Bucket(1.0, table.now())
    scene = Scene(table, wcu_start=600.0)
    write = asyncio.create_task(scene.writer.write(encoded(puts(10_000))))
    await until_told(scene, RejectionsJudged)
    assert any(isinstance(decision, TrialBegun) for decision in scene.decisions)
    assert scene.writer._throttling.pace.rate >= 600.0
    write.cancel()
    await scene.writer.close()


async def until_told(scene: Scene, kind: type) -> None:
    while not any(isinstance(decision, kind) for decision in scene.decisions):
        await asyncio.sleep(0.001)
