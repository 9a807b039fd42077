"""The writer before a target that works but for requests picked by chance: they cost their share, no more."""

import asyncio
from collections.abc import Mapping
from itertools import count

import pytest

from connectors.dynamodb.http.transport import ANSWER_TIMEOUT_S
from tests.support.chance_target import ChanceTarget
from tests.support.encoded import encoded
from tests.support.writing import Scene, on_virtual_time, puts


async def written_for(target: ChanceTarget, seconds: float, batches: int = 40, items: int = 100) -> Scene:
    """Write batch after batch, so many at a time, no key twice: keys of failed requests are held."""
    scene = Scene(target)

    async def keep_writing(number: int) -> None:
        for turn in count():
            await scene.writer.write(encoded(puts(items, f"{number}-{turn}-")))

    writers = [asyncio.create_task(keep_writing(number)) for number in range(batches)]
    await asyncio.sleep(seconds)
    for writer in writers:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    await scene.writer.close()
    return scene


FAILURES: list[Mapping[str, float]] = [{"500": 0.33}, {"500": 0.1, "cut": 0.12, "lost": 0.1}]


@pytest.mark.parametrize("faults", FAILURES)
@on_virtual_time
async def test_failures_by_chance_cost_about_their_share(faults):
    sound, faulty = ChanceTarget({}, each_s=0.005), ChanceTarget(faults, each_s=0.005)
    await written_for(sound, 5.0)
    scene = await written_for(faulty, 5.0)
    assert sum(faulty.applied.values()) > 0.5 * sum(sound.applied.values())
    assert scene.notices == [], "nobody is told that the table was away"


@on_virtual_time
async def test_requests_that_stay_out_do_not_hold_the_others_up():
    target = ChanceTarget({"silent": 1.0})
    scene = Scene(target)
    loop = asyncio.get_running_loop()
    stuck = asyncio.create_task(scene.writer.write(encoded(puts(15 * 25, "stuck"))))
    await asyncio.sleep(0.1)
    target.faults = {}
    began = loop.time()
    for number in range(4):
        await scene.writer.write(encoded(puts(5_000, f"{number}-")))
    assert loop.time() - began < ANSWER_TIMEOUT_S / 2
    await stuck
    await scene.writer.close()
