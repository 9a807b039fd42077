"""A slot as one job reads it: asked how it stands, peeked into, moved on, over one connection.

Invariant: between two calls no transaction is open and no snapshot is held, however long it takes to write
what a peek gave: it is kept on this side. A slot never moves beyond what a job needs that shares it.
"""

import struct
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import asyncpg
import numpy as np

from connectors.postgres.errors import speaking
from connectors.postgres.pgoutput import Messages
from connectors.postgres.quoting import identifier, literal
from connectors.postgres.section import LogCatchUp
from connectors.postgres.session import abandon, begin, connect, reading_slot
from connectors.postgres.settings import looking
from connectors.postgres.slots import Slot, let_go_to, slot_of
from engine.contracts.feed import Alone, LogSharing
from engine.errors import PermanentError
from engine.frozen import dataclass

PEEK_CHANGES = 100_000
"""After so many changes the next commit ends a peek. The server keeps what one gives in temporary files."""
FETCH_ROWS = 1_000
SPOOL_BYTES = 8_000_000
"""What of a peek is held in memory; more goes to a file without a name."""
_HEAD = struct.Struct("<IQ")
"""How many messages were taken together, and their bytes."""
COPY_CHARS = 50
"""What a copy's name has of the slot's own; the rest is the session's number.

Source: PostgreSQL documentation, "Replication Slots": 63 at most.
"""
_NOW = """
SELECT (pg_current_wal_flush_lsn() - '0/0')::int8 AS position,
       extract(epoch FROM clock_timestamp())::float8 AS clock_s
"""
_ADVANCE = """
SELECT pg_catalog.pg_replication_slot_advance(s.slot_name, '{to}') FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name OPERATOR(pg_catalog.=) {slot} AND s.confirmed_flush_lsn OPERATOR(pg_catalog.<) '{to}'
"""
_PEEK = """
SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes({slot}, '{until}', {changes},
    'proto_version', '1', 'publication_names', {publication})
"""
# The last message of a peek ends a transaction, and tells by its number how many there were.
_OF_TABLES = """
SELECT data, number FROM (SELECT data, pg_catalog.row_number() OVER () AS number FROM ({peek}) AS p) AS p
WHERE pg_catalog.get_byte(data, 0) OPERATOR(pg_catalog.<>) ALL ('{{{rows}}}'::pg_catalog.int4[])
   OR pg_catalog.substr(data, 2, 4) OPERATOR(pg_catalog.=) ANY (ARRAY[{tables}])
"""
_ROWS = ",".join(str(kind) for kind in b"IUD")


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
    """Reads one slot, and moves it on as those who share it allow.

    What fails leaves no connection behind: the next call makes another.
    """

    def __init__(self, url: str, catch_up: LogCatchUp) -> None:
        self._url = url
        self._slot, self._publication = catch_up.slot, catch_up.published
        self.sharing: LogSharing = Alone()
        self._connection: Any | None = None
        self._moved_to = 0
        self._copy: str | None = None
        """A copy of the slot, read in its place."""
        self.crowded = False
        """Whether the server had no room for a copy when it was last asked."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Any]:
        """Give the connection, outside a transaction; who fails has it closed.

        Raises: JobError, TransientError, and what PostgreSQL's errors mean.
        """
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url, reading_slot(self._slot))
            self.sharing.sessions.add(self._connection.get_server_pid())
        try:
            async with speaking("source.catch_up"):
                yield self._connection
        except BaseException:
            await self.let_go()
            raise

    async def now(self, durable: int) -> LogNow:
        """Move the slot on to a position, or as far as others allow; say how it stands then."""
        async with self.connected() as connection:
            await self._move_on(connection, durable)
            async with looking(connection):
                slot, now = await slot_of(connection, self._slot), await connection.fetchrow(_NOW)
        return LogNow(now["position"], now["clock_s"], slot)

    async def _move_on(self, connection: Any, durable: int) -> None:
        async with self.sharing.turn:
            others = await self.sharing.needed()
            to = let_go_to(durable, None if others is None else [number_of(each) for each in others])
            if to is not None and to > self._moved_to:
                await connection.execute(_ADVANCE.format(slot=literal(self._slot), to=text_of(to)))
                self._moved_to = to
        if self._copy is None:
            return
        if to == durable:  # nobody is behind any more
            await connection.execute(f"SELECT pg_catalog.pg_drop_replication_slot({literal(self._copy)})")
            self._copy = None
        else:
            await connection.execute(_ADVANCE.format(slot=literal(self._copy), to=text_of(durable)))

    async def go_ahead(self, position: int) -> bool:
        """Read from a position on, however far behind others are; False: the server has no room for that.

        A copy of the slot is moved there, which is gone with the connection.
        """
        if self._copy is not None:
            return True
        async with self.connected() as connection:
            name = f"{self._slot[:COPY_CHARS]}_{connection.get_server_pid()}"
            try:
                await connection.execute(
                    "SELECT pg_catalog.pg_copy_logical_replication_slot("
                    f"{literal(self._slot)}, {literal(name)}, true)"
                )
            except asyncpg.ConfigurationLimitExceededError:
                self.crowded = True
                return False
            await connection.execute(_ADVANCE.format(slot=literal(name), to=text_of(position)))
        self._copy = name
        return True

    @asynccontextmanager
    async def peeked(self, until: int, tables: Sequence[int]) -> AsyncIterator[Peeked]:
        """Read the log from where the slot stands to a position, or as much of it as a peek takes.

        What became of rows of other than these tables is left out, where others share the slot.
        """
        found = Peeked()
        sql = self._peek(until, tables)
        try:
            async with self.connected() as connection, self._turn():
                await begin(connection, None)
                cursor = await connection.cursor(sql)
                while rows := await cursor.fetch(FETCH_ROWS):
                    found.take([row[0] for row in rows])
                    if self.sharing.others:
                        found.count = rows[-1][1]
                found.slot = await slot_of(connection, self._slot)
                await connection.execute("ROLLBACK")
            yield found
        finally:
            found.close()

    def _peek(self, until: int, tables: Sequence[int]) -> str:
        peek = _PEEK.format(
            slot=literal(self._copy or self._slot),
            until=text_of(until),
            changes=PEEK_CHANGES,
            publication=literal(identifier(self._publication)),
        )
        if not self.sharing.others:
            return peek
        oids = ", ".join(rf"'\x{oid:08x}'::pg_catalog.bytea" for oid in tables)
        return _OF_TABLES.format(peek=peek, rows=_ROWS, tables=oids)

    def _turn(self) -> AbstractAsyncContextManager[object]:
        """Return what is held for a peek: a copy is this reader's alone."""
        return self.sharing.turn if self._copy is None else nullcontext()

    async def let_go(self) -> None:
        """Close the connection."""
        connection, self._connection, self._moved_to = self._connection, None, 0
        self._copy, self.crowded = None, False
        if connection is not None:
            self.sharing.sessions.discard(connection.get_server_pid())
            await abandon(connection)


def number_of(position: str) -> int:
    """Return a position as a number of bytes. Source: PostgreSQL documentation, "pg_lsn Type"."""
    high, low = position.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def text_of(position: int) -> str:
    """Return a position as the server prints it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
