"""The writer over real connections to a server that knows less than DynamoDB does."""

import json
from random import Random

import pytest

from connectors.dynamodb.modes import write_mode
from connectors.dynamodb.writing.settings import WriterSettings
from connectors.dynamodb.writing.writer import Writer
from engine.meter import Meter
from tests.support.encoded import encoded, put
from tests.support.stub_server import knowing, stub_server
from tests.support.transport import Run, transport_to

OVER = {
    "TableName": "t",
    "Item": {"PK": {"S": "a"}, "SK": {"S": '"ReturnConsumedCapacity":"INDEXES"}'}},
    "ConditionExpression": "attribute_not_exists(PK)",
    "ReturnConsumedCapacity": "INDEXES",
}


@pytest.mark.parametrize("levels", [("TOTAL",), ()])
@pytest.mark.parametrize("mode", ["put", "newer"])
def test_a_server_that_knows_fewer_questions_is_written_to(
    run: Run, mode: str, levels: tuple[str, ...]
) -> None:
    entries = [put(f"p{n}") for n in range(60)] if mode == "put" else [OVER] * 5
    keys = None if mode == "put" else [(f"{n}", "") for n in range(5)]

    async def renew() -> None:
        raise AssertionError("nothing expires here")

    async def main() -> None:
        notices: list[str] = []
        async with stub_server(*[knowing(*levels)] * 100) as stub:
            transport = transport_to(stub)
            settings = WriterSettings(write_mode(mode), "t", ("PK", "SK"), ("Order",), ("id",), 60.0)
            writer = Writer(transport, settings, Meter(), renew, notices.append, Random(1))
            report = await writer.write(encoded(entries, keys=keys))
            await writer.close()
            await transport.close()
            bodies = [json.loads(body) for body in stub.bodies]
        assert report.items_written == len(entries)
        assert bodies[-1].get("ReturnConsumedCapacity") == (levels[0] if levels else None)
        assert mode == "put" or bodies[-1]["Item"] == OVER["Item"]
        assert len(notices) == 1
        assert "estimated" in notices[0]

    run(main())
