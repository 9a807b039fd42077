"""A target whose connections are cut in the middle of requests and answers, and that goes away."""

import asyncio
from contextlib import AsyncExitStack, suppress
from random import Random
from urllib.parse import urlsplit

import pytest

from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.modes import PUT
from connectors.dynamodb.section import DynamoDBSection
from connectors.dynamodb.writing.settings import WriterSettings
from connectors.dynamodb.writing.writer import Writer
from engine.errors import RetriesExhausted
from engine.meter import Meter
from tests.integration.test_target_dynamodb import Table
from tests.support.connections import serving, until_one_ends
from tests.support.encoded import encoded, put

pytestmark = pytest.mark.fault


class Saboteur:
    """A proxy before the target: cuts each connection after a random number of bytes, either way."""

    def __init__(self, endpoint: str, cuts: int) -> None:
        where = urlsplit(endpoint)
        self._host, self._port = where.hostname, where.port
        self._random = Random(5)
        self.cuts = cuts
        self.away = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> str:
        connections = await self._stack.enter_async_context(serving(self._serve))
        return f"http://127.0.0.1:{connections.port}"

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        try:
            await until_one_ends(self._pump(reader, up_writer, 40_000), self._pump(up_reader, writer, 3_000))
        finally:
            writer.transport.abort()
            up_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up_to: int) -> None:
        left = self._random.randrange(1, up_to)
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                left -= len(data)
                if (left < 0 and self.cuts > 0) or self.away:
                    self.cuts -= 1
                    writer.write(data[:left])
                    await writer.drain()
                    return
                writer.write(data)
                await writer.drain()


async def writer_to(
    endpoint: str, table: str, meter: Meter, notices: list[str], give_up_after_s: float = 60.0
):
    section = DynamoDBSection(type="dynamodb", table=table, endpoint_url=endpoint, region="us-east-1")
    session = await open_session(section)
    transport = session.transport(connections_max=128)
    settings = WriterSettings(PUT, table, ("PK", "SK"), ("Order",), ("id",), give_up_after_s)
    return Writer(transport, settings, meter, session.refresh, notices.append, Random(1)), transport


async def test_cut_connections_lose_and_double_nothing(dynoxide, table_name):
    table, meter = Table(dynoxide, table_name), Meter()
    saboteur = Saboteur(dynoxide, cuts=60)
    async with saboteur as endpoint:
        writer, transport = await writer_to(endpoint, table_name, meter, [])
        batches = [
            encoded([put(f"p{n % 50}", f"{b}-{n}", t={"S": "x" * 300}) for n in range(1000)], segment=b)
            for b in range(4)
        ]
        reports = await asyncio.gather(*(writer.write(batch) for batch in batches))
        await writer.close()
        await transport.close()
    assert [report.items_written for report in reports] == [1000] * 4
    assert len(table.items()) == 4000
    assert meter.items_written == 4000
    assert meter.requests["error"] > 20


async def test_a_target_that_goes_away_and_comes_back(dynoxide, table_name):
    table, meter, notices = Table(dynoxide, table_name), Meter(), []
    saboteur = Saboteur(dynoxide, cuts=0)
    async with saboteur as endpoint:
        writer, transport = await writer_to(endpoint, table_name, meter, notices)
        writer.limit(2000.0)
        write = asyncio.create_task(writer.write(encoded([put(f"p{n}") for n in range(2000)])))
        while not meter.items_written:
            await asyncio.sleep(0.005)
        saboteur.away = True
        while not notices:
            await asyncio.sleep(0.05)
        saboteur.away = False
        report = await write
        await writer.close()
        await transport.close()
    assert report.items_written == 2000
    assert len(table.items()) == 2000
    assert len(notices) == 2


async def test_a_target_that_stays_away_is_given_up():
    writer, transport = await writer_to("http://127.0.0.1:1", "orders", Meter(), [], give_up_after_s=1.0)
    with pytest.raises(RetriesExhausted, match=r"orders.*give_up_after_s.*127\.0\.0\.1:1"):
        await writer.write(encoded([put("a")]))
    await writer.close()
    await transport.close()
