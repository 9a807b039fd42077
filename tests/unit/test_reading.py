"""Reads come back whole whatever the server does, and no faster than allowed."""

import json
from dataclasses import replace
from random import Random

import orjson
import pytest

from connectors.dynamodb.http.connection import Answer, TransportError
from connectors.dynamodb.reading import reader as readers
from connectors.dynamodb.reading.reader import Budget, TableReader
from connectors.dynamodb.reading.requests import ScanPage, page
from engine.errors import PermanentError, RetriesExhausted
from engine.retry import RetryPolicy
from tests.support.items import table_info

INFO = table_info(sort=None)


def key(number):
    return {"PK": {"S": str(number)}}


def answer(body, status=200):
    return Answer(status, orjson.dumps(body), None, 0.001)


class Scripted:
    """Answers in turn; an exception among them is raised."""

    def __init__(self, *script):
        self.script = list(script)
        self.sent = []

    async def send(self, operation, parts):
        self.sent.append((operation, orjson.loads(b"".join(parts))))
        step = self.script.pop(0)
        step = step(self.sent[-1][1]) if callable(step) else step
        if isinstance(step, Exception):
            raise step
        return step


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(readers, "RETRIES", RetryPolicy(0.0, 0.0))


def reader(sender, info=INFO, **options):
    async def renew():
        sender.renewed = True

    return TableReader(sender, renew, "t", info, random=Random(1), **options)


def all_found(body):
    keys = body["RequestItems"]["t"]["Keys"]
    return answer({"Responses": {"t": keys}, "ConsumedCapacity": [{"CapacityUnits": len(keys)}]})


def half_found(body):
    keys = body["RequestItems"]["t"]["Keys"]
    half = len(keys) // 2
    left = {"t": {"Keys": keys[half:]}}
    return answer({"Responses": {"t": keys[:half]}, "UnprocessedKeys": left})


async def test_keys_are_read_a_hundred_at_a_time_and_consistently():
    sender = Scripted(all_found, all_found, all_found)
    source = reader(sender)
    items = await source.get([key(n) for n in range(250)])
    assert len(items) == 250
    assert source.consumed == 250
    assert [len(body["RequestItems"]["t"]["Keys"]) for _, body in sender.sent] == [100, 100, 50]
    assert all(body["RequestItems"]["t"]["ConsistentRead"] for _, body in sender.sent)


async def test_unprocessed_keys_are_asked_for_until_they_are_read():
    def nothing(body):
        return answer({"Responses": {}, "UnprocessedKeys": body["RequestItems"]})

    sender = Scripted(half_found, nothing, half_found, all_found)
    items = await reader(sender).get([key(n) for n in range(40)])
    assert sorted(int(item["PK"]["S"]) for item in items) == list(range(40))


async def test_throttling_outages_and_lost_answers_are_asked_again():
    throttled = answer({"__type": "x#ProvisionedThroughputExceededException"}, 400)
    expired = answer({"__type": "x#ExpiredTokenException"}, 400)
    sender = Scripted(throttled, answer({}, 500), TransportError("cut", sent=True), expired, all_found)
    assert len(await reader(sender).get([key(1)])) == 1
    assert sender.renewed


async def test_a_table_that_is_away_is_told_and_that_it_is_back(monkeypatch):
    monkeypatch.setattr("engine.absence.TOLD_AFTER_S", 0.0)
    throttled = answer({"__type": "x#ProvisionedThroughputExceededException"}, 400)
    told = []
    cut = TransportError("no route to host", sent=False)
    await reader(Scripted(throttled, cut, cut, all_found, all_found), notice=told.append).get([key(1)])
    assert told == [
        "table t can't be read (no route to host): waiting for it, up to 300 s",
        "table t is back",
    ]


async def test_a_table_that_is_gone_ends_it():
    sender = Scripted(answer({"__type": "x#ResourceNotFoundException", "message": "gone"}, 400))
    with pytest.raises(PermanentError, match="table t isn't there"):
        await reader(sender).get([key(1)])


async def test_an_outage_that_lasts_ends_it():
    sender = Scripted(*[answer({}, 500)] * 5)
    with pytest.raises(RetriesExhausted, match="Scan of table t has failed"):
        async for _ in reader(sender, give_up_after_s=-1.0).scan(0, 1):
            pass


async def test_a_scan_goes_on_behind_its_last_key_also_over_empty_pages():
    sender = Scripted(
        answer({"Items": [key(1)], "LastEvaluatedKey": key(1)}),
        answer({"Items": [], "LastEvaluatedKey": key(2)}),
        answer({"Items": [key(3)]}),
    )
    pages = [page async for page in reader(sender).scan(3, 8, key(0))]
    assert [len(orjson.loads(page.text)) for page in pages] == [1, 0, 1]
    assert [body["ExclusiveStartKey"] for _, body in sender.sent] == [key(0), key(1), key(2)]
    assert {(body["Segment"], body["TotalSegments"]) for _, body in sender.sent} == {(3, 8)}


SCANNED = [
    {"PK": {"S": 'a}}],"'}, "n": {"L": [{"M": {"x": {"S": "y"}}}]}},
    {"PK": {"S": "b"}, "Items": {"L": [{"N": "1"}]}},
]


@pytest.mark.parametrize(
    "body",
    [
        {"Items": SCANNED, "Count": 2, "ScannedCount": 2, "LastEvaluatedKey": key(1)},
        {"ConsumedCapacity": {"CapacityUnits": 1.5}, "Count": 2, "Items": SCANNED, "ScannedCount": 2},
        {"Count": 2, "Items": SCANNED, "LastEvaluatedKey": {"PK": {"S": '}}],"Count":1'}}, "ScannedCount": 2},
        {"Count": 2, "Items": SCANNED, "LastEvaluatedKey": {"PK": {"S": "x}}],"}}, "ScannedCount": 2},
        {"Count": 2, "Items": SCANNED},
        {"Items": [], "Count": 0, "LastEvaluatedKey": key(1)},
        {"Count": 0},
    ],
)
@pytest.mark.parametrize("spaced", [False, True])
def test_a_page_is_what_the_answer_says_however_it_is_written(body, spaced):
    text = json.dumps(body).encode() if spaced else orjson.dumps(body)
    read = page(text)
    assert (orjson.loads(read.text), read.count) == (body.get("Items", []), body["Count"])
    assert read.next == body.get("LastEvaluatedKey")
    assert read.consumed == (1.5 if "ConsumedCapacity" in body else 0.0)


async def test_a_scan_that_is_cut_off_is_asked_again():
    body = orjson.dumps({"Items": SCANNED, "Count": 2})
    sender = Scripted(*(Answer(200, text, None, 0.0) for text in (body[:-40], b"<html>", b"", body)))
    pages = [each async for each in reader(sender).scan(0, 1)]
    assert [orjson.loads(each.text) for each in pages] == [SCANNED]
    assert len(pages[0].digests().keys) == 2
    assert [pages[0].item(at) for at in range(2)] == SCANNED


def test_a_page_that_is_no_json_is_said_so():
    with pytest.raises(ValueError, match="items that aren't JSON"):
        ScanPage(b'[{"PK":{"S":"a"}', 1, None, 0.0, INFO.keys).digests()


async def test_a_sample_is_a_page_each_from_random_places_and_the_same_for_the_same_seed():
    def drawn(seed):
        sender = Scripted(*[answer({"Items": [key(1)] * 20, "Count": 20, "LastEvaluatedKey": key(1)})] * 5)
        return sender, reader(sender, info=replace(INFO, item_count=20_000)).sample(100, seed)

    places = []
    for seed in (1, 1, 2):
        sender, pages = drawn(seed)
        assert [page.count async for page in pages] == [20] * 5
        places.append([body["Segment"] for _, body in sender.sent])
        assert {(body["TotalSegments"], body["Limit"]) for _, body in sender.sent} == {(1_000, 20)}
    assert places[0] == places[1] != places[2]


@pytest.mark.parametrize(("items", "less"), [(1_999, True), (2_000, False)])
async def test_keys_are_read_one_by_one_only_where_that_costs_less(items, less):
    """A scan of 8,000 KB takes 2,000 units; each item of 800 bytes takes a whole one."""
    info = replace(INFO, item_count=10_240, size_bytes=8_192_000)
    assert reader(Scripted(), info=info).gets_cost_less(items) == less


def test_a_budget_is_kept_over_time():
    budget = Budget(100.0, now=0.0)
    spent, now = 0.0, 0.0
    while now < 10.0:
        now += budget.wait_s(now)
        budget.spend(128.0)
        spent += 128.0
    assert spent <= 100.0 * (10.0 + 1.0) + 2 * 128.0
    assert Budget(None, 0.0).wait_s(5.0) == 0.0


def test_another_rate_holds_from_its_moment_on_and_saves_up_no_more_than_its_own() -> None:
    budget = Budget(100.0, now=0.0)
    budget.limit(10.0, now=5.0)
    budget.spend(20.0)
    assert budget.wait_s(5.0) == 1.0  # of a hundred that were saved up ten are left
    budget.limit(100.0, now=5.0)
    assert budget.wait_s(5.0) == 0.1
    budget.limit(None, now=5.0)
    assert budget.wait_s(5.0) == 0.0
    budget.limit(10.0, now=6.0)
    budget.spend(20.0)
    assert budget.wait_s(6.0) == pytest.approx(2.0), "what was free of a cap isn't saved up"
