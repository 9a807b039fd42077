"""Requests are the items' own text in the right envelope, and dead letters are the items out of it."""

import json

import pytest

from connectors.dynamodb.writing.loads import Load
from connectors.dynamodb.writing.lots import Queue
from connectors.dynamodb.writing.requests import Envelope
from tests.support.encoded import delete, encoded, put

ITEM = {"PK": {"S": "a"}, "SK": {"S": 'quote " and \\ and ü'}, "n": {"N": "1.50"}}


def request_of(mode: str, entries: list[dict], keys=None):
    envelope = Envelope(mode, "orders")
    queue = Queue(envelope.items_max, envelope.bytes_max)
    queue.add(Load(encoded(entries, keys=keys)))
    request = envelope.request(queue.take(0.0, float("inf")))
    return request.operation, json.loads(b"".join(request.parts))


def test_a_batch_write_holds_puts_and_deletes():
    entries = [put("a", "1", n={"N": "1.50"}), delete("b"), put("c")]
    operation, body = request_of("put", entries)
    assert operation == "BatchWriteItem"
    assert body == {"RequestItems": {"orders": entries}, "ReturnConsumedCapacity": "INDEXES"}


def test_inserts_are_statements():
    entries = [{"Statement": "INSERT …", "Parameters": [{"S": "a"}]}] * 3
    operation, body = request_of("insert", entries, [("a", ""), ("b", ""), ("c", "")])
    assert operation == "BatchExecuteStatement"
    assert body == {"Statements": entries, "ReturnConsumedCapacity": "INDEXES"}


@pytest.mark.parametrize(("part", "operation"), [("Item", "PutItem"), ("Key", "DeleteItem")])
def test_newer_sends_the_items_own_text(part, operation):
    entry = {"TableName": "orders", part: ITEM}
    assert request_of("newer", [entry, entry], [("a", ""), ("b", "")]) == (operation, entry)


@pytest.mark.parametrize(
    ("mode", "entry"),
    [
        ("put", {"PutRequest": {"Item": ITEM}}),
        ("newer", {"TableName": "orders", "Item": ITEM, "ConditionExpression": "…"}),
        (
            "insert",
            {
                "Statement": "INSERT INTO \"orders\" VALUE {'PK':?,'SK':?,'n':?}",
                "Parameters": list(ITEM.values()),
            },
        ),
    ],
)
def test_a_dead_letter_holds_the_item_and_nothing_around_it(mode, entry):
    batch = encoded([entry], keys=[("a", "")])
    assert json.loads(Envelope(mode, "orders").item_json(batch, 0)) == ITEM


def test_a_server_that_knows_less_is_asked_less():
    envelope = Envelope("put", "orders")
    asked = []
    for _ in range(3):
        queue = Queue(envelope.items_max, envelope.bytes_max)
        queue.add(Load(encoded([put("a")])))
        request = envelope.request(queue.take(0.0, float("inf")))
        asked.append(json.loads(b"".join(request.parts)).get("ReturnConsumedCapacity"))
        if envelope.counted:
            envelope.ask_less()
    assert asked == ["INDEXES", "TOTAL", None]


@pytest.mark.parametrize(("steps", "asked"), [(0, "INDEXES"), (1, "TOTAL"), (2, None)])
def test_an_item_that_asks_by_itself_asks_less_too(steps, asked):
    entry = {"TableName": "orders", "Item": ITEM, "ReturnConsumedCapacity": "INDEXES"}
    envelope = Envelope("newer", "orders")
    for _ in range(steps):
        envelope.ask_less()
    queue = Queue(envelope.items_max, envelope.bytes_max)
    queue.add(Load(encoded([entry], keys=[("a", "")])))
    body = json.loads(b"".join(envelope.request(queue.take(0.0, float("inf"))).parts))
    assert body.pop("ReturnConsumedCapacity", None) == asked
    assert body == {"TableName": "orders", "Item": ITEM}
