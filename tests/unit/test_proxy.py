"""Through a proxy: by CONNECT, encrypted from end to end; its refusals are sentences without a password."""

import ssl
from pathlib import Path

import pytest

from connectors.dynamodb.http.connection import TransportError
from connectors.dynamodb.http.endpoint import parse_endpoint
from connectors.dynamodb.http.transport import Transport
from connectors.dynamodb.section import DynamoDBSection
from connectors.dynamodb.table import describe
from engine.errors import PermanentError
from tests.support.connect_proxy import connect_proxy
from tests.support.stub_server import Exchange, http, stub_server
from tests.support.tls import tls_server
from tests.support.transport import LONG, Run, Signers, send

HOST = "db.example"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def transport_to(port: int, trusted: Path) -> Transport:
    endpoint = parse_endpoint(f"https://{HOST}:{port}", "us-east-1")
    tls = ssl.create_default_context(cafile=str(trusted / "ca.pem"))
    return Transport(endpoint, Signers(endpoint), connections_max=2, tls=tls)


def test_requests_go_through_one_tunnel_that_the_proxy_cant_read(
    run: Run,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with stub_server(tls=tls_server(certificates)) as stub, connect_proxy() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:s3cr3t@127.0.0.1:{proxy.port}")
            transport = transport_to(stub.port, certificates)
            body = bytes(LONG // 4)
            assert await send(transport, body) == b"{}"
            assert await send(transport) == b"{}"
            assert stub.bodies == [body, b"{}"]
            (head,) = proxy.heads
            assert head.startswith(f"CONNECT {HOST}:{stub.port} HTTP/1.1\r\nHost: {HOST}".encode())
            assert b"Proxy-Authorization: Basic dXNlcjpzM2NyM3Q=\r\n" in head
            await transport.close()

    run(main())


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", PermanentError, "another user and password"),
        (b"HTTP/1.1 403 Forbidden\r\nX: y\r\n\r\n<html>", PermanentError, "refuses db.example:443"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", TransportError, "can't reach db.example:443"),
        (b"nonsense", TransportError, "no answer"),
        (b"", TransportError, "no answer"),
    ],
)
def test_what_a_proxy_refuses_is_a_sentence(
    run: Run,
    answer: bytes,
    kind: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with connect_proxy(answer) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:s3cr3t@127.0.0.1:{proxy.port}")
            endpoint = parse_endpoint(f"https://{HOST}", "us-east-1")
            transport = Transport(endpoint, Signers(endpoint), connections_max=1)
            with pytest.raises(kind, match=words) as caught:
                await transport.send("DescribeTable", [b"{}"])
            assert f"127.0.0.1:{proxy.port}" in str(caught.value)
            assert "s3cr3t" not in str(caught.value)
            assert "dXNlcjpz" not in str(caught.value)
            await transport.close()

    run(main())


def test_a_proxy_that_isnt_there_may_come_back(
    run: Run,
    unused_tcp_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{unused_tcp_port}")
        endpoint = parse_endpoint(f"https://{HOST}", "us-east-1")
        transport = Transport(endpoint, Signers(endpoint), connections_max=1)
        with pytest.raises(TransportError, match=f"by the proxy 127.0.0.1:{unused_tcp_port}") as caught:
            await transport.send("DescribeTable", [b"{}"])
        assert not caught.value.sent
        await transport.close()

    run(main())


async def test_tables_are_described_by_the_same_way(
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates / "ca.pem"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    gone = b'{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"no"}'

    async def refused(exchange: Exchange) -> None:
        await exchange.read_body()
        exchange.writer.write(http(gone, status=400))

    answering = stub_server(refused, tls=tls_server(certificates))
    async with answering as stub, connect_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        section = DynamoDBSection(
            type="dynamodb",
            table="orders",
            region="us-east-1",
            endpoint_url=f"https://{HOST}:{stub.port}",
        )
        assert await describe(section) is None
        assert len(proxy.heads) == 1
        assert len(stub.exchanges) == 1
