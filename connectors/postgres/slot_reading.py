"""The slot of one job as it is read: asked how it stands, peeked into, moved on, over one connection.

Invariant: between two calls no transaction is open and no snapshot is held, however long it takes to write
what a peek gave: it is kept on this side.
"""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

import struct
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from connectors.postgres.errors import speaking
from connectors.postgres.pgoutput import Messages
from connectors.postgres.quoting import identifier, literal
from connectors.postgres.section import LogCatchUp
from connectors.postgres.session import abandon, begin, connect, reading_slot
from connectors.postgres.settings import looking
from connectors.postgres.slots import Slot, slot_of
from engine.errors import PermanentError

PEEK_CHANGES = 100_000
"""After so many changes the next commit ends a peek. The server keeps what one gives in temporary files."""
FETCH_ROWS = 1_000
SPOOL_BYTES = 8_000_000
"""What of a peek is held in memory; more goes to a file without a name."""
_HEAD = struct.Struct("<IQ")
"""How many messages were taken together, and their bytes."""
_NOW = """
SELECT (pg_current_wal_flush_lsn() - '0/0')::int8 AS position,
       extract(epoch FROM clock_timestamp())::float8 AS clock_s
"""
_ADVANCE = """
SELECT pg_catalog.pg_replication_slot_advance(s.slot_name, '{to}') FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name OPERATOR(pg_catalog.=) {slot} AND s.confirmed_flush_lsn OPERATOR(pg_catalog.<) '{to}'
"""


@dataclass(frozen=True, slots=True)
class LogNow:
    """Where the log ends at a moment. Units: `position` in bytes; `clock_s` since 1970, by the server."""

    position: int
    clock_s: float
    slot: Slot | None

    @property
    def held_back(self) -> int | None:
        """What the slot holds back."""
        return None if self.slot is None else self.slot.held_back


class Peeked:
    """The messages of one peek, in the order of the log, and where the slot stood when they were read."""

    def __init__(self) -> None:
        self._spool = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 - closed by who peeked
        self.count = 0
        self.slot: Slot | None = None

    def take(self, messages: Sequence[bytes]) -> None:
        """Keep some more. Raises: PermanentError."""
        sizes = np.fromiter(map(len, messages), np.uint32, len(messages))
        try:
            self._spool.write(_HEAD.pack(len(sizes), int(sizes.sum())) + sizes.tobytes() + b"".join(messages))
        except OSError as error:
            raise PermanentError(
                f"source: a part of the log can't be kept for a moment ({error.strerror}); give TMPDIR room"
            ) from error
        self.count += len(messages)

    def chunks(self) -> Iterator[Messages]:
        """Give them back, once, as they were taken."""
        self._spool.seek(0)
        while head := self._spool.read(_HEAD.size):
            count, size = _HEAD.unpack(head)
            sizes = np.frombuffer(self._spool.read(4 * count), np.uint32)
            yield Messages.of(self._spool.read(size), sizes)

    def close(self) -> None:
        """Forget them."""
        self._spool.close()


class SlotReader:
    """Reads one slot. What fails leaves no connection behind: the next call makes another."""

    def __init__(self, url: str, catch_up: LogCatchUp) -> None:
        self._url = url
        self._slot, self._publication = catch_up.slot, catch_up.published
        self._connection: Any | None = None
        self._moved_to = 0

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Any]:
        """Give the connection, outside a transaction; who fails has it closed.

        Raises: JobError, TransientError, and what PostgreSQL's errors mean.
        """
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url, reading_slot(self._slot))
        try:
            async with speaking("source.catch_up"):
                yield self._connection
        except BaseException:
            await self.let_go()
            raise

    async def now(self, durable: int) -> LogNow:
        """Move the slot on to a position, if it stands before it; say how it stands then."""
        async with self.connected() as connection:
            if durable > self._moved_to:
                await connection.execute(_ADVANCE.format(slot=literal(self._slot), to=text_of(durable)))
                self._moved_to = durable
            async with looking(connection):
                slot, now = await slot_of(connection, self._slot), await connection.fetchrow(_NOW)
        return LogNow(now["position"], now["clock_s"], slot)

    @asynccontextmanager
    async def peeked(self, until: int) -> AsyncIterator[Peeked]:
        """Read the log from where the slot stands to a position, or as much of it as a peek takes."""
        found = Peeked()
        names = literal(identifier(self._publication))
        sql = (
            "SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes("
            f"{literal(self._slot)}, '{text_of(until)}', {PEEK_CHANGES}, 'proto_version', '1',"
            f" 'publication_names', {names})"
        )
        try:
            async with self.connected() as connection:
                await begin(connection, None)
                cursor = await connection.cursor(sql)
                while rows := await cursor.fetch(FETCH_ROWS):
                    found.take([row[0] for row in rows])
                found.slot = await slot_of(connection, self._slot)
                await connection.execute("ROLLBACK")
            yield found
        finally:
            found.close()

    async def let_go(self) -> None:
        """Close the connection."""
        connection, self._connection, self._moved_to = self._connection, None, 0
        if connection is not None:
            await abandon(connection)


def number_of(position: str) -> int:
    """Return a position as a number of bytes. Source: PostgreSQL documentation, "pg_lsn Type"."""
    high, low = position.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def text_of(position: int) -> str:
    """Return a position as the server prints it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
