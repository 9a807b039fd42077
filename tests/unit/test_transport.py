"""The transport against a server that misbehaves: no answer goes astray, and no doubt is hidden."""

import asyncio
from typing import Any

import pytest

from connectors.dynamodb.http import connection as connection_module
from connectors.dynamodb.http.transport import TransportError
from tests.support.stub_server import Exchange, answer, hold, http, raw, reset, stub_server
from tests.support.transport import Run, failure, send, transport_to


def test_a_request_arrives_as_its_parts_and_its_answer_comes_back(run: Run) -> None:
    async def main() -> None:
        async with stub_server(answer(b'{"UnprocessedItems":{}}', 400)) as stub:
            transport = transport_to(stub)
            got = await transport.send("BatchWriteItem", [b"abc", memoryview(b"xdefx")[1:4], b"ghi"])
            assert (got.status, got.body) == (400, b'{"UnprocessedItems":{}}')
            assert got.request_id == "5S0QJ0TV4KQNSO5AEMVJF66Q9ASUAAJG"
            assert got.seconds > 0
            assert stub.bodies == [b"abcdefghi"]
            head = stub.exchanges[0].head
            assert head.startswith(b"POST / HTTP/1.1\r\n")
            assert b"x-amz-target: DynamoDB_20120810.BatchWriteItem\r\n" in head
            assert b"accept-encoding: identity\r\n" in head
            assert b"expect" not in head.lower()
            await transport.close()

    run(main())


@pytest.mark.parametrize(
    "pieces",
    [
        [bytes([byte]) for byte in http(b'{"a":1}')],
        [b"HTTP/1.1 100 Continue\r\n\r\n", http(b'{"a":1}')],
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b'3\r\n{"a\r\n',
            b'4\r\n":1}\r\n0\r\n\r\n',
        ],
        [b"HTTP/1.1 200 OK\r\ncontent-length:7\r\n\r\n", b'{"a":1}'],
    ],
    ids=["byte by byte", "after an interim answer", "chunked", "without a checksum"],
)
def test_an_answer_is_whole_however_it_is_framed(run: Run, pieces: list[bytes]) -> None:
    async def main() -> None:
        async with stub_server(raw(*pieces)) as stub:
            transport = transport_to(stub)
            assert await send(transport) == b'{"a":1}'
            assert await send(transport) == b"{}"
            assert stub.connections == 1
            await transport.close()

    run(main())


@pytest.mark.parametrize(
    "step",
    [
        raw(http(b"abc", length=10), close=True),
        raw(b"HTTP/1.1 200 OK\r\n\r\n{}", close=True),
        raw(b"HTTP/1.1 200", close=True),
        raw(close=True),
        reset(),
        reset(read_bytes=0),
        raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        raw(http(b"abc", crc=1)),
        raw(http(b"abc", headers=["Content-Encoding: gzip"])),
    ],
    ids=[
        "cut in the body",
        "without a length",
        "cut in the head",
        "closed",
        "reset",
        "reset before reading",
        "not HTTP",
        "upgrade",
        "wrong checksum",
        "compressed",
    ],
)
def test_an_answer_that_cannot_be_trusted_is_unknown_and_its_connection_is_gone(run: Run, step: Any) -> None:
    async def main() -> None:
        async with stub_server(answer(b"1"), step, answer(b"3")) as stub:
            transport = transport_to(stub)
            assert await send(transport) == b"1"
            error = await failure(transport, b"23")
            assert error.sent
            assert f"127.0.0.1:{stub.port}" in str(error)
            assert await send(transport) == b"3"
            assert stub.connections == 2
            await transport.close()

    run(main())


def test_an_answer_without_end_is_cut_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "ANSWER_BYTES_MAX", 10_000)

    async def main() -> None:
        async with stub_server(raw(http(length=10**9), b"x" * 20_000)) as stub:
            transport = transport_to(stub)
            assert "longer than" in str(await failure(transport))
            await transport.close()

    run(main())


@pytest.mark.parametrize("extra", [http(b"stray"), b"garbage"])
def test_bytes_behind_an_answer_never_meet_the_next_request(run: Run, extra: bytes) -> None:
    async def main() -> None:
        async with stub_server(raw(http(b"1") + extra), answer(b"2")) as stub:
            transport = transport_to(stub)
            assert await send(transport) == b"1"
            assert await send(transport) == b"2"
            assert stub.connections == 2
            await transport.close()

    run(main())


def test_bytes_that_nobody_asked_for_close_an_idle_connection(run: Run) -> None:
    async def main() -> None:
        stray, done = asyncio.Event(), asyncio.Event()

        async def late(exchange: Exchange) -> None:
            await answer(b"1")(exchange)
            await stray.wait()
            exchange.writer.write(http(b"stray"))
            await exchange.reader.read(1)  # until the client hangs up
            done.set()

        async with stub_server(late, answer(b"2")) as stub:
            transport = transport_to(stub)
            assert await send(transport) == b"1"
            stray.set()
            await done.wait()
            assert await send(transport) == b"2"
            await transport.close()

    run(main())


def test_a_late_answer_never_meets_another_request(run: Run) -> None:
    async def main() -> None:
        release, arrived = asyncio.Event(), asyncio.Event()
        async with stub_server(hold(release, answer(b"late"), arrived), answer(b"2")) as stub:
            transport = transport_to(stub, connections_max=1, answer_timeout_s=0.02)
            error = await failure(transport)
            assert error.sent
            assert "didn't answer within 0.02 s" in str(error)
            await arrived.wait()
            release.set()
            transport._answer_timeout_s = 60.0  # the second answer may take its time on a busy machine
            assert await send(transport) == b"2"
            assert stub.connections == 2
            await transport.close()

    run(main())


def test_a_connection_that_the_server_closes_is_not_used_again(run: Run) -> None:
    async def main() -> None:
        async with stub_server(raw(http(b"1", headers=["Connection: close"])), answer(b"2")) as stub:
            transport = transport_to(stub, connections_max=1)
            assert await send(transport) == b"1"
            assert await send(transport) == b"2"
            assert stub.connections == 2
            await transport.close()

    run(main())


def test_nobody_there_means_certainly_not_applied(run: Run) -> None:
    async def main() -> None:
        async with stub_server() as stub:
            pass
        transport = transport_to(stub)
        error = await failure(transport)
        assert not error.sent
        assert "can't connect" in str(error)
        await transport.close()

    run(main())


def test_no_more_connections_than_allowed_and_none_waits_forever(run: Run) -> None:
    async def main() -> None:
        async with stub_server() as stub:
            transport = transport_to(stub, connections_max=2)
            got = await asyncio.gather(*(send(transport, b"%d" % number) for number in range(20)))
            assert got == [b"{}"] * 20
            assert stub.connections == 2
            assert sorted(map(int, stub.bodies)) == list(range(20))
            await transport.close()

    run(main())


def test_who_waits_longest_is_served_first_even_when_connections_die(run: Run) -> None:
    async def main() -> None:
        async with stub_server(
            answer(), reset(), answer(), raw(http(headers=["Connection: close"]), close=True)
        ) as stub:
            transport = transport_to(stub, connections_max=1)
            got = await asyncio.gather(
                *(send(transport, b"%d" % number) for number in range(6)), return_exceptions=True
            )
            assert [isinstance(each, TransportError) for each in got] == [False, True, *[False] * 4]
            assert stub.bodies == [b"0", b"1", b"2", b"3", b"4", b"5"]
            await transport.close()

    run(main())


def test_a_failed_connect_lets_the_next_one_try(run: Run) -> None:
    async def main() -> None:
        async with stub_server() as stub:
            pass
        transport = transport_to(stub, connections_max=1)
        got = await asyncio.gather(*(failure(transport) for _ in range(5)))
        assert [error.sent for error in got] == [False] * 5
        await transport.close()

    run(main())


def test_cancelling_a_request_drops_its_connection_and_frees_its_place(run: Run) -> None:
    async def main() -> None:
        arrived, never = asyncio.Event(), asyncio.Event()
        async with stub_server(hold(never, answer(b"lost"), arrived), answer(b"2")) as stub:
            transport = transport_to(stub, connections_max=1)
            first = asyncio.create_task(send(transport))
            await arrived.wait()
            second = asyncio.create_task(send(transport))
            third = asyncio.create_task(send(transport))
            await asyncio.sleep(0)
            third.cancel()
            first.cancel()
            assert await second == b"2"
            for task in (first, third):
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert await send(transport) == b"{}"
            await transport.close()

    run(main())


def test_a_waiter_cancelled_as_its_turn_comes_passes_it_on(run: Run) -> None:
    async def main() -> None:
        async with stub_server() as stub:
            transport = transport_to(stub, connections_max=1)
            waiting: list[asyncio.Task[bytes]] = []

            async def first() -> None:
                await send(transport)
                waiting[0].cancel()  # its turn has come in this very step of the loop

            holder = asyncio.create_task(first())
            await asyncio.sleep(0)
            waiting += [asyncio.create_task(send(transport)) for _ in range(2)]
            await holder
            assert await waiting[1] == b"{}"
            assert waiting[0].cancelled()
            assert await send(transport) == b"{}"
            await transport.close()

    run(main())


def test_closing_fails_what_is_in_flight_as_unknown_and_what_waits_as_not_sent(run: Run) -> None:
    async def main() -> None:
        arrived, never = asyncio.Event(), asyncio.Event()
        async with stub_server(hold(never, answer(), arrived)) as stub:
            transport = transport_to(stub, connections_max=1)
            in_flight = asyncio.create_task(failure(transport))
            await arrived.wait()
            waiting = asyncio.create_task(failure(transport))
            await asyncio.sleep(0)
            await transport.close()
            assert (await in_flight).sent
            assert not (await waiting).sent
            assert not (await failure(transport)).sent
            await transport.close()

    run(main())


def test_a_connection_idle_for_long_is_closed_by_us(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.dynamodb.http.pool.IDLE_S_MAX", 0.0)
    monkeypatch.setattr("connectors.dynamodb.http.pool.SWEEP_S_MAX", 0.01)

    async def main() -> None:
        gone = asyncio.Event()

        async def watch(exchange: Exchange) -> None:
            await answer(b"1")(exchange)
            await exchange.reader.read(1)
            gone.set()

        async with stub_server(watch) as stub:
            transport = transport_to(stub)
            assert await send(transport) == b"1"
            await gone.wait()
            await transport.close()

    run(main())
