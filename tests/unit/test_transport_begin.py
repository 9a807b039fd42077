"""Requests that call back: begun at once or not at all, told once, and never after they are cancelled."""

import asyncio

import pytest

from connectors.dynamodb.http.connection import WRITE_CHUNK_BYTES, Answer, Ended
from connectors.dynamodb.http.transport import Transport, TransportError
from engine.tenure import LeaseOver, Tenure
from tests.support.stub_server import answer, hold, http, raw, reset, stub_server
from tests.support.transport import Run, send, transport_to, under

FOLLOWS = b'{"next":1}'


class Told:
    """What was told, in order, and a way to wait for so much of it."""

    def __init__(self) -> None:
        self.outcomes: list[Answer | Exception] = []
        self._more = asyncio.Event()

    def __call__(self, outcome: Answer | Exception) -> None:
        self.outcomes.append(outcome)
        self._more.set()

    async def all(self, count: int) -> list[Answer | Exception]:
        while len(self.outcomes) < count:
            self._more.clear()
            await self._more.wait()
        return self.outcomes


def begin(transport: Transport, ended: Ended, body: bytes = b"{}") -> object:
    return transport.begin("PutItem", [body], ended)


def test_a_request_is_begun_where_a_connection_is_free_and_its_answer_may_begin_the_next(run: Run) -> None:
    async def main() -> None:
        async with stub_server() as stub:
            transport, told = transport_to(stub), Told()

            def and_on(outcome: Answer | Exception) -> None:
                if len(told.outcomes) < 2:
                    assert begin(transport, and_on, FOLLOWS) is not None, "the connection is free by now"
                told(outcome)

            assert begin(transport, told) is None, "none is open yet"
            await send(transport)
            tasks = asyncio.all_tasks()
            assert begin(transport, and_on, b'{"first":1}') is not None
            assert asyncio.all_tasks() == tasks
            assert begin(transport, told) is None, "the only one is taken"
            assert told.outcomes == []
            outcomes = await told.all(3)
            assert all(isinstance(each, Answer) and each.body == b"{}" for each in outcomes)
            assert stub.bodies == [b"{}", b'{"first":1}', FOLLOWS, FOLLOWS]
            assert stub.connections == 1
            await transport.close()

    run(main())


def test_what_has_to_wait_is_not_begun(run: Run) -> None:
    async def main() -> None:
        async with stub_server() as stub:
            transport, told = transport_to(stub), Told()
            await send(transport)
            assert begin(transport, told, b"x" * (WRITE_CHUNK_BYTES + 1)) is None, "written in chunks"
            transport._signers.at_hand = lambda: None  # type: ignore[method-assign]
            assert begin(transport, told) is None, "credentials are looked after first"
            await send(transport)
            assert len(stub.bodies) == 2
            await transport.close()
            assert begin(transport, told) is None

    run(main())


@pytest.mark.parametrize(
    "step", [reset(), raw(http(b"abc", crc=1)), raw(http(length=100), close=True), raw(b"SSH-2.0\r\n")]
)
def test_a_request_without_an_answer_is_told_once_as_unknown(run: Run, step: object) -> None:
    async def main() -> None:
        async with stub_server(answer(), step, answer(FOLLOWS)) as stub:
            transport, told = transport_to(stub, connections_max=1), Told()
            await send(transport)
            begin(transport, told)
            (error,) = await told.all(1)
            assert isinstance(error, TransportError)
            assert error.sent
            assert await send(transport) == FOLLOWS, "its place is another's"
            assert len(told.outcomes) == 1
            await transport.close()

    run(main())


def test_a_request_whose_time_is_over_is_told_and_may_begin_another(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.dynamodb.http.pool.SWEEP_S_MAX", 0.01)

    async def main() -> None:
        never = asyncio.Event()
        async with stub_server(answer(), answer(), hold(never, answer())) as stub:
            transport, told = transport_to(stub, connections_max=2), Told()

            def and_on(outcome: Answer | Exception) -> None:
                transport._answer_timeout_s = 60.0
                assert begin(transport, told, FOLLOWS) is not None
                told(outcome)

            await asyncio.gather(send(transport), send(transport))
            transport._answer_timeout_s = 0.05
            assert begin(transport, and_on) is not None
            late, followed = sorted(await told.all(2), key=lambda each: isinstance(each, Answer))
            assert isinstance(late, TransportError)
            assert "didn't answer within 0.05 s" in str(late)
            assert isinstance(followed, Answer)
            await transport.close()

    run(main())


def test_a_cancelled_request_drops_its_connection_and_is_never_told(run: Run) -> None:
    async def main() -> None:
        arrived, release = asyncio.Event(), asyncio.Event()
        async with stub_server(answer(), hold(release, answer(b"late"), arrived)) as stub:
            transport, told = transport_to(stub, connections_max=1), Told()
            await send(transport)
            exchange = transport.begin("PutItem", [b"{}"], told)
            assert exchange is not None
            await arrived.wait()
            exchange.cancel()
            release.set()
            assert await send(transport) == b"{}"
            assert stub.connections == 2
            assert told.outcomes == []
            await transport.close()

    run(main())


def test_nothing_is_begun_behind_the_end_of_the_lease(run: Run) -> None:
    async def main() -> None:
        async with stub_server() as stub:
            tenure = Tenure(1.0, clock=lambda: now)
            transport, told = under(tenure, stub), Told()
            now = 0.0
            await send(transport)
            now = 2.0
            with pytest.raises(LeaseOver):
                begin(transport, told)
            tenure.until(3.0)
            assert await send(transport) == b"{}"
            assert len(stub.bodies) == 2
            assert told.outcomes == []
            await transport.close()

    run(main())


def test_closing_tells_what_is_out_as_unknown(run: Run) -> None:
    async def main() -> None:
        arrived, never = asyncio.Event(), asyncio.Event()
        async with stub_server(answer(), hold(never, answer(), arrived)) as stub:
            transport, told = transport_to(stub), Told()
            await send(transport)
            begin(transport, told)
            await arrived.wait()
            await transport.close()
            (error,) = told.outcomes
            assert isinstance(error, TransportError)
            assert error.sent

    run(main())
