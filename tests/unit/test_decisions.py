"""What the writer decides is told as it is decided: once each, and nothing while all is well."""

import asyncio
from collections import Counter

from connectors.dynamodb.limits import REQUEST_LIFE_S
from connectors.dynamodb.writing.decisions import (
    BatchHeldBack,
    CircuitClosed,
    CircuitOpen,
    KeysHeld,
    LaneGiven,
    LaneTaken,
    RejectionsJudged,
    RequestRefused,
)
from engine.throttle.chance import Verdict
from engine.throttle.decisions import ConcurrencyChanged, RateChanged, TrialBegun, TrialEnded
from tests.support.chance_target import ChanceTarget
from tests.support.encoded import encoded, put
from tests.support.model_table import Bucket, ModelTable, fault, lost
from tests.support.writing import Scene, on_virtual_time, puts


def told(scene: Scene, kind: type) -> list:
    return [decision for decision in scene.decisions if isinstance(decision, kind)]


@on_virtual_time
async def test_a_sound_table_is_nothing_to_decide_about_but_how_wide_to_send():
    scene = Scene(ModelTable())
    await scene.writer.write(encoded(puts(20_000)))
    assert {type(decision) for decision in scene.decisions} <= {ConcurrencyChanged}
    assert len(scene.decisions) <= 20
    await scene.writer.close()


@on_virtual_time
async def test_a_short_table_lowers_the_rate_and_each_step_says_why():
    scene = Scene(ModelTable(rate=500.0))
    await scene.writer.write(encoded(puts(5_000)))
    changes = told(scene, RateChanged)
    assert changes
    assert all(change.rate < change.was for change in changes if change.why in ("rejections", "collapse"))
    assert len(told(scene, TrialBegun)) == sum(c.why in ("rejections", "collapse") for c in changes)
    assert {trial.verdict for trial in told(scene, TrialEnded)} <= {
        Verdict.LIMIT,
        Verdict.CLEAN,
        Verdict.OPEN,
    }
    assert len(scene.decisions) < scene.table.requests / 2, "far from one for each request"
    await scene.writer.close()


@on_virtual_time
async def test_rejections_by_chance_are_found_out_and_the_rate_given_back():
    scene = Scene(ChanceTarget({"throttled": 0.2}))
    scene.writer.limit(2_000.0)
    writes = [scene.writer.write(encoded(puts(1_000, f"{n}-"), segment=n)) for n in range(20)]
    await asyncio.gather(*writes)
    assert Verdict.CHANCE in {trial.verdict for trial in told(scene, TrialEnded)}
    (back, *_) = [change for change in told(scene, RateChanged) if change.why == "chance"]
    assert back.rate >= back.was
    await scene.writer.close()


@on_virtual_time
async def test_a_hot_key_gets_a_lane_and_loses_it():
    scene = Scene(ModelTable(partition_rate=100.0))
    await scene.writer.write(
        encoded([put("hot", str(n)) if n % 5 == 0 else put(f"p{n}") for n in range(2_000)])
    )
    await asyncio.sleep(10)
    await scene.writer.write(encoded(puts(10, "q")))
    (given,), (taken,) = told(scene, LaneGiven), told(scene, LaneTaken)
    assert given.partition == taken.partition
    await scene.writer.close()


@on_virtual_time
async def test_a_busy_partition_is_told_from_a_short_table():
    table = ModelTable(partition_rate=40.0, partition_count=20)
    table.partitions[table.partition_of("p0")] = Bucket(10.0, table.now())
    scene = Scene(table)
    scene.writer.limit(600.0)
    write = asyncio.create_task(scene.writer.write(encoded(puts(10_000))))
    await asyncio.sleep(10.0)
    assert RejectionsJudged(local=True) in scene.decisions
    write.cancel()
    await scene.writer.close()


@on_virtual_time
async def test_an_outage_opens_the_circuit_probes_it_and_closes_it():
    table, loop = ModelTable(), asyncio.get_running_loop()
    began = loop.time()

    def away(entries):
        if 0.01 < loop.time() - began < 60:
            raise lost(False)

    table.before = away
    scene = Scene(table)
    await scene.writer.write(encoded(puts(5_000)))
    probes = [opened.probe for opened in told(scene, CircuitOpen)]
    assert probes == list(range(1, len(probes) + 1))
    (closed,) = told(scene, CircuitClosed)
    assert 50 < closed.away_s < 75
    await scene.writer.close()


@on_virtual_time
async def test_keys_of_a_lost_request_are_held_and_who_waits_for_them_says_so():
    table = ModelTable()
    lose = iter([True] + [False] * 100)

    def cut(entries):
        if next(lose):
            raise lost(True)

    table.before = cut
    scene = Scene(table)
    await scene.writer.write(encoded(puts(25)))
    await scene.writer.write(encoded(puts(25)))
    assert told(scene, KeysHeld) == [KeysHeld(25, 25)]
    (waited,) = told(scene, BatchHeldBack)
    assert 0 < waited.wait_s <= REQUEST_LIFE_S
    await scene.writer.close()


@on_virtual_time
async def test_a_refused_request_is_told_half_by_half():
    table = ModelTable()
    table.before = lambda entries: (
        fault(400, "ValidationException", "no") if any("p17" in str(entry) for entry in entries) else None
    )
    scene = Scene(table)
    await scene.writer.write(encoded(puts(25)))
    sizes = Counter(refused.items for refused in told(scene, RequestRefused))
    assert sizes[25] == sizes[1] == 1
    assert sum(sizes.values()) <= 6
    await scene.writer.close()
