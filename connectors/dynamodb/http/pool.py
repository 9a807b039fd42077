"""The connections to one endpoint: opened when needed, kept alive, handed from request to request.

Invariant: at most `connections_max` are open or opening; one that is handed out is nobody else's until it
comes back, or is lost.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeAlias

from connectors.dynamodb.http.connection import Connection, TransportError

IDLE_S_MAX = 30.0
"""Servers and NAT gateways drop idle connections silently after a minute or more: close them before."""

SWEEPS_PER_TIMEOUT = 10
SWEEP_S_MAX = 1.0

Connect: TypeAlias = Callable[[Callable[[Connection], None]], Awaitable[Connection]]
"""Opens a connection that calls back when it is lost. Raises: TransportError, PermanentError."""
Greet: TypeAlias = Callable[[Connection], Awaitable[None]]
"""Sees where a new connection leads. Raises: what keeps it from being used."""


class ConnectionPool:
    """Belongs to one event loop. Units: `answer_timeout_s` seconds, looked after every tenth of it."""

    def __init__(
        self, connect: Connect, greet: Greet | None, connections_max: int, answer_timeout_s: float
    ) -> None:
        self._connect = connect
        self._greet = greet
        self._connections_max = connections_max
        self._answer_timeout_s = answer_timeout_s
        self._connections: set[Connection] = set()
        self._opening = 0
        self._idle: list[Connection] = []
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        """Each gets a connection, or None: the right to open one, counted in `_opening` already."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._empty: asyncio.Future[None] | None = None

    async def acquire(self) -> Connection:
        """Return a connection that is free, in turn. Raises: as Connect and Greet."""
        while not self._closed:
            if (connection := self.free()) is not None:
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

    def free(self) -> Connection | None:
        """Return a connection that nobody has or waits for, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    def release(self, connection: Connection) -> None:
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

    async def close(self) -> None:
        """Drop every connection."""
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
                self.release(granted)
            raise

    async def _open_greeted(self) -> Connection:
        """Open a connection on a slot that is counted in `_opening`, and see where it leads.

        A server that closes behind each answer closes this one too; the next one is taken as it is.
        """
        connection = await self._open()
        if self._greet is None:
            return connection
        try:
            await self._greet(connection)
        except BaseException:
            connection.cancel()
            raise
        if connection.usable:
            return connection
        self._opening += 1
        return await self._open()

    async def _open(self) -> Connection:
        """Open a connection on a slot that is counted in `_opening`."""
        try:
            connection = await self._connect(self._forget)
            if not connection.usable:  # lost again before anybody could use it
                raise TransportError(f"{connection.name} closed the connection at once", sent=False)
            self._connections.add(connection)
            if self._closed:
                connection.drop()
            elif self._sweeper is None:
                self._schedule_sweep()
            return connection
        finally:
            self._opening -= 1
            self._grant_slot()

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
