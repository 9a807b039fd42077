"""A target that refuses everything ends the load early; an item that is to blame is a dead letter as ever."""

import asyncio
import json

import pytest

from connectors.dynamodb.http.connection import Answer
from engine.errors import PermanentError
from tests.support.encoded import encoded, key_of
from tests.support.model_table import ModelTable, fault
from tests.support.writing import Scene, on_virtual_time, puts

REFUSAL = fault(400, "ValidationException", "Type mismatch for Index Key status Expected: N Actual: S")


def number_of(entry: dict) -> int:
    return int(key_of(entry)[0].strip("pqrs"))


def refusing(bad) -> ModelTable:
    """A table that refuses a request with an item in it that is bad."""
    table = ModelTable()
    table.before = lambda entries: REFUSAL if any(bad(entry) for entry in entries) else None
    return table


@pytest.mark.parametrize("stop_after", [30, 1_000])
@on_virtual_time
async def test_a_target_that_refuses_everything_ends_the_load(stop_after) -> None:
    table = refusing(lambda _: True)
    scene = Scene(table, stop_after_refusals=stop_after)
    writes = [
        asyncio.ensure_future(scene.writer.write(encoded(puts(1_000, prefix), segment=number)))
        for number, prefix in enumerate("pqrs")
    ]
    for outcome in await asyncio.gather(*writes, return_exceptions=True):
        assert isinstance(outcome, PermanentError)
        assert f"stop_after_refusals is {stop_after}" in str(outcome)
        assert "Type mismatch for Index Key status" in str(outcome)
    assert scene.meter.dead_lettered == {}
    assert table.requests <= 60 + 2 * stop_after / 12 + 128, "requests aren't taken apart to the last item"
    assert scene.meter.requests_in_flight == 0
    await scene.writer.close()


@on_virtual_time
async def test_a_few_items_that_are_all_refused_are_dead_letters() -> None:
    table = refusing(lambda _: True)
    scene = Scene(table, stop_after_refusals=1_000)
    report = await scene.writer.write(encoded(puts(999)))
    assert len({letter.source_key["id"] for letter in report.dead_letters}) == len(report.dead_letters) == 999
    assert table.requests <= 2 * 999
    with pytest.raises(PermanentError, match="1000 items one after the other"):
        await scene.writer.write(encoded(puts(1, "q")))
    await scene.writer.close()


@pytest.mark.parametrize("good_every", [2, 5, 10])
@on_virtual_time
async def test_items_to_blame_beside_others_are_all_found(good_every) -> None:
    """Each success shows that the target takes what is right."""
    table = refusing(lambda entry: number_of(entry) % good_every != 0)
    scene = Scene(table, stop_after_refusals=900)
    report = await scene.writer.write(encoded(puts(3_000)))
    assert report.items_written == 3_000 // good_every
    assert len(report.dead_letters) == 3_000 - 3_000 // good_every
    assert {letter.reason for letter in report.dead_letters} == {"rejected_by_target"}
    assert set(table.writes.values()) == {1}
    await scene.writer.close()


@on_virtual_time
async def test_a_target_that_refuses_for_a_while_costs_no_dead_letter_of_what_it_takes_later() -> None:
    """An index of another type comes and goes: what is refused once everything passes again is the item's."""
    table = ModelTable()
    strict = {"on": True}
    table.before = lambda entries: (
        REFUSAL if strict["on"] or any(number_of(e) == 7 for e in entries) else None
    )
    scene = Scene(table, stop_after_refusals=10_000)
    writing = asyncio.ensure_future(scene.writer.write(encoded(puts(2_000))))
    while table.requests < 40:
        await asyncio.sleep(0.01)
    strict["on"] = False
    report = await writing
    assert report.items_written + len(report.dead_letters) == 2_000
    assert 1 <= len(report.dead_letters) <= 40
    await scene.writer.close()


@on_virtual_time
async def test_statements_that_are_refused_one_by_one_end_the_load_too() -> None:
    class Statements(ModelTable):
        async def send(self, operation, parts):
            self.requests += 1
            await asyncio.sleep(0.005)
            count = len(json.loads(b"".join(parts))["Statements"])
            said = [{"Error": {"Code": "ValidationError", "Message": "no"}}] * count
            return Answer(200, json.dumps({"Responses": said}).encode(), None, 0.005)

    table = Statements()
    scene = Scene(table, mode="insert", stop_after_refusals=100)
    entries = [
        {"Statement": "INSERT INTO \"t\" VALUE {'PK':?}", "Parameters": [{"S": f"{n}"}]} for n in range(500)
    ]
    with pytest.raises(PermanentError, match="100 items one after the other"):
        await scene.writer.write(encoded(entries, keys=[(f"{n}", "") for n in range(500)]))
    assert scene.meter.dead_lettered == {}
    await scene.writer.close()


@on_virtual_time
async def test_a_stop_turns_nothing_into_a_dead_letter_that_was_still_in_doubt() -> None:
    table = refusing(lambda _: True)
    scene = Scene(table, stop_after_refusals=1_000)
    batch = encoded(puts(200))
    writing = asyncio.ensure_future(scene.writer.write(batch))
    while table.requests < 12:
        await asyncio.sleep(0.001)
    scene.writer.drain()
    fates = await writing
    assert fates.letters == ()
    await scene.writer.close()
