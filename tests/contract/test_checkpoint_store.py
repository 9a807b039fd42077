"""What every checkpoint store promises: an interrupted run goes on with all that was acked, and no more."""

import json
from dataclasses import replace

import pytest

from connectors.dynamodb.state.section import DynamoDBStateSection
from connectors.dynamodb.state.store import open_store as open_table_store
from engine.batch import Counts, Cursor, Effort, Segment
from engine.contracts.state import SegmentState
from engine.errors import JobError
from engine.state import beside
from engine.state.checkpoint import open_store
from tests.support.states import a_letter, a_mark, a_run

LATER = "2026-01-02T04:00:00.000Z"


class LocalPlace:
    """State below a directory."""

    def __init__(self, tmp_path):
        self.directory = tmp_path / "state"

    async def open(self):
        return open_store(self.directory, "orders")


class TablePlace:
    """State in a table, with its local files below a directory."""

    def __init__(self, tmp_path, endpoint, table):
        self.directory = tmp_path / "state"
        self.section = DynamoDBStateSection(type="dynamodb", table=table, endpoint_url=endpoint)

    async def open(self):
        return await open_table_store(self.section, self.directory, "orders")


@pytest.fixture(params=["sqlite", "dynamodb"])
def place(request, tmp_path, table_name):
    if request.param == "sqlite":
        return LocalPlace(tmp_path)
    return TablePlace(tmp_path, request.getfixturevalue("dynoxide"), table_name)


def letters_in(store):
    return [json.loads(line) for line in store.dead_letters.read_text().splitlines()]


async def closed_run(store, run, letters=()):
    """Begin a run and go to its end."""
    await store.begin(run)
    for state in run.segments:
        await store.advance([a_mark(state.segment.number, "99", 5, letters, done=True)], Effort())
    outcome = "complete_with_dead_letters" if letters else "complete"
    await store.finish(outcome, LATER, Effort(), None)


async def test_a_job_that_never_ran_has_no_state(place):
    store = await place.open()
    assert await store.load() is None
    assert await store.last_complete() is None
    await store.close()


async def test_a_run_that_began_is_there_for_the_next_process(place):
    run = replace(a_run(), since="w0", kind="catch_up")
    store = await place.open()
    await store.begin(run)
    await store.close()
    store = await place.open()
    assert await store.load() == run
    await store.close()


async def test_what_was_advanced_is_there_for_the_next_process(place):
    store = await place.open()
    await store.begin(a_run())
    await store.advance([a_mark(0, "10", 4), a_mark(1, "110", 2), a_mark(0, "20", 3)], Effort(requests=3))
    await store.advance([a_mark(1, "199", 1, done=True)], Effort(requests=4))
    await store.close()
    store = await place.open()
    state = await store.load()
    first, second = a_run().segments
    assert state.segments == (
        SegmentState(first.segment, Cursor(("20",)), False),
        SegmentState(second.segment, Cursor(("199",)), True),
    )
    assert state.counts == Counts(rows_read=10, items_emitted=10, items_written=10)
    assert state.outcome is None
    await store.close()


async def test_hundreds_of_segments_advance_at_once(place):
    store = await place.open()
    await store.begin(a_run(segments=230))
    await store.advance([a_mark(number, "x", 2) for number in range(230)], Effort())
    await store.close()
    store = await place.open()
    state = await store.load()
    assert len(state.segments) == 230
    assert {each.end for each in state.segments} == {Cursor(("x",))}
    assert state.counts.items_written == 460
    await store.close()


async def test_keys_come_back_as_they_were(place):
    odd = ("", "a,b", 'q"\\', "é\U0001f600", "\x00\n", "-12")
    segment = Segment(0, Cursor(odd), None, None)
    run = replace(a_run(), segments=(SegmentState(segment, None, False),))
    store = await place.open()
    await store.begin(run)
    await store.advance([replace(a_mark(0, "1", 1), end=Cursor(odd))], Effort())
    await store.close()
    store = await place.open()
    assert (await store.load()).segments == (SegmentState(segment, Cursor(odd), False),)
    await store.close()


async def test_effort_adds_up_over_processes_and_not_within_one(place):
    store = await place.open()
    await store.begin(a_run())
    await store.advance([], Effort(requests=5, elapsed_s=1.0, peak_rss_bytes=70, latency={3: 5}))
    await store.advance([], Effort(requests=9, elapsed_s=2.0, peak_rss_bytes=90, latency={3: 8, 4: 1}))
    await store.close()
    store = await place.open()
    await store.load()
    await store.resume()
    await store.advance([], Effort(requests=1, elapsed_s=0.5, peak_rss_bytes=80, latency={4: 1}))
    await store.advance([], Effort(requests=2, elapsed_s=1.5, consumed_wcu={"": 2.5}))
    assert (await store.load()).effort == Effort(
        requests=11, elapsed_s=3.5, peak_rss_bytes=90, latency={3: 8, 4: 1}, consumed_wcu={"": 2.5}
    )
    await store.close()


async def test_a_resumed_run_counts_its_interruptions_and_is_open_again(place):
    store = await place.open()
    await store.begin(a_run())
    await store.advance([a_mark(0, "10", 4)], Effort())
    await store.finish("failed", LATER, Effort(), "the target was away")
    await store.close()
    store = await place.open()
    state = await store.load()
    assert (state.outcome, state.finished_at, state.error) == ("failed", LATER, "the target was away")
    assert not state.closed
    state = await store.resume()
    assert (state.outcome, state.finished_at, state.error) == (None, None, None)
    assert (state.interruptions, state.counts.items_written) == (1, 4)
    assert state.watermark == "w1"
    await store.advance([a_mark(0, "20", 4, done=True), a_mark(1, None, done=True)], Effort())
    await store.finish("complete", LATER, Effort(), None)
    assert (await store.load()).counts.items_written == 8
    await store.close()


async def test_where_a_run_has_come_may_show_at_its_end(place):
    store = await place.open()
    await store.begin(a_run(watermark=None))
    await store.advance([a_mark(0, "20", 4, done=True), a_mark(1, None, done=True)], Effort())
    await store.finish("complete", LATER, Effort(), None, "w9")
    assert (await store.load()).watermark == "w9"
    assert (await store.last_complete()).watermark == "w9"
    await store.close()


async def test_the_last_complete_run_is_remembered_beside_an_unfinished_one(place):
    store = await place.open()
    await closed_run(store, a_run("run-1", watermark="w1"))
    assert (await store.load()).closed
    await store.begin(a_run("run-2", kind="catch_up", watermark="w2"))
    await store.finish("interrupted", LATER, Effort(), None)
    await store.close()
    store = await place.open()
    assert (await store.load()).run_id == "run-2"
    done = await store.last_complete()
    assert (done.run_id, done.watermark, done.outcome) == ("run-1", "w1", "complete")
    assert done.counts.items_written == 10
    await store.close()


async def test_a_run_with_an_unread_segment_cannot_be_complete(place):
    store = await place.open()
    await store.begin(a_run())
    await store.advance([a_mark(0, "10", 4, done=True)], Effort())
    with pytest.raises(AssertionError, match=r"segments \[1\] aren't done"):
        await store.finish("complete", LATER, Effort(), None)
    await store.close()


async def test_a_run_with_dead_letters_is_not_simply_complete(place):
    store = await place.open()
    await store.begin(a_run(segments=1))
    await store.advance([a_mark(0, "10", 4, [a_letter("7")], done=True)], Effort())
    with pytest.raises(AssertionError, match="complete with"):
        await store.finish("complete", LATER, Effort(), None)
    await store.close()


async def test_steps_backwards_are_bugs(place):
    store = await place.open()
    await store.begin(a_run())
    await store.advance([a_mark(0, "10", 4), a_mark(1, "110", 1, done=True)], Effort())
    for mark, why in [
        (a_mark(0, None, 1), "back to its start"),
        (a_mark(0, "10", 1), "without an advance"),
        (a_mark(1, "120", 1), "is done"),
        (a_mark(7, "1", 1), "doesn't have"),
        (replace(a_mark(0, "20", 1), counts=Counts(items_emitted=2)), "doesn't balance"),
        (replace(a_mark(0, "20", 1, [a_letter("1")]), dead_letters=()), "carries 0"),
    ]:
        with pytest.raises(AssertionError, match=why):
            await store.advance([a_mark(0, "15", 1), mark] if mark.segment else [mark], Effort())
    assert (await store.load()).counts.items_written == 5
    await store.close()


async def test_nothing_advances_before_the_run_is_taken_up(place):
    store = await place.open()
    await store.begin(a_run())
    await store.close()
    store = await place.open()
    await store.load()
    with pytest.raises(AssertionError, match="begin or resume"):
        await store.advance([a_mark(0, "10", 4)], Effort())
    await store.close()


async def test_dead_letters_are_lines_as_the_contract_says(place):
    store = await place.open()
    await store.begin(a_run())
    refused = a_letter("2", "rejected_by_target", None)
    await store.advance([a_mark(0, "10", 1, [a_letter("1")]), a_mark(1, "110", 0, [refused])], Effort())
    first, second = letters_in(store)
    assert list(first) == ["run_id", "at", "rule", "reason", "detail", "source_key", "item"]
    assert first["item"] == {"PK": {"S": "ü"}}
    assert (first["run_id"], first["source_key"]) == ("run-1", {"id": "1"})
    assert (second["reason"], second["item"]) == ("rejected_by_target", None)
    assert (await store.load()).dead_letters_by_reason == {"key_null": 1, "rejected_by_target": 1}
    await store.close()


async def test_dead_letters_go_on_after_an_interruption(place):
    store = await place.open()
    await store.begin(a_run(segments=1))
    await store.advance([a_mark(0, "10", 0, [a_letter("1"), a_letter("2")])], Effort())
    await store.close()
    store = await place.open()
    await store.load()
    state = await store.resume()
    assert state.counts.items_dead_lettered == 2
    await store.advance([a_mark(0, "20", 0, [a_letter("3")], done=True)], Effort())
    await store.finish("complete_with_dead_letters", LATER, Effort(), None)
    assert [line["source_key"]["id"] for line in letters_in(store)] == ["1", "2", "3"]
    await store.close()


async def test_a_source_without_a_key_starts_over_with_nothing_counted_twice(place):
    store = await place.open()
    await store.begin(a_run(segments=1))
    await store.advance([a_mark(0, None, 5, [a_letter("1")])], Effort())
    await store.close()
    store = await place.open()
    assert (await store.load()).counts.rows_read == 6
    state = await store.resume()
    assert state.counts == Counts()
    assert not store.dead_letters.exists()
    await store.advance([a_mark(0, None, 5, [a_letter("1")])], Effort())
    await store.advance([a_mark(0, None, 2, done=True)], Effort())
    await store.finish("complete_with_dead_letters", LATER, Effort(), None)
    await store.close()
    store = await place.open()
    assert (await store.load()).counts.rows_read == 8
    assert [line["source_key"]["id"] for line in letters_in(store)] == ["1"]
    await store.close()


async def test_a_catch_up_run_adds_to_the_dead_letters(place):
    store = await place.open()
    await closed_run(store, a_run("run-1", segments=1), [a_letter("1")])
    await closed_run(store, a_run("run-2", kind="catch_up", segments=1), [a_letter("2")])
    assert [line["run_id"] for line in letters_in(store)] == ["run-1", "run-2"]
    assert (await store.load()).counts.items_dead_lettered == 1
    await store.close()


async def test_a_full_run_sets_earlier_dead_letters_aside(place):
    store = await place.open()
    await closed_run(store, a_run("run-1", segments=1), [a_letter("1")])
    await store.begin(a_run("run-2", segments=1))
    assert not store.dead_letters.exists()
    kept = store.dead_letters.with_name("dead-letters.run-1.jsonl")
    assert json.loads(kept.read_text())["run_id"] == "run-1"
    await store.close()


async def test_a_second_runner_is_refused_while_the_first_lives(place):
    store = await place.open()
    with pytest.raises(JobError, match=r"job orders is already being run by pid \d+ on .* since 20"):
        await place.open()
    await store.close()
    await (await place.open()).close()


async def test_that_other_hosts_may_write_is_known_to_the_next_runner_until_it_is_taken_back(place):
    store = await place.open()
    assert await beside.elsewhere_s(store) is None
    await beside.keep_elsewhere(store, None)
    await beside.keep_elsewhere(store, 20.5)
    await store.close()
    store = await place.open()
    await closed_run(store, a_run())
    assert await beside.elsewhere_s(store) == 20.5, "no run of this runner's has ended it"
    await beside.keep_elsewhere(store, None)
    await store.close()
    store = await place.open()
    assert await beside.elsewhere_s(store) is None
    await store.close()


async def test_a_view_that_is_kept_is_that_of_one_run(place):
    store = await place.open()
    await store.begin(a_run("run-1"))
    assert await beside.kept_view(store, "run-1") is None
    await beside.keep_view(store, beside.KeptView("run-1", ("a", "b"), differ=True))
    await store.close()
    store = await place.open()
    assert await beside.kept_view(store, "run-1") == beside.KeptView("run-1", ("a", "b"), differ=True)
    assert await beside.kept_view(store, "run-2") is None
    await store.keep_beside(beside.VIEW, "what another version says")
    assert await beside.kept_view(store, "run-1") is None
    await store.close()
