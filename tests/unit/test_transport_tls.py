"""TLS: only to servers that somebody vouches for."""

import asyncio
import queue
import socket
import ssl
from pathlib import Path

import pytest

from connectors.dynamodb.http.endpoint import parse_endpoint
from connectors.dynamodb.http.transport import Transport
from engine.errors import PermanentError
from tests.support.stub_server import http, stub_server
from tests.support.tls import tls_server
from tests.support.transport import LONG, Run, Signers, failure, send


def test_tls_goes_to_the_server_whose_ca_is_trusted(run: Run, certificates: Path) -> None:
    async def main() -> None:
        async with stub_server(tls=tls_server(certificates)) as stub:
            endpoint = parse_endpoint(f"https://localhost:{stub.port}", "us-east-1")
            trusted = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
            transport = Transport(endpoint, Signers(endpoint), connections_max=2, tls=trusted)
            body = bytes(LONG // 4)
            assert await send(transport, body) == b"{}"
            assert await send(transport) == b"{}"
            assert stub.bodies == [body, b"{}"]
            assert stub.connections == 1
            await transport.close()

    run(main())


def test_tls_refuses_a_server_that_nobody_vouches_for(run: Run, certificates: Path) -> None:
    async def main() -> None:
        async with stub_server(tls=tls_server(certificates)) as stub:
            endpoint = parse_endpoint(f"https://localhost:{stub.port}", "us-east-1")
            transport = Transport(
                endpoint, Signers(endpoint), connections_max=2, tls=ssl.create_default_context()
            )
            with pytest.raises(PermanentError, match=r"isn't trusted .*AWS_CA_BUNDLE"):
                await transport.send("BatchWriteItem", [b"{}"])
            assert stub.exchanges == []
            await transport.close()

    run(main())


def test_a_server_that_accepts_but_never_shakes_hands_is_given_up(run: Run) -> None:
    async def main() -> None:
        async with stub_server() as stub:
            endpoint = parse_endpoint(f"https://127.0.0.1:{stub.port}", "us-east-1")
            transport = Transport(endpoint, Signers(endpoint), connections_max=1, connect_timeout_s=0.02)
            error = await failure(transport)
            assert not error.sent
            assert "no connection" in str(error)
            await transport.close()

    run(main())


def test_a_request_over_tls_is_with_the_kernel_before_anything_else_runs(
    run: Run, certificates: Path
) -> None:
    """What waited in the process would be sent after a stop for longer than the lease."""
    got: queue.Queue[bytes] = queue.Queue()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, tls_server(certificates).wrap_socket(listener.accept()[0], server_side=True) as client:
            while data := client.recv(65_536):
                got.put(data)
                if data.endswith(b"}"):
                    client.sendall(http())

    def body() -> bytes:
        """Wait for a whole request, and keep the event loop from doing anything meanwhile."""
        read = b""
        while not read.endswith(b"}"):
            read += got.get(timeout=100)
        return read.partition(b"\r\n\r\n")[2]

    async def main() -> None:
        serving = asyncio.get_running_loop().run_in_executor(None, serve)
        endpoint = parse_endpoint(f"https://localhost:{listener.getsockname()[1]}", "us-east-1")
        trusted = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        transport = Transport(endpoint, Signers(endpoint), connections_max=1, tls=trusted)
        await send(transport)
        assert body() == b"{}"
        long = b"x" * 12_500 + b"}"
        second = asyncio.ensure_future(send(transport, long))
        await asyncio.sleep(0)  # it is sent now, and the loop hasn't been back at its socket since
        assert body() == long
        await second
        await transport.close()
        await serving

    run(main())
