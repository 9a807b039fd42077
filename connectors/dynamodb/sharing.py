"""What jobs that run in one process share of a table: a session, its description, connections, a look.

Invariant: a job finds out by itself, as if it were alone, that the table isn't the one that it began with: no
look answers a question that was asked after it had begun, and connections lead to the table that was
described to whoever sends over them.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias

from connectors.dynamodb.http.session import Session, open_session
from connectors.dynamodb.http.transport import Transport, UnderTenure
from connectors.dynamodb.lookout import Lookout, watched
from connectors.dynamodb.section import DynamoDBSection
from connectors.dynamodb.table import describe
from connectors.dynamodb.table_info import TableInfo
from engine.contracts.target import Look
from engine.frozen import dataclass
from engine.tenure import Tenure
from engine.throttle.concurrency import FLIGHT_MAX

FRESH_S = 3.0
"""How old a description may be that a job begins with: as long as a run goes without a look at most."""

Place: TypeAlias = tuple[str | bool | None, ...]
"""What is equal where one session, or one table's client, serves both."""


@dataclass(frozen=True, slots=True)
class _Described:
    table: TableInfo
    asked_s: float


class Clients:
    """The sessions and tables of one process's jobs. Belongs to one event loop."""

    def __init__(self, stack: AsyncExitStack, clock: Callable[[], float] = time.monotonic) -> None:
        self._stack = stack
        self._clock = clock
        self._asking: defaultdict[Place, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._sessions: dict[Place, Session] = {}
        self._described: dict[Place, _Described] = {}
        self._transports: dict[Place, Transport] = {}
        self._looks: dict[Place, Look] = {}

    async def session(self, section: DynamoDBSection) -> Session:
        """Return the session of a section. Raises: JobError."""
        place = _endpoint(section)
        async with self._asking[place]:
            if place not in self._sessions:
                self._sessions[place] = await open_session(section)
            return self._sessions[place]

    async def describe(self, section: DynamoDBSection) -> TableInfo | None:
        """Return what the table is, or was a moment ago; None if there is no such table."""
        session, place = await self.session(section), (*_endpoint(section), section.table)
        async with self._asking[place]:
            asked_s, known = self._clock(), self._described.get(place)
            if known is not None and asked_s - known.asked_s < FRESH_S:
                return known.table
            table = await describe(section, session)
            if table is not None:
                self._described[place] = _Described(table, asked_s)
            return table

    async def sender(self, section: DynamoDBSection, table: TableInfo, tenure: Tenure) -> UnderTenure:
        """Return what sends to a table as it was described, under a job's own tenure."""
        session, place = await self.session(section), _identity(section, table)
        if place not in self._transports:
            greeting = Lookout(table, section.table)
            transport = session.transport(connections_max=FLIGHT_MAX, greeting=greeting)
            self._stack.push_async_callback(transport.close)
            self._transports[place] = transport
        return UnderTenure(self._transports[place], tenure, lent=True)

    async def look(self, section: DynamoDBSection, table: TableInfo) -> Look:
        """Return what looks whether a table is still as it was described."""
        session, place = await self.session(section), _identity(section, table)
        async with self._asking[place]:
            if place not in self._looks:
                alone = await self._stack.enter_async_context(watched(section, table, session))
                self._looks[place] = await self._stack.enter_async_context(for_several(alone))
            return self._looks[place]


@asynccontextmanager
async def for_several(look: Look) -> AsyncGenerator[Look, None]:
    """Yield a look for several: all who ask while one is under way have the next one together."""
    under_way: set[asyncio.Task[str | None]] = set()
    to_come: list[asyncio.Task[str | None]] = []

    async def next_one() -> str | None:
        if before := under_way - {this := to_come[0]}:
            await asyncio.wait(before)
        to_come.remove(this)
        return await look()

    def over(task: "asyncio.Task[str | None]") -> None:
        under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may not wait any more

    async def ask() -> str | None:
        if not to_come:
            to_come.append(asyncio.create_task(next_one()))
            to_come[0].add_done_callback(over)
            under_way.add(to_come[0])
        return await asyncio.shield(to_come[0])

    try:
        yield ask
    finally:
        for task in (tasks := [*under_way]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _endpoint(section: DynamoDBSection) -> Place:
    return (section.region, section.endpoint_url, section.profile, section.plain_http)


def _identity(section: DynamoDBSection, table: TableInfo) -> Place:
    """Return what tells a table from one made anew under its name, or with another key."""
    keys = (f"{key.name} {key.type}" for key in table.keys)
    return (*_endpoint(section), section.table, *table.identity.values(), *keys)
