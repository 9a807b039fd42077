"""Another table in the target's place is told by what it says of itself; no answer tells nothing."""

import json

import pytest

from connectors.dynamodb.http.connection import Answer
from connectors.dynamodb.http.transport import TransportError
from connectors.dynamodb.lookout import Lookout, TableGone
from connectors.dynamodb.table_info import table_info
from engine.errors import PermanentError
from tests.support.stub_server import answer, http, raw, reset, stub_server
from tests.support.transport import Run, send, transport_to

MADE = 1_700_000_000.123
TABLE = {
    "TableName": "orders",
    "TableArn": "arn:aws:dynamodb:us-east-1:000000000000:table/orders",
    "TableId": "5eed",
    "TableStatus": "ACTIVE",
    "CreationDateTime": MADE,
    "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}],
}
BEFORE = table_info(TABLE)
INDEX = {"IndexName": "i", "KeySchema": TABLE["KeySchema"], "IndexStatus": "CREATING"}


def lookout() -> Lookout:
    return Lookout(BEFORE, "orders")


def said(status: int = 200, **changes: object) -> Answer:
    return Answer(status, body(**changes), None, 0.01)


def body(**changes: object) -> bytes:
    return json.dumps({"Table": {**TABLE, **changes}}).encode()


def refusal(code: str, status: int = 400) -> Answer:
    return Answer(status, json.dumps({"__type": f"x#{code}", "message": "m"}).encode(), None, 0.01)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"TableStatus": "UPDATING"},
        {"CreationDateTime": MADE + 3600},
        {"GlobalSecondaryIndexes": [INDEX], "ItemCount": 5},
        {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}},
    ],
)
def test_what_may_change_passes(changes: dict) -> None:
    assert lookout().judge(said(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"CreationDateTime": MADE + 3600, "TableId": ""}, r"replaced .* created at 2023-11-14T22:13:20"),
        ({"TableId": "other"}, "was replaced"),
        ({"TableArn": "arn:aws:dynamodb:eu-west-1:1:table/orders"}, "is another one .*eu-west-1"),
        ({"KeySchema": [{"AttributeName": "SK", "KeyType": "HASH"}]}, r"another key now: SK \(N\)"),
        ({"TableStatus": "DELETING"}, "is DELETING"),
    ],
)
def test_another_table_is_told(changes: dict, told: str) -> None:
    definitions = [*TABLE["AttributeDefinitions"], {"AttributeName": "SK", "AttributeType": "N"}]
    with pytest.raises(PermanentError, match=told + ".*--fresh"):
        lookout().judge(said(AttributeDefinitions=definitions, **changes))


def test_a_table_that_is_not_there_is_told() -> None:
    with pytest.raises(TableGone, match=r"orders isn't there any more.*--fresh"):
        lookout().judge(refusal("ResourceNotFoundException"))


@pytest.mark.parametrize(
    "unknown",
    [
        refusal("ThrottlingException"),
        refusal("AccessDeniedException"),
        refusal("InternalServerError", 500),
        Answer(502, b"<html>", None, 0.01),
        Answer(200, b"{}", None, 0.01),
        Answer(200, b"[]", None, 0.01),
    ],
)
def test_no_answer_tells_nothing(unknown: Answer) -> None:
    assert lookout().judge(unknown)


def test_a_connection_that_leads_to_another_table_carries_no_write(run: Run) -> None:
    async def main() -> None:
        async with stub_server(answer(body()), answer(), reset(), answer(body(TableId="other"))) as stub:
            transport = transport_to(stub, greeting=lookout())
            assert await send(transport, b"one") == b"{}"
            with pytest.raises(TransportError):
                await send(transport, b"two")
            with pytest.raises(PermanentError, match="was replaced"):
                await send(transport, b"three")
            assert [each for each in stub.bodies if b"TableName" not in each] == [b"one", b"two"]
            await transport.close()

    run(main())


def test_a_server_too_busy_to_answer_is_written_to(run: Run) -> None:
    async def main() -> None:
        busy = answer(b'{"__type":"ThrottlingException"}', 400)
        async with stub_server(busy, busy, busy) as stub:
            transport = transport_to(stub, greeting=lookout())
            await send(transport, b"one")
            assert [b"TableName" in each for each in stub.bodies] == [True, True, True, False]
            await transport.close()

    run(main())


def test_a_server_that_closes_behind_each_answer_is_written_to(run: Run) -> None:
    async def main() -> None:
        closing = raw(http(body(), headers=["Connection: close"]), close=True)
        async with stub_server(closing) as stub:
            transport = transport_to(stub, greeting=lookout())
            await send(transport, b"one")
            assert [b"TableName" in each for each in stub.bodies] == [True, False]
            await transport.close()

    run(main())
