"""Nothing is sent behind a lease's end: not by the transport, not by the writer, not by a worker."""

import asyncio
import socket
from contextlib import suppress

import pytest

from engine.errors import PermanentError
from engine.events import Notice
from engine.run.lease_watch import LeaseWatch
from engine.run.link import Until, queue_link
from engine.run.worker import Usage, work
from engine.tenure import NEVER, LeaseOver, Tenure
from tests.support import fakes
from tests.support.encoded import encoded
from tests.support.model_table import ModelTable
from tests.support.stub_server import Exchange, Stub, http, stub_server
from tests.support.transport import Run, failure, send, transport_to, under
from tests.support.writing import Scene, on_virtual_time, puts


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_without_an_end_it_lasts() -> None:
    Tenure().prove()
    assert Tenure().held


def test_what_is_lost_stays_lost() -> None:
    clock = Clock()
    tenure = Tenure(110.0, clock)
    assert repr(tenure) == "<Tenure 10.0 s left>"
    tenure.prove()
    clock.now_s = 110.0
    with pytest.raises(LeaseOver):
        tenure.prove()
    tenure.until(120.0)
    tenure.prove()
    tenure.lose("another runner has it")
    assert repr(tenure) == "<Tenure lost: another runner has it>"
    tenure.until(NEVER)
    with pytest.raises(PermanentError, match="another runner has it"):
        tenure.prove()


@pytest.mark.parametrize("length", [100, 2**20])
def test_a_request_that_would_start_behind_the_end_never_leaves(run: Run, length: int) -> None:
    async def main() -> None:
        clock = Clock()
        tenure = Tenure(110.0, clock)
        async with stub_server() as stub:
            transport = under(tenure, stub)
            await send(transport, b"x" * length)
            clock.now_s = 111.0
            with pytest.raises(LeaseOver):
                await send(transport, b"x" * length)
            tenure.until(120.0)
            await send(transport, b"y" * length)
            assert stub.bodies == [b"x" * length, b"y" * length]
            await transport.close()
            assert str(await failure(transport)) == "the transport is closed"

    run(main())


@pytest.mark.parametrize("length", [12_500, 60_000])
def test_a_request_is_with_the_kernel_before_anything_else_runs(run: Run, length: int) -> None:
    """What waited in the process would be sent after a stop for longer than the lease."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            transport = transport_to(Stub(port=listener.getsockname()[1]))
            first = asyncio.ensure_future(send(transport))
            client, _ = await loop.run_in_executor(None, listener.accept)
            with client:
                client.settimeout(100)
                got = b""
                while not got.endswith(b"\r\n\r\n{}"):
                    got += await loop.run_in_executor(None, client.recv, 65_536)
                client.sendall(http())
                await first
                second = asyncio.ensure_future(send(transport, b"x" * length))
                await asyncio.sleep(0)  # it is sent now, and the loop hasn't been back at its socket since
                got = b""
                while not got.endswith(b"x" * length):
                    got += client.recv(65_536)  # blocks the loop
                client.sendall(http())
                await second
            await transport.close()

    run(main())


def test_a_long_request_is_not_ended_behind_the_lease(run: Run) -> None:
    async def main() -> None:
        length = 16 * 2**20
        clock = Clock()
        tenure = Tenure(110.0, clock)
        ended = asyncio.Event()

        async def read_most(exchange: Exchange) -> None:
            await exchange.reader.readexactly(2**20)
            clock.now_s = 111.0
            with suppress(asyncio.IncompleteReadError):
                exchange.body = await exchange.reader.readexactly(exchange.length)
            ended.set()

        async with stub_server(read_most) as stub:
            transport = under(tenure, stub)
            with pytest.raises(LeaseOver):
                await send(transport, b"x" * length)
            await ended.wait()
            assert stub.bodies == [b""]
            await transport.close()

    run(main())


def scene_under(tenure: Tenure) -> Scene:
    """A writer whose transport proves the lease at each send, as the real one does."""
    table = ModelTable()
    send = table.send

    async def prove_and_send(operation, parts):
        tenure.prove()
        return await send(operation, parts)

    table.send = prove_and_send
    return Scene(table, tenure=tenure)


@on_virtual_time
async def test_the_writer_holds_still_until_the_lease_is_renewed() -> None:
    loop = asyncio.get_running_loop()
    tenure = Tenure(loop.time() + 0.02, loop.time)
    scene = scene_under(tenure)
    writing = asyncio.ensure_future(scene.writer.write(encoded(puts(5_000))))
    await asyncio.sleep(30)
    sent = scene.table.requests
    assert sent < 200
    await asyncio.sleep(30)
    assert scene.table.requests == sent
    tenure.until(NEVER)
    assert (await writing).items_written == 5_000
    assert set(scene.table.writes.values()) == {1}
    assert not scene.notices, "a lease that ended isn't the table's outage"
    await scene.writer.close()


@on_virtual_time
async def test_a_lost_lease_ends_every_write() -> None:
    loop = asyncio.get_running_loop()
    tenure = Tenure(loop.time() + 0.02, loop.time)
    scene = scene_under(tenure)
    writing = asyncio.ensure_future(scene.writer.write(encoded(puts(5_000))))
    await asyncio.sleep(30)
    tenure.lose("the lease is lost")
    with pytest.raises(PermanentError, match="the lease is lost"):
        await writing
    await scene.writer.close()


async def test_a_worker_takes_its_end_from_the_runner() -> None:
    hold = asyncio.Event()
    target = fakes.FakeTarget(during=lambda _: asyncio.ensure_future(hold.wait()))
    line = fakes.line(fakes.FakeSource({0: [[1]]}), target)
    ours, theirs = queue_link()
    working = asyncio.create_task(work(line, theirs, 1, lambda: Usage(0.0, 0)))
    ours.send(Until(5.0))
    while line.tenure.end_s != 5.0:
        await asyncio.sleep(0)
    ours.send(Until(-NEVER, "it is lost"))
    while line.tenure.lost is None:
        await asyncio.sleep(0)
    assert line.tenure.lost == "it is lost"
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


def test_the_watch_tells_workers_every_renewal_and_the_user_every_end() -> None:
    clock, sent, told = Clock(), [], []
    tenure = Tenure(110.0, clock)
    watch = LeaseWatch(tenure, sent.append, told.append)
    assert watch.look() is None
    tenure.until(120.0)
    assert watch.look() is None
    clock.now_s = 121.0
    for _ in range(2):
        assert watch.look() is None
    tenure.until(130.0)
    assert watch.look() is None
    assert sent == [Until(120.0), Until(130.0)]
    assert [type(each) for each in told] == [Notice, Notice]
    tenure.lose("it is lost")
    assert str(watch.look()) == "it is lost"
    assert sent[-1] == Until(-NEVER, "it is lost")
