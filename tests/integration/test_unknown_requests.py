"""Real connections that are cut while the server goes on: no older item is applied over a newer one."""

import asyncio
import json

from connectors.dynamodb.writing import unknown_requests
from tests.support.encoded import encoded, put, text
from tests.support.stub_server import Exchange, http, stub_server
from tests.support.transport import transport_to
from tests.support.writing import Scene

LATE_S = 0.5


def version(value: str):
    return encoded([put(f"k{key}", v=text(value)) for key in range(25)])


async def test_the_server_applies_a_lost_request_late_and_no_newer_one_beside_it(monkeypatch):
    monkeypatch.setattr(unknown_requests, "REQUEST_LIFE_S", 2 * LATE_S)
    live: list[str] = []
    together: list[list[str]] = []
    applied: list[str] = []
    late: list[asyncio.Task[None]] = []

    async def begin(exchange: Exchange) -> str:
        await exchange.read_body()
        (entries,) = json.loads(exchange.body)["RequestItems"].values()
        value = entries[0]["PutRequest"]["Item"]["v"]["S"]
        live.append(value)
        if len(set(live)) > 1:
            together.append(list(live))
        return value

    def apply(value: str) -> None:
        live.remove(value)
        applied.append(value)

    async def cut(exchange: Exchange) -> None:
        value = await begin(exchange)
        exchange.reset()

        async def apply_late() -> None:
            await asyncio.sleep(LATE_S)
            apply(value)

        late.append(asyncio.create_task(apply_late()))

    async def answer(exchange: Exchange) -> None:
        apply(await begin(exchange))
        exchange.writer.write(http(b'{"UnprocessedItems":{}}'))

    async with stub_server(cut, cut, answer, answer) as stub:
        transport = transport_to(stub)
        scene = Scene(transport)
        await scene.writer.write(version("1"))
        await scene.writer.write(version("2"))
        await asyncio.gather(*late)
        await scene.writer.close()
        await transport.close()
    assert together == []
    assert applied[-1] == "2"
    assert sorted(applied) == ["1", "1", "1", "2"]
