"""A checkpoint after kill -9 or on a full disk: all that was told durable is there, and nothing by halves."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from engine.batch import Effort
from engine.state.checkpoint import open_store
from engine.state.file import read_state
from tests.support.advancing import ITEMS, SEGMENTS, marks

pytestmark = pytest.mark.fault
ROOT = Path(__file__).parents[2]
ROUNDS = 10


def start(directory, *options):
    command = [sys.executable, "-m", "tests.support.advancing", str(directory), *map(str, options)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def steps_of(state):
    return [0 if each.end is None else int(each.end.key[0]) for each in state.segments]


def check_whole(state, letters_per_step=1):
    """Every segment stands at the same step: one transaction moves them all."""
    steps = steps_of(state)
    assert len(set(steps)) == 1
    assert state.counts.items_written == sum(steps) * ITEMS
    assert state.counts.items_dead_lettered == sum(steps) * letters_per_step
    assert state.counts.balanced
    return steps[0]


async def test_kill_minus_nine_leaves_a_whole_prefix(tmp_path):
    pick = random.Random(20260102)
    reached = 0
    for _ in range(ROUNDS):
        child = start(tmp_path)
        for _ in range(pick.randint(1, 40)):
            told = int(child.stdout.readline())
        child.kill()
        rest = [line for line in child.communicate()[0].splitlines() if line]
        told = int(rest[-1]) if rest else told

        looked_at = read_state(tmp_path, "orders")
        store = open_store(tmp_path, "orders")
        state = await store.load()
        assert state == looked_at
        step = check_whole(state)
        assert step in (told, told + 1)
        assert step > reached
        reached = step
        await store.resume()
        lines = [json.loads(line) for line in store.dead_letters.read_text().splitlines()]
        wanted = [f"{number}/{at}" for at in range(1, step + 1) for number in range(SEGMENTS)]
        assert [line["source_key"]["id"] for line in lines] == wanted
        await store.close()


@pytest.mark.parametrize("options", [(), ("no-letters",)], ids=["dead-letters-too", "state-alone"])
async def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path, options):
    child = start(tmp_path, 150_000, *options)
    said = child.communicate(timeout=60)[0].splitlines()
    assert child.returncode == 0
    assert "nothing after 20" in said[-1]
    assert "make room or mend the disk, and run again" in said[-1]
    told = int(said[-2])

    store = open_store(tmp_path, "orders")
    letters_per_step = 0 if options else 1
    step = check_whole(await store.load(), letters_per_step)
    assert step in (told, told + 1)
    await store.resume()
    await store.advance(marks(step + 1, letters=not options), Effort())
    assert check_whole(await store.load(), letters_per_step) == step + 1
    if not options:
        assert len(store.dead_letters.read_text().splitlines()) == SEGMENTS * (step + 1)
    await store.close()
