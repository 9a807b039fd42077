"""Whatever is advanced, dropped and taken up again, the store holds the sum of what it acknowledged."""

import asyncio
import json
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batch import Counts, Cursor, Effort
from engine.state.checkpoint import open_store
from engine.state.file import read_state
from tests.support.states import a_letter, a_mark, a_run

SEGMENTS = 3
REASONS = ("key_null", "item_too_large", "rejected_by_target")

key = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=3).map(tuple)
mark = st.tuples(st.integers(0, SEGMENTS - 1), key, st.integers(0, 9), st.lists(st.sampled_from(REASONS)))
step = st.one_of(
    st.lists(mark, max_size=4),
    st.sampled_from(["killed", "killed after its dead letters", "interrupted"]),
)


async def follow(directory: Path, steps: list) -> None:
    store = open_store(directory, "orders")
    await store.begin(a_run(segments=SEGMENTS))
    ends: dict[int, Cursor] = {}
    counts, reasons, letters, interruptions, requests = Counts(), Counter(), [], 0, 0
    for number, doing in enumerate(steps):
        if isinstance(doing, str):
            if doing == "interrupted":
                await store.finish("interrupted", "2026-01-02T04:00:00.000Z", Effort(), None)
            elif doing == "killed after its dead letters":
                with store.dead_letters.open("ab") as file:
                    file.write(b'{"run_id": "run-1", "at": "2026-0')
            await store.close()
            store = open_store(directory, "orders")
            await store.load()
            await store.resume()
            interruptions += 1
        else:
            marks = []
            for segment, text, written, why in doing:
                if ends.get(segment) == Cursor(text):
                    continue
                ends[segment] = Cursor(text)
                refused = [a_letter(f"{number}", reason) for reason in why]
                marks.append(replace(a_mark(segment, "", written, refused), end=Cursor(text)))
                counts += marks[-1].counts
                reasons.update(why)
                letters += why
            requests += 1
            await store.advance(marks, Effort(requests=1))
            requests = await requests_seen(store, requests)
    state = await store.load()
    assert state == read_state(directory, "orders")
    assert {each.segment.number: each.end for each in state.segments if each.end} == ends
    assert state.counts == counts
    assert state.dead_letters_by_reason == dict(reasons)
    assert state.interruptions == interruptions
    lines = store.dead_letters.read_text().splitlines() if letters else []
    assert [json.loads(line)["reason"] for line in lines] == letters
    await store.close()


async def requests_seen(store, at_most: int) -> int:
    """Effort never shrinks, and never counts a process twice."""
    seen = (await store.load()).effort.requests
    assert 1 <= seen <= at_most
    return seen


@settings(max_examples=25, deadline=None)
@given(st.lists(step, max_size=8))
def test_a_store_holds_what_it_acknowledged(steps):
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(follow(Path(directory), steps))
