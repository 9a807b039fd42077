"""Large bodies: whole, cut off, answered early, cancelled."""

import asyncio

import pytest

from tests.support.stub_server import answer, hold, http, raw, reset, stub_server
from tests.support.transport import LONG, Run, failure, send, transport_to


def test_a_large_body_arrives_whole(run: Run) -> None:
    async def main() -> None:
        body = bytes(range(256)) * (LONG // 256)
        async with stub_server(answer(b"1")) as stub:
            transport = transport_to(stub)
            half = len(body) // 2
            got = await transport.send("BatchWriteItem", [body[:half], memoryview(body)[half:]])
            assert got.body == b"1"
            assert stub.bodies[0] == body
            assert await send(transport) == b"{}"
            assert stub.connections == 1
            await transport.close()

    run(main())


def test_a_large_body_cut_off_before_its_end_was_certainly_not_applied(run: Run) -> None:
    async def main() -> None:
        async with stub_server(reset(read_bytes=2**16)) as stub:
            transport = transport_to(stub)
            assert not (await failure(transport, bytes(LONG))).sent
            await transport.close()

    run(main())


def test_an_answer_before_the_end_of_a_large_body_is_taken_and_the_rest_kept_back(run: Run) -> None:
    async def main() -> None:
        async with stub_server(raw(http(b"too large", 413), read=False), answer(b"2")) as stub:
            transport = transport_to(stub)
            got = await transport.send("BatchWriteItem", [bytes(LONG)])
            assert (got.status, got.body) == (413, b"too large")
            assert await send(transport) == b"2"
            assert stub.connections == 2
            await transport.close()

    run(main())


def test_a_large_body_can_be_cancelled_half_way(run: Run) -> None:
    async def main() -> None:
        arrived, never = asyncio.Event(), asyncio.Event()
        async with stub_server(hold(never, answer(), arrived), answer(b"2")) as stub:
            transport = transport_to(stub, connections_max=1)
            task = asyncio.create_task(send(transport, bytes(LONG)))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await send(transport) == b"2"
            await transport.close()

    run(main())
