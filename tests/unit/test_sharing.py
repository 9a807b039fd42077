"""What jobs of one process share of a table, and that each still notices when it is another one."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from connectors.dynamodb.section import DynamoDBSection
from connectors.dynamodb.sharing import FRESH_S, Clients, for_several
from connectors.dynamodb.table_info import TableInfo, table_info
from engine.errors import PermanentError
from engine.tenure import LeaseOver, Tenure
from tests.support.stub_server import Stub, answer, stub_server

TABLE = {
    "TableName": "orders",
    "TableArn": "arn:aws:dynamodb:us-east-1:000000000000:table/orders",
    "TableId": "5eed",
    "TableStatus": "ACTIVE",
    "CreationDateTime": 1_700_000_000.0,
    "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}],
}


def described(**changes: object) -> bytes:
    return json.dumps({"Table": {**TABLE, **changes}}).encode()


def section(stub: Stub) -> DynamoDBSection:
    return DynamoDBSection(
        type="dynamodb", table="orders", region="us-east-1", endpoint_url=f"http://127.0.0.1:{stub.port}"
    )


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def clients(clock: Clock) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        yield Clients(stack, clock)


async def test_a_description_is_taken_again_while_it_is_fresh() -> None:
    clock = Clock()
    script = [answer(described()), answer(), answer(), answer(described(TableId="other"))]
    async with stub_server(*script) as stub, clients(clock) as shared:
        first, second = await asyncio.gather(*(shared.describe(section(stub)) for _ in range(2)))
        assert first is second
        assert len(stub.exchanges) == 3, "the table, its backups, its time to live: once"
        clock.now = FRESH_S
        again = await shared.describe(section(stub))
        assert again is not None
        assert again.table_id == "other"


async def test_a_table_that_is_not_there_is_looked_for_again() -> None:
    absent = answer(b'{"__type":"x#ResourceNotFoundException"}', 400)
    async with stub_server(absent, answer(described())) as stub, clients(Clock()) as shared:
        assert await shared.describe(section(stub)) is None
        assert isinstance(await shared.describe(section(stub)), TableInfo)


async def test_jobs_send_over_one_connection_each_under_its_own_tenure() -> None:
    table = table_info(TABLE)
    script = [answer(described()), answer(), answer(described())]
    async with stub_server(*script) as stub, clients(Clock()) as shared:
        one = await shared.sender(section(stub), table, Tenure())
        other = await shared.sender(section(stub), table, Tenure(-1.0))
        await one.send("BatchWriteItem", [b"one"])
        await one.close()
        with pytest.raises(LeaseOver):
            await other.send("BatchWriteItem", [b"other"])
        third = await shared.sender(section(stub), table, Tenure())
        await third.send("BatchWriteItem", [b"third"])
        writes = [each for each in stub.bodies if b"TableName" not in each]
        assert writes == [b"one", b"third"]
        assert len(stub.bodies) - len(writes) == stub.connections == 2, "what was refused cost its connection"


async def test_a_table_made_anew_has_connections_of_its_own() -> None:
    table, anew = table_info(TABLE), table_info({**TABLE, "TableId": "other"})
    script = [answer(described()), answer(), answer(described())]
    async with stub_server(*script) as stub, clients(Clock()) as shared:
        await (await shared.sender(section(stub), table, Tenure())).send("BatchWriteItem", [b"one"])
        with pytest.raises(PermanentError, match="was replaced"):
            await (await shared.sender(section(stub), anew, Tenure())).send("BatchWriteItem", [b"two"])


async def test_each_job_notices_that_the_table_was_replaced() -> None:
    answers = [answer(described()), *[answer(described(TableId="other"))] * 2]
    async with stub_server(*answers) as stub, clients(Clock()) as shared:
        looks = [await shared.look(section(stub), table_info(TABLE)) for _ in range(2)]
        assert await asyncio.gather(*(look() for look in looks)) == [None, None]
        assert len(stub.exchanges) == 1, "one look for both"
        for look in looks:
            with pytest.raises(PermanentError, match="was replaced"):
                await look()


async def test_a_look_answers_nobody_who_asked_after_it_began() -> None:
    begun, answers = list[int](), [asyncio.Event() for _ in range(3)]

    async def look() -> str:
        begun.append(len(begun))
        number = begun[-1]
        await answers[number].wait()
        return str(number)

    async with for_several(look) as ask:
        first = asyncio.create_task(ask())
        while not begun:
            await asyncio.sleep(0)
        second, third = asyncio.create_task(ask()), asyncio.create_task(ask())
        await asyncio.sleep(0)
        assert begun == [0], "one at a time"
        answers[0].set()
        assert await first == "0"
        second.cancel()  # whoever goes away takes nobody's answer along
        answers[1].set()
        assert await third == "1"
        left = asyncio.create_task(ask())
        while len(begun) < 3:
            await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await left
