"""The writer before a table that throttles, refuses, loses answers, goes away: no item lost, none twice."""

import asyncio
import json

import pytest

from connectors.dynamodb.http.connection import Answer
from connectors.dynamodb.writing.interruption import RENEWALS, RENEWALS_MAX
from engine.errors import PermanentError, RetriesExhausted
from tests.support.encoded import delete, encoded, key_of, put
from tests.support.model_table import ModelTable, fault, lost
from tests.support.writing import Scene, on_virtual_time, puts


def of_item(entries: list[dict], partition: str) -> bool:
    return any(key_of(entry)[0] == partition for entry in entries)


@on_virtual_time
async def test_everything_is_written_in_full_requests():
    scene = Scene(ModelTable())
    report = await scene.writer.write(encoded([*puts(230), *[delete(f"d{n}") for n in range(20)]]))
    assert (report.items_written, report.items_deleted, report.items_skipped) == (230, 20, 0)
    assert len(scene.table.items) == 250
    assert set(scene.table.writes.values()) == {1}
    assert scene.table.sizes == [25] * 10
    assert scene.meter.items_written == 230
    assert scene.meter.items_deleted == 20
    assert scene.meter.requests == {"ok": 10}
    assert scene.meter.consumed == {"": 250.0}
    assert scene.meter.requests_in_flight == 0
    await scene.writer.close()


@on_virtual_time
async def test_a_batch_without_items_needs_no_request():
    scene = Scene(ModelTable())
    report = await scene.writer.write(encoded([], skipped=3))
    assert (report.items_written, report.items_skipped) == (0, 0)
    assert scene.table.requests == 0
    assert scene.meter.items_skipped == 3
    await scene.writer.close()


@on_virtual_time
async def test_unprocessed_items_are_sent_again_in_full_requests():
    table = ModelTable()
    rounds = {"left": 40}

    def reject_most(entries):
        if rounds["left"] == 0:
            return None
        rounds["left"] -= 1
        for entry in entries[:5]:
            table._take(entry)
        return Answer(200, json.dumps({"UnprocessedItems": {"t": entries[5:]}}).encode(), None, 0.005)

    table.before = reject_most
    scene = Scene(table)
    report = await scene.writer.write(encoded(puts(1000)))
    assert report.items_written == 1000
    assert set(table.writes.values()) == {1}
    assert scene.meter.requests["partial"] == 40
    assert scene.meter.items_unprocessed == 800
    assert len(table.sizes) <= 40 + 800 / 25 + 4, "leftovers share requests"
    await scene.writer.close()


@on_virtual_time
async def test_leftovers_of_several_batches_share_requests():
    table = ModelTable()
    first = {"seen": 0}

    def reject_one(entries):
        if first["seen"] < 8:
            first["seen"] += 1
            for entry in entries[:-1]:
                table._take(entry)
            return Answer(200, json.dumps({"UnprocessedItems": {"t": entries[-1:]}}).encode(), None, 0.005)
        return None

    table.before = reject_one
    scene = Scene(table)
    reports = await asyncio.gather(
        *(scene.writer.write(encoded(puts(25, f"b{n}-"), segment=n)) for n in range(8))
    )
    assert [report.items_written for report in reports] == [25] * 8
    assert len(table.sizes) <= 8 + 2
    await scene.writer.close()


@on_virtual_time
async def test_the_one_bad_item_is_found_and_the_others_are_written():
    table = ModelTable()
    table.before = lambda entries: (
        fault(400, "ValidationException", "no good") if of_item(entries, "p17") else None
    )
    scene = Scene(table)
    report = await scene.writer.write(encoded(puts(50)))
    assert report.items_written == 49
    (letter,) = report.dead_letters
    assert (letter.rule, letter.reason, letter.source_key) == ("Order", "rejected_by_target", {"id": "17"})
    assert "no good" in letter.detail
    assert json.loads(letter.item_json) == {"PK": {"S": "p17"}, "SK": {"S": "0"}}
    assert set(table.writes.values()) == {1}
    await scene.writer.close()


@on_virtual_time
async def test_a_refused_delete_has_no_item_that_could_be_put_back():
    table = ModelTable()
    table.before = lambda entries: fault(400, "ValidationException", "no")
    scene = Scene(table)
    report = await scene.writer.write(encoded([delete("a")]))
    assert report.dead_letters[0].item_json is None
    await scene.writer.close()


@on_virtual_time
async def test_on_invalid_fail_stops_at_a_refused_item():
    table = ModelTable()
    table.before = lambda entries: (
        fault(400, "ValidationException", "no good") if of_item(entries, "p3") else None
    )
    scene = Scene(table, fail_on_refusal=True)
    with pytest.raises(PermanentError, match=r"Order.*no good.*on_invalid"):
        await scene.writer.write(encoded(puts(50)))
    await scene.writer.close()


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("sent", [True, False])
@on_virtual_time
async def test_items_whose_answer_is_lost_are_sent_again_and_count_once(applied, sent):
    table = ModelTable()
    lose = iter([True, False, True, True] + [False] * 10_000)

    def cut(entries):
        if next(lose):
            raise lost(sent)

    if applied:
        table.after = cut
    else:
        table.before = cut
    scene = Scene(table)
    report = await scene.writer.write(encoded(puts(500)))
    assert report.items_written == 500
    assert len(table.items) == 500
    assert scene.meter.requests["error"] == 3
    assert scene.meter.items_written == 500
    await scene.writer.close()


@on_virtual_time
async def test_an_answer_that_names_foreign_items_is_no_answer():
    table = ModelTable()
    once = iter([True] + [False] * 100)

    def strange(entries):
        if next(once):
            return Answer(
                200, json.dumps({"UnprocessedItems": {"t": puts(1, "other")}}).encode(), None, 0.005
            )
        return None

    table.after = strange
    scene = Scene(table)
    report = await scene.writer.write(encoded(puts(25)))
    assert report.items_written == 25
    assert sum(table.writes.values()) == 50
    await scene.writer.close()


@on_virtual_time
async def test_a_fatal_answer_ends_every_write_now_and_later():
    table = ModelTable()
    table.before = lambda entries: (
        fault(400, "AccessDeniedException", "User x") if of_item(entries, "p700") else None
    )
    scene = Scene(table)
    writes = [asyncio.ensure_future(scene.writer.write(encoded(puts(1000), segment=n))) for n in range(1)]
    writes.append(asyncio.ensure_future(scene.writer.write(encoded(puts(2000, "q"), segment=5))))
    for outcome in await asyncio.gather(*writes, return_exceptions=True):
        assert isinstance(outcome, PermanentError)
        assert "dynamodb:BatchWriteItem" in str(outcome)
    with pytest.raises(PermanentError):
        await scene.writer.write(encoded(puts(1, "r")))
    await scene.writer.close()
    assert scene.meter.requests_in_flight == 0


@on_virtual_time
async def test_a_target_that_comes_back_is_told_about_once_each_way():
    table = ModelTable()
    loop = asyncio.get_running_loop()
    began = loop.time()

    def away(entries):
        if 0.01 < loop.time() - began < 120:
            raise lost(False)

    table.before = away
    scene = Scene(table)
    report = await scene.writer.write(encoded(puts(5000)))
    assert report.items_written == 5000
    assert len(scene.notices) == 2
    assert "waiting" in scene.notices[0]
    assert "back" in scene.notices[1]
    assert scene.meter.requests["error"] < 250, "a target that is away is probed, not stormed"
    assert 120 < loop.time() - began < 140
    await scene.writer.close()


@on_virtual_time
async def test_patience_with_a_target_that_is_away_ends():
    table = ModelTable()
    loop = asyncio.get_running_loop()

    def away(entries):
        raise lost(False)

    table.before = away
    scene = Scene(table, give_up_after_s=60.0)
    began = loop.time()
    with pytest.raises(RetriesExhausted, match=r"60 s.*give_up_after_s"):
        await scene.writer.write(encoded(puts(100)))
    assert 60 <= loop.time() - began < 75
    await scene.writer.close()


@on_virtual_time
async def test_items_that_fail_forever_beside_others_that_do_not_end_the_run_too():
    table = ModelTable()
    table.before = lambda entries: fault(500, "InternalServerError") if of_item(entries, "p3") else None
    scene = Scene(table, give_up_after_s=60.0)

    async def others():
        for number in range(1000):
            await scene.writer.write(encoded(puts(25, f"other{number}-"), segment=1))
            await asyncio.sleep(0.2)

    background = asyncio.create_task(others())
    with pytest.raises(RetriesExhausted, match="same items"):
        await scene.writer.write(encoded(puts(25)))
    background.cancel()
    await asyncio.gather(background, return_exceptions=True)
    await scene.writer.close()


@on_virtual_time
async def test_expired_credentials_are_renewed_once_for_all_requests():
    table = ModelTable()
    scene = Scene(table)
    table.before = lambda entries: (
        fault(400, "ExpiredTokenException", "expired") if not scene.renewals else None
    )
    report = await scene.writer.write(encoded(puts(2000)))
    assert report.items_written == 2000
    assert scene.renewals == 1
    await scene.writer.close()


@on_virtual_time
async def test_credentials_that_stay_expired_are_final():
    table = ModelTable()
    table.before = lambda entries: fault(400, "InvalidSignatureException", "Signature expired: x")
    scene = Scene(table)
    began = asyncio.get_running_loop().time()
    with pytest.raises(PermanentError, match="clock"):
        await scene.writer.write(encoded(puts(100)))
    assert scene.renewals == RENEWALS_MAX
    pauses = RENEWALS_MAX - 1
    assert asyncio.get_running_loop().time() - began > pauses * RENEWALS.base_s, (
        "whoever renews isn't stormed"
    )
    await scene.writer.close()


@on_virtual_time
async def test_answers_that_come_after_the_renewal_ask_for_no_other_one():
    """What was sent with the old credentials may say so late."""

    class Slow(ModelTable):
        async def send(self, operation, parts):
            old = not scene.renewals
            self.requests += 1
            await asyncio.sleep(0.05 * self.requests)
            return (
                fault(400, "ExpiredTokenException", "expired")
                if old
                else await super().send(operation, parts)
            )

    scene = Scene(Slow())
    report = await scene.writer.write(encoded(puts(400)))
    assert report.items_written == 400
    assert scene.renewals == 1
    await scene.writer.close()


@on_virtual_time
async def test_credentials_may_expire_as_often_as_they_were_good_in_between():
    table = ModelTable()
    turns = iter([kind for _ in range(2 * RENEWALS_MAX) for kind in ("expired", "good")])
    table.before = lambda entries: (
        fault(400, "ExpiredTokenException", "expired") if next(turns, "good") == "expired" else None
    )
    scene = Scene(table)
    for number in range(2 * RENEWALS_MAX):
        await scene.writer.write(encoded(puts(1, f"{number}-")))
    assert scene.renewals == 2 * RENEWALS_MAX
    await scene.writer.close()


@on_virtual_time
async def test_a_conflicting_transaction_is_waited_for():
    table = ModelTable()
    busy = iter([True] * 5 + [False] * 1000)
    table.before = lambda entries: fault(400, "TransactionConflictException") if next(busy) else None
    scene = Scene(table)
    report = await scene.writer.write(encoded(puts(25)))
    assert report.items_written == 25
    assert not report.dead_letters
    await scene.writer.close()


@on_virtual_time
async def test_requests_stay_below_the_size_limit():
    table = ModelTable()
    scene = Scene(table)
    large = [put(f"p{n}", text={"S": '\\"' * 400_000}) for n in range(25)]
    report = await scene.writer.write(encoded(large, units=400))
    assert report.items_written == 25
    assert len(table.sizes) > 1
    await scene.writer.close()


@on_virtual_time
async def test_a_cancelled_write_sends_nothing_more_and_hurts_nobody():
    table = ModelTable()
    scene = Scene(table)
    scene.writer.limit(1000.0)
    doomed = asyncio.create_task(scene.writer.write(encoded(puts(20_000), segment=0)))
    other = asyncio.create_task(scene.writer.write(encoded(puts(500, "q"), segment=1)))
    await asyncio.sleep(0.2)
    doomed.cancel()
    report = await other
    assert report.items_written == 500
    with pytest.raises(asyncio.CancelledError):
        await doomed
    sent = table.requests
    await asyncio.sleep(5)
    assert table.requests <= sent + 1
    await scene.writer.close()


@on_virtual_time
async def test_closing_ends_every_task_and_every_waiting_write():
    table = ModelTable(latency_s=1000.0)
    scene = Scene(table)
    write = asyncio.create_task(scene.writer.write(encoded(puts(5000))))
    await asyncio.sleep(1)
    await scene.writer.close()
    with pytest.raises(asyncio.CancelledError):
        await write
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert scene.meter.requests_in_flight == 0


@on_virtual_time
async def test_a_bug_is_not_swallowed():
    table = ModelTable()

    def broken(entries):
        raise ZeroDivisionError("a bug")

    table.before = broken
    scene = Scene(table)
    with pytest.raises(ZeroDivisionError):
        await scene.writer.write(encoded(puts(100)))
    await scene.writer.close()


@pytest.mark.parametrize("knows", ["TOTAL", None])
@on_virtual_time
async def test_a_server_that_tells_no_capacity_by_index_is_written_to_all_the_same(knows):
    table, asked = ModelTable(), []

    def alternator(body):
        asked.append(body.get("ReturnConsumedCapacity"))
        if asked[-1] in ("INDEXES", "TOTAL") and asked[-1] != knows:
            said = f"{asked[-1]} consumed capacity is not supported."
            return fault(400, "ValidationException", said)
        return None

    def answer_of(entries):
        units = {"TableName": "t", "CapacityUnits": float(len(entries))}
        body = {"UnprocessedItems": {}, **({"ConsumedCapacity": [units]} if knows else {})}
        return Answer(200, json.dumps(body).encode(), None, 0.005)

    table.before_body = alternator
    table.before = lambda entries: table._apply(entries) and answer_of(entries)
    scene = Scene(table)
    report = await scene.writer.write(encoded(puts(500)))
    assert report.items_written == 500
    assert not report.dead_letters
    assert set(asked[-10:]) == {knows}
    assert set(table.writes.values()) == {1}
    assert scene.meter.consumed == {"": 500.0}
    assert len(scene.notices) == 1
    await scene.writer.close()
