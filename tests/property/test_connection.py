"""However the network cuts an answer to pieces, it is that answer, or none."""

import asyncio
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.dynamodb.http.connection import Answer, Connection, TransportError
from engine.tenure import Tenure
from tests.support.stub_server import http


class Wire:
    """A transport that leads nowhere."""

    def __init__(self) -> None:
        self.closing = False

    def write(self, data: bytes) -> None:
        pass

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def get_extra_info(self, name: str) -> "Wire":
        return self

    def setsockopt(self, *_: int) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


async def exchange(packets: list[bytes]) -> tuple[Answer | TransportError, bool]:
    """Return what a request gets from these packets and the end, and whether it was usable before that."""
    wire: Any = Wire()
    connection = Connection("stub", lambda _: None)
    connection.connection_made(wire)
    request = asyncio.ensure_future(connection.exchange(b"", [b"{}"], 2, 60, Tenure()))
    await asyncio.sleep(0)
    for packet in packets:
        if not wire.closing:
            connection.data_received(packet)
    usable = connection.usable
    connection.connection_lost(None)
    try:
        return await request, usable
    except TransportError as error:
        return error, usable


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def chunked(pieces: list[bytes]) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


PLACES = st.lists(st.integers(0, 10_000), max_size=20)
STATUS = st.sampled_from([200, 400, 500, 503])
INTERIM = st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"])


@given(body=st.binary(max_size=300), status=STATUS, interim=INTERIM, places=PLACES)
def test_any_packets_make_the_same_answer(
    body: bytes, status: int, interim: bytes, places: list[int]
) -> None:
    got, usable = asyncio.run(exchange(cut(interim + http(body, status), places)))
    assert isinstance(got, Answer)
    assert (got.status, got.body, usable) == (status, body, True)


@given(pieces=st.lists(st.binary(max_size=50)), places=PLACES)
def test_any_packets_make_the_same_chunked_answer(pieces: list[bytes], places: list[int]) -> None:
    got, usable = asyncio.run(exchange(cut(chunked(pieces), places)))
    assert isinstance(got, Answer)
    assert (got.body, usable) == (b"".join(pieces), True)


@given(body=st.binary(max_size=300), places=PLACES, missing=st.integers(1, 1000))
def test_an_answer_without_its_end_is_none(body: bytes, places: list[int], missing: int) -> None:
    whole = http(body)
    got, _ = asyncio.run(exchange(cut(whole[: max(0, len(whole) - missing)], places)))
    assert isinstance(got, TransportError)
    assert got.sent


@given(body=st.binary(max_size=100), extra=st.binary(min_size=3, max_size=100), places=PLACES)
def test_an_answer_with_more_behind_it_is_the_connections_last(
    body: bytes, extra: bytes, places: list[int]
) -> None:
    whole = http(body)
    packets = [*cut(whole, places), b"X" + extra]
    got, usable = asyncio.run(exchange([*packets[:-2], packets[-2] + packets[-1]]))
    assert isinstance(got, Answer)
    assert (got.body, usable) == (body, False)


@given(noise=st.binary(max_size=300), places=PLACES)
def test_noise_is_never_an_answer(noise: bytes, places: list[int]) -> None:
    got, _ = asyncio.run(exchange(cut(noise, places)))
    assert isinstance(got, TransportError)
