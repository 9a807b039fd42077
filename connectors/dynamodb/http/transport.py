"""Requests to DynamoDB over a pool of kept-alive connections, signed and not retried.

Invariant: a connection carries one request at a time and goes back to the pool only after a whole answer.
What becomes of a failed request, the caller decides.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from connectors.dynamodb.http.connection import WRITE_CHUNK_BYTES, Answer, Connection, Ended, TransportError
from connectors.dynamodb.http.endpoint import Endpoint
from connectors.dynamodb.http.pool import ConnectionPool
from connectors.dynamodb.http.proxy import tunnel
from connectors.dynamodb.http.sigv4 import Signer
from engine.errors import PermanentError
from engine.tenure import Tenure

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
"""DynamoDB answers a batch in milliseconds; after so long the answer is lost more likely than late."""

UNENDING = Tenure()
"""Of what a job's lease doesn't guard: questions, and state that guards itself."""

GREETING_PAUSES_S = (0.1, 0.4)
"""Between the tries of a new connection's first question, when the server is too busy to answer it."""


class SignerSource(Protocol):
    """Whoever has the credentials."""

    def at_hand(self) -> Signer | None:
        """Return the signer to use now; None when credentials have to be looked after first."""

    async def signer(self) -> Signer:
        """Return the signer to use now; doesn't wait unless credentials have to be fetched."""


class Greeting(Protocol):
    """What a new connection has to answer before anything else is sent over it."""

    operation: str
    body: bytes

    def judge(self, answer: Answer) -> str | None:
        """Return None when the answer is right, else why it tells nothing. Raises: PermanentError."""


class Transport:
    """Sends requests to one endpoint. Belongs to one event loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        signers: SignerSource,
        *,
        connections_max: int,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
        greeting: Greeting | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._signers = signers
        self._connect_timeout_s = connect_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._tls = tls or ssl.create_default_context() if endpoint.tls else None
        self._clock = clock
        self._greeting = greeting
        greet = None if greeting is None else self._greet
        self._pool = ConnectionPool(self._connect, greet, connections_max, answer_timeout_s)

    def begin(
        self,
        operation: str,
        parts: Sequence[bytes | memoryview],
        ended: Ended,
        tenure: Tenure = UNENDING,
    ) -> Connection | None:
        """Send one request at once, where nothing has to be waited for; None: nothing is sent.

        Shape: as `send`. Ordering: `ended` is called once, later, unless the connection is cancelled.
        Raises: as `send`, but for what `ended` is told.
        """
        signer = self._signers.at_hand()
        length = sum(map(len, parts))
        if signer is None or length > WRITE_CHUNK_BYTES or (connection := self._pool.free()) is None:
            return None
        try:
            head = signer.head(operation, parts, length, self._clock())
            connection.begin(head, parts, self._answer_timeout_s, tenure, ended, self._pool.release)
        except BaseException:
            connection.cancel()
            raise
        return connection

    async def send(
        self, operation: str, parts: Sequence[bytes | memoryview], tenure: Tenure = UNENDING
    ) -> Answer:
        """Send one request and return its answer, whatever its status.

        Shape: `parts` make the body, in order; memoryviews of bytes. `tenure`: the sender's.
        Ordering: none between requests in flight; who waits longest for a connection gets it first.
        Raises: TransportError; LeaseOver when the job's lease has ended, and nothing was sent whole;
        PermanentError when it is lost, or the server's certificate isn't trusted.
        """
        connection = await self._pool.acquire()
        try:
            signer = await self._signers.signer()
            length = sum(map(len, parts))
            head = signer.head(operation, parts, length, self._clock())
            answer = await connection.exchange(head, parts, length, self._answer_timeout_s, tenure)
        except BaseException:
            connection.cancel()
            raise
        self._pool.release(connection)
        return answer

    async def close(self) -> None:
        """Drop every connection; requests in flight fail as unknown."""
        await self._pool.close()

    async def _greet(self, connection: Connection) -> None:
        """Have the greeting answered. What can't tell after some tries is let through."""
        greeting = self._greeting
        assert greeting is not None, "nothing is asked without it"
        for pause_s in (*GREETING_PAUSES_S, None):
            signer = await self._signers.signer()
            parts, length = (greeting.body,), len(greeting.body)
            head = signer.head(greeting.operation, parts, length, self._clock())
            answer = await connection.exchange(head, parts, length, self._answer_timeout_s, UNENDING)
            if greeting.judge(answer) is None or pause_s is None or not connection.usable:
                return
            await asyncio.sleep(pause_s)

    async def _connect(self, on_lost: Callable[[Connection], None]) -> Connection:
        """Open a connection."""
        where = self._endpoint
        proxy = where.proxy and f" by the proxy {where.proxy.host}:{where.proxy.port}"
        whom = f"{where.authority}{proxy or ''}"
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                place: dict[str, Any] = {"host": where.host, "port": where.port}
                if where.proxy is not None:
                    place = {"sock": await tunnel(where.proxy, where.host, where.port)}
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(where.authority, on_lost),
                    **place,
                    ssl=self._tls,
                    server_hostname=where.host if self._tls else None,
                )
        except ssl.SSLCertVerificationError as error:
            raise PermanentError(
                f"the certificate of {where.authority} isn't trusted ({error.verify_message}): "
                "name the CA's file in AWS_CA_BUNDLE"
            ) from error
        except TimeoutError as error:
            raise TransportError(
                f"no connection to {whom} within {self._connect_timeout_s:g} s", sent=False
            ) from error
        except OSError as error:
            raise TransportError(
                f"can't connect to {whom}: {error.strerror or str(error) or type(error).__name__}", sent=False
            ) from error
        return connection


class UnderTenure:
    """What one job sends over a transport: nothing behind the end of its tenure.

    `lent`: others use the transport, too, and its connections are theirs to close.
    """

    def __init__(self, transport: Transport, tenure: Tenure, *, lent: bool) -> None:
        self._transport = transport
        self._tenure = tenure
        self._lent = lent

    def begin(self, operation: str, parts: Sequence[bytes | memoryview], ended: Ended) -> Connection | None:
        """Send one request at once; see Transport.begin."""
        return self._transport.begin(operation, parts, ended, self._tenure)

    async def send(self, operation: str, parts: Sequence[bytes | memoryview]) -> Answer:
        """Send one request and return its answer; see Transport.send."""
        return await self._transport.send(operation, parts, self._tenure)

    async def close(self) -> None:
        """Close every connection, unless they are lent."""
        if not self._lent:
            await self._transport.close()
