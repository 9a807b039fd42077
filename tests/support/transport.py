"""A transport to a stub server, on every kind of event loop."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from connectors.dynamodb.http.endpoint import Endpoint, parse_endpoint
from connectors.dynamodb.http.sigv4 import Keys, Signer
from connectors.dynamodb.http.transport import Transport, TransportError, UnderTenure
from engine.tenure import Tenure
from tests.support.stub_server import Stub

Run = Callable[[Coroutine[Any, Any, None]], None]

NOW = 1_700_000_000.0
LONG = 16 * 2**20


class Signers:
    """Credentials that never change."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._signer = Signer(Keys("AKID", "secret"), endpoint.region, endpoint.authority)

    def at_hand(self) -> Signer:
        return self._signer

    async def signer(self) -> Signer:
        return self._signer


@pytest.fixture(params=["asyncio", "asyncio-debug", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a test's coroutine on each kind of loop; nothing may be left unhandled."""

    def go(main: Coroutine[Any, Any, None]) -> None:
        unhandled: list[dict[str, Any]] = []

        async def guarded() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
            await main
            gc.collect()

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(debug=request.param == "asyncio-debug", loop_factory=factory) as runner:
            runner.run(guarded())
        ours = [each for each in unhandled if "incoming connection" not in each["message"]]
        assert ours == []

    return go


def transport_to(stub: Stub, **settings: Any) -> Transport:
    endpoint = parse_endpoint(f"http://127.0.0.1:{stub.port}", "us-east-1")
    settings = {"connections_max": 4, **settings}
    return Transport(endpoint, Signers(endpoint), clock=lambda: NOW, **settings)


def under(tenure: Tenure, stub: Stub) -> UnderTenure:
    """Return what sends to a stub under a tenure, over connections of its own."""
    return UnderTenure(transport_to(stub), tenure, lent=False)


async def send(transport: Transport | UnderTenure, body: bytes = b"{}") -> bytes:
    got = await transport.send("BatchWriteItem", [body])
    return got.body


async def failure(transport: Transport | UnderTenure, body: bytes = b"{}") -> TransportError:
    with pytest.raises(TransportError) as caught:
        await transport.send("BatchWriteItem", [body])
    return caught.value
