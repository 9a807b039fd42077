"""Requests are the items' own text in the right envelope, and dead letters are the items out of it."""

import json

import pytest

from connectors.dynamodb.modes import NEWER, PUT, write_mode
from connectors.dynamodb.writing.open_batch import OpenBatch
from connectors.dynamodb.writing.request_builder import RequestBuilder
from connectors.dynamodb.writing.requests import ItemSpan, Request, request_of
from tests.support.encoded import delete, encoded, put

ITEM = {"PK": {"S": "a"}, "SK": {"S": 'quote " and \\ and ü'}, "n": {"N": "1.50"}}


def call_of(mode: str, entries: list[dict], keys=None):
    builder = RequestBuilder(write_mode(mode), "orders")
    call = builder.call(first_of(entries[: write_mode(mode).items_max], keys))
    return call.operation, json.loads(b"".join(call.parts))


def first_of(entries: list[dict], keys=None) -> Request:
    """Return a request of these items."""
    batch = OpenBatch(encoded(entries, keys=keys))
    return request_of([ItemSpan(batch, 0, len(entries))])


def test_a_batch_write_holds_puts_and_deletes():
    entries = [put("a", "1", n={"N": "1.50"}), delete("b"), put("c")]
    operation, body = call_of("put", entries)
    assert operation == "BatchWriteItem"
    assert body == {"RequestItems": {"orders": entries}, "ReturnConsumedCapacity": "INDEXES"}


def test_inserts_are_statements():
    entries = [{"Statement": "INSERT …", "Parameters": [{"S": "a"}]}] * 3
    operation, body = call_of("insert", entries, [("a", ""), ("b", ""), ("c", "")])
    assert operation == "BatchExecuteStatement"
    assert body == {"Statements": entries, "ReturnConsumedCapacity": "INDEXES"}


@pytest.mark.parametrize(("part", "operation"), [("Item", "PutItem"), ("Key", "DeleteItem")])
def test_newer_sends_the_items_own_text(part, operation):
    entry = {"TableName": "orders", part: ITEM}
    assert call_of("newer", [entry, entry], [("a", ""), ("b", "")]) == (operation, entry)


@pytest.mark.parametrize(
    ("mode", "entry"),
    [
        ("put", {"PutRequest": {"Item": ITEM}}),
        (
            "newer",
            {"TableName": "orders", "Item": ITEM, "ExpressionAttributeValues": {":v": {"N": "1"}}},
        ),
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
    assert json.loads(RequestBuilder(write_mode(mode), "orders").item_json(batch, 0)) == ITEM


def test_a_server_that_knows_less_is_asked_less():
    builder = RequestBuilder(PUT, "orders")
    asked = []
    for _ in range(3):
        request = first_of([put("a")])
        asked.append(json.loads(b"".join(builder.call(request).parts)).get("ReturnConsumedCapacity"))
        if builder.counted:
            assert (builder.ask_less(request, "no") is not None) is (len(asked) == 1)
    assert asked == ["INDEXES", "TOTAL", None]


@pytest.mark.parametrize(("steps", "asked"), [(0, "INDEXES"), (1, "TOTAL"), (2, None)])
def test_an_item_that_asks_by_itself_asks_less_too(steps, asked):
    entry = {"TableName": "orders", "Item": ITEM, "ReturnConsumedCapacity": "INDEXES"}
    builder = RequestBuilder(NEWER, "orders")
    request = first_of([entry], [("a", "")])
    for _ in range(steps):
        builder.call(request)
        builder.ask_less(request, "no")
    body = json.loads(b"".join(builder.call(request).parts))
    assert body.pop("ReturnConsumedCapacity", None) == asked
    assert body == {"TableName": "orders", "Item": ITEM}
