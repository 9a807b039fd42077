"""Requests to DynamoDB over a pool of kept-alive connections, signed and not retried.

Invariant: at most `connections_max` sockets are open or opening; a connection carries one request at a time
and goes back to the pool only after a whole answer. What becomes of a failed request, the caller decides.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

from connectors.dynamodb.http.connection import Answer, Connection, TransportError
from connectors.dynamodb.http.endpoint import Endpoint
from connectors.dynamodb.http.sigv4 import Signer
from engine.errors import PermanentError
from engine.tenure import Tenure

__all__ = ["Answer", "SignerSource", "Transport", "TransportError"]

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
"""DynamoDB answers a batch in milliseconds; after so long the answer is lost more likely than late."""

IDLE_S_MAX = 30.0
"""Servers and NAT gateways drop idle connections silently after a minute or more: close them before."""

GREETING_PAUSES_S = (0.1, 0.4)
"""Between the tries of a new connection's first question, when the server is too busy to answer it."""

SWEEPS_PER_TIMEOUT = 10
SWEEP_S_MAX = 1.0


class SignerSource(Protocol):
    """Whoever has the credentials."""

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
        tenure: Tenure | None = None,
        greeting: Greeting | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._signers = signers
        self._connections_max = connections_max
        self._connect_timeout_s = connect_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._tls = tls or ssl.create_default_context() if endpoint.tls else None
        self._clock = clock
        self._tenure = tenure or Tenure()
        self._greeting = greeting
        self._connections: set[Connection] = set()
        self._opening = 0
        self._idle: list[Connection] = []
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        """Each gets a connection, or None: the right to open one, counted in `_opening` already."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._empty: asyncio.Future[None] | None = None

    async def send(self, operation: str, parts: Sequence[bytes | memoryview]) -> Answer:
        """Send one request and return its answer, whatever its status.

        Shape: `parts` make the body, in order; memoryviews of bytes.
        Ordering: none between requests in flight; who waits longest for a connection gets it first.
        Raises: TransportError; LeaseOver when the job's lease has ended, and nothing was sent whole;
        PermanentError when it is lost, or the server's certificate isn't trusted.
        """
        connection = await self._acquire()
        try:
            signer = await self._signers.signer()
            length = sum(map(len, parts))
            head = signer.head(operation, parts, length, self._clock())
            answer = await connection.exchange(head, parts, length, self._answer_timeout_s)
        except BaseException:
            connection.abandon()
            raise
        self._release(connection)
        return answer

    async def close(self) -> None:
        """Drop every connection; requests in flight fail as unknown."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(TransportError("the transport was closed", sent=False))
        if self._connections:
            self._empty = self._empty or asyncio.get_running_loop().create_future()
            for connection in tuple(self._connections):
                connection.drop()
            await self._empty

    async def _acquire(self) -> Connection:
        while not self._closed:
            while self._idle:
                connection = self._idle.pop()
                if connection.usable:
                    return connection
            if len(self._connections) + self._opening < self._connections_max:
                self._opening += 1
                return await self._open_greeted()
            granted = await self._wait()
            if granted is None:
                return await self._open_greeted()
            if granted.usable:
                return granted
        raise TransportError("the transport is closed", sent=False)

    async def _wait(self) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            elif (granted := waiter.result()) is None:
                self._opening -= 1
                self._grant_slot()
            else:
                self._release(granted)
            raise

    async def _open_greeted(self) -> Connection:
        """Open a connection on a slot that is counted in `_opening`, and see where it leads.

        A server that closes behind each answer closes this one too; the next one is taken as it is.
        """
        connection = await self._open()
        if self._greeting is None:
            return connection
        try:
            await self._greet(connection, self._greeting)
        except BaseException:
            connection.abandon()
            raise
        if connection.usable:
            return connection
        self._opening += 1
        return await self._open()

    async def _greet(self, connection: Connection, greeting: Greeting) -> None:
        """Have the greeting answered. What can't tell after some tries is let through."""
        for pause_s in (*GREETING_PAUSES_S, None):
            signer = await self._signers.signer()
            parts, length = (greeting.body,), len(greeting.body)
            head = signer.head(greeting.operation, parts, length, self._clock())
            answer = await connection.exchange(head, parts, length, self._answer_timeout_s)
            if greeting.judge(answer) is None or pause_s is None or not connection.usable:
                return
            await asyncio.sleep(pause_s)

    async def _open(self) -> Connection:
        """Open a connection on a slot that is counted in `_opening`."""
        where = self._endpoint
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(where.authority, self._forget, self._tenure),
                    where.host,
                    where.port,
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
                f"no connection to {where.authority} within {self._connect_timeout_s:g} s", sent=False
            ) from error
        except OSError as error:
            raise TransportError(
                f"can't connect to {where.authority}: {error.strerror or error}", sent=False
            ) from error
        else:
            self._connections.add(connection)
            if not connection.usable:  # lost again before anybody could use it
                self._connections.discard(connection)
                raise TransportError(f"{where.authority} closed the connection at once", sent=False)
            if self._closed:
                connection.drop()
            elif self._sweeper is None:
                self._schedule_sweep()
            return connection
        finally:
            self._opening -= 1
            self._grant_slot()

    def _release(self, connection: Connection) -> None:
        """Hand a connection on, to who waits or to the pool."""
        if not connection.usable:
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        connection.idle_since = perf_counter()
        self._idle.append(connection)

    def _grant_slot(self) -> None:
        """Let waiters open connections of their own while there is room."""
        while self._waiters and len(self._connections) + self._opening < self._connections_max:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._opening += 1
                waiter.set_result(None)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._grant_slot()
        if self._empty is not None and not self._connections and not self._empty.done():
            self._empty.set_result(None)

    def _schedule_sweep(self) -> None:
        delay_s = min(self._answer_timeout_s / SWEEPS_PER_TIMEOUT, SWEEP_S_MAX)
        self._sweeper = asyncio.get_running_loop().call_later(delay_s, self._sweep)

    def _sweep(self) -> None:
        """Fail requests whose time is over, and close connections that nobody needed for long."""
        now = perf_counter()
        for connection in tuple(self._connections):
            connection.expire(now)
        for connection in tuple(self._idle):
            if now - connection.idle_since >= IDLE_S_MAX:
                connection.drop()
        self._sweeper = None
        if self._connections and not self._closed:
            self._schedule_sweep()
