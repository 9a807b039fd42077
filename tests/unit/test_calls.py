"""A call about a table is tried again where that helps, and tells by its code what is refused."""

import json

import pytest

from connectors.dynamodb.http import calls
from connectors.dynamodb.http.calls import TRIES, CallRefused, Calls, calling
from connectors.dynamodb.http.connection import TransportError
from connectors.dynamodb.state.table import StateTable
from engine.retry import RetryPolicy
from engine.state.records import begun
from tests.support.states import a_run
from tests.support.stub_server import Stub, answer, raw, stub_server
from tests.support.transport import transport_to

BUSY = answer(b'{"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException"}', 400)
BROKEN = answer(b"", 500)
EXPIRED = answer(b'{"__type": "x#ExpiredTokenException", "message": "too old"}', 400)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "BETWEEN", RetryPolicy(base_s=0.0, cap_s=0.0, give_up_after_s=0.0))


class Renewer:
    """Credentials that are others once."""

    asked = 0

    async def refresh(self) -> bool:
        self.asked += 1
        return self.asked == 1


def calls_to(stub: Stub, renewer: Renewer | None = None) -> Calls:
    return Calls(transport_to(stub), renewer or Renewer())


async def test_what_passes_is_tried_again_and_the_answer_returned() -> None:
    async with stub_server(raw(close=True), BUSY, BROKEN, answer(b'{"Table": {"ItemCount": 1}}')) as stub:
        async with calling(transport_to(stub), Renewer()) as call:
            assert await call("DescribeTable", TableName="t") == {"Table": {"ItemCount": 1}}
        assert [json.loads(body) for body in stub.bodies] == [{"TableName": "t"}] * TRIES
        assert b"x-amz-target: DynamoDB_20120810.DescribeTable\r\n" in stub.exchanges[-1].head


async def test_what_goes_on_failing_is_told_at_last() -> None:
    async with stub_server(*[BROKEN] * TRIES) as stub:
        with pytest.raises(CallRefused, match="HTTP 500"):
            await calls_to(stub)("DescribeTable")
        assert len(stub.exchanges) == TRIES
    async with stub_server(*[raw(close=True)] * TRIES) as stub:
        with pytest.raises(TransportError, match="closed before"):
            await calls_to(stub)("DescribeTable")
        assert len(stub.exchanges) == TRIES


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b'{"__type": "a.b#ValidationException", "Message": "no"}', 400, "ValidationException: no"),
        (b"<html>", 403, "HTTP 403"),
        (b"<html>", 200, "HTTP 200"),
        (b"[]", 200, "HTTP 200"),
    ],
)
async def test_what_is_refused_is_told_at_once(body: bytes, status: int, told: str) -> None:
    async with stub_server(answer(body, status)) as stub:
        with pytest.raises(CallRefused) as refused:
            await calls_to(stub)("DescribeTable")
        assert str(refused.value) == told
        assert len(stub.exchanges) == 1


async def test_expired_credentials_are_looked_for_once() -> None:
    async with stub_server(EXPIRED, answer(b'{"Table": {}}')) as stub:
        assert await calls_to(stub)("DescribeTable") == {"Table": {}}
    renewer = Renewer()
    async with stub_server(EXPIRED, EXPIRED) as stub:
        with pytest.raises(CallRefused, match="too old"):
            await calls_to(stub, renewer)("DescribeTable")
    assert renewer.asked == 1


async def test_a_checkpoint_whose_answer_is_lost_is_repeated_as_the_same_transaction() -> None:
    async with stub_server(raw(close=True), answer(), answer()) as stub:
        table = StateTable(calls_to(stub), "state", "orders")
        put = table.put_run("RUN", begun(a_run(), letters_base=0, letters_of=()), 1)
        await table.commit([put])
        await table.commit([put])
        first, again, second = (json.loads(body)["ClientRequestToken"] for body in stub.bodies)
    assert first == again != second


async def test_all_pages_of_a_runs_items_are_read() -> None:
    pages = (
        answer(b'{"Items": [{"SK": {"S": "1"}}], "LastEvaluatedKey": {"SK": {"S": "1"}}}'),
        answer(b'{"Items": [], "LastEvaluatedKey": {"SK": {"S": "1"}}}'),
        answer(b'{"Items": [{"SK": {"S": "2"}}]}'),
    )
    async with stub_server(*pages) as stub:
        table = StateTable(calls_to(stub), "state", "orders")
        assert [item["SK"]["S"] async for item in table.of_run("run", "SEGMENT#")] == ["1", "2"]
        assert ["ExclusiveStartKey" in json.loads(body) for body in stub.bodies] == [False, True, True]
