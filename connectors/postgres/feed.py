"""PostgreSQL's log as a ChangeFeed: a slot is peeked into, and moved on once what was read is durable.

Invariant: a batch's rows are read in a snapshot that sees every transaction of the batch, from the server
that the log is read from; the slot never moves beyond what a checkpoint covers.
"""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import pyarrow as pa

from connectors.patience import with_source
from connectors.postgres import opening
from connectors.postgres.errors import speaking
from connectors.postgres.gathering import Gathering, LogPart
from connectors.postgres.keep_log import free_slot, held_back, kept_from_now_on
from connectors.postgres.logged import Logged, logged
from connectors.postgres.looking_up import LookUps
from connectors.postgres.publishing import Served, Slot, check_log, check_slot, slot_of
from connectors.postgres.quoting import identifier, literal
from connectors.postgres.section import LogCatchUp, PostgresSection
from connectors.postgres.session import abandon, begin, connect
from engine.amounts import bytes_text
from engine.batch import Batch, Cursor, Segment
from engine.contracts.documents import DocumentCodec
from engine.errors import JobError, PermanentError, TransientError
from engine.kinds import RowSchema

PART_ROWS = 1_000
"""Changes that are looked up together: what their rows take is held in memory."""
PART_BYTES = 4_000_000
"""What is needed of rows as they were, as text of one statement."""
PEEK_CHANGES = 100_000
"""After so many changes the next commit ends a peek. The server keeps what one gives in temporary files."""
FETCH_ROWS = 1_000


class PostgresFeed:
    """The log of one job; see contracts.ChangeFeed."""

    def __init__(
        self,
        section: PostgresSection,
        view: opening.PostgresView,
        schema: RowSchema,
        codec: DocumentCodec,
        patience_s: float,
    ) -> None:
        assert section.catch_up is not None, "only a job that goes by the log has a feed"
        self._section = section
        self._catch_up: LogCatchUp = section.catch_up
        self._url = section.url.get_secret_value()
        self._shape = view.shape
        self._no_rows = pa.RecordBatch.from_pylist([], schema.arrow())
        self._patience_s = patience_s
        self._tables: Logged | None = None
        self._served: Served | None = None
        self._durable = (0, 0)
        """Position and number of the last part that is durable."""
        self._heard = asyncio.Event()
        self.notices: list[str] = []
        self._look_ups = LookUps(section, view, codec, patience_s, self.notices)
        self.held_back_bytes: int | None = None

    @property
    def foretold(self) -> str:
        """Whom the server keeps its log for, and how much that is."""
        told = (
            "Catch-up runs read the source's log, which the server keeps from the full run on until it was"
            " read."
        )
        held_back = self.held_back_bytes
        return told if held_back is None else f"{told} It holds back {bytes_text(held_back)} now."

    async def check(self, needed: frozenset[str], position: str | None) -> None:
        """See that the log gives all that the job needs; see contracts.ChangeFeed."""
        connection = await connect(self._url)
        try:
            async with speaking("source.catch_up"):
                await begin(connection, None)
                self._tables = await logged(connection, self._section, self._shape, needed)
                self._served = await check_log(
                    connection, self._catch_up, self._tables, begins=position is None
                )
                slot = await free_slot(connection, self._catch_up)
            since = None if position is None else number_of(position)
            check_slot(self._catch_up, slot, self._served.database, since)
            self.held_back_bytes = None if slot is None else slot.held_back
        finally:
            await abandon(connection)

    async def set_up(self, say: Callable[[str], None]) -> None:
        """Make publication and slot, or move an old slot on to now; see contracts.ChangeFeed."""
        assert self._tables is not None, "it has been checked"
        assert self._served is not None, "it has been checked"
        await kept_from_now_on(self._url, self._catch_up, self._tables, self._served, say)

    def kept(self, end: Cursor) -> None:
        """Hear that all up to a part's end is durable."""
        self._durable = max(self._durable, _place(end))
        self._heard.set()

    async def look(self) -> None:
        """Ask how much of its log the server keeps for this job."""
        self.held_back_bytes = await held_back(self._section)

    async def confirm(self, position: str) -> None:
        """Move the slot on."""
        await self._move_on(number_of(position))

    async def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        """Read the log's changes; lost connections are mended inside."""
        assert segment.after is not None, "a part of a log has a beginning"
        assert segment.until is not None, "and an end"
        done, part = _place(after or segment.after)
        self._durable = (done, part)
        until, sequence = number_of(segment.until.key[0]), 0
        patience = with_source(self._patience_s)
        try:
            while True:
                try:
                    await self._move_on(self._durable[0])
                    gathering = Gathering(self._found, done, PART_ROWS, PART_BYTES)
                    async with aclosing(self._peek(gathering, until)) as parts:
                        async for each in parts:
                            rows = await self._look_ups.looked_up(each, self._found)
                            if rows is None:
                                continue
                            done, part = each.position, part + 1
                            patience.rewarded()
                            end = Cursor((text_of(done), str(part)))
                            yield Batch(segment.number, sequence, rows[0], end, old=rows[1])
                            sequence += 1
                    if gathering.messages < PEEK_CHANGES:
                        return
                    if gathering.position > done:  # of others' changes: a checkpoint has to cover them, too
                        done, part = gathering.position, part + 1
                        end = Cursor((text_of(done), str(part)))
                        yield Batch(segment.number, sequence, self._no_rows, end)
                        sequence += 1
                    while self._durable[1] < part:
                        self._heard.clear()
                        await self._heard.wait()
                except TransientError as error:
                    await patience.wait(error)
        finally:
            await self._look_ups.let_go()

    @property
    def _found(self) -> Logged:
        assert self._tables is not None, "it has been checked"
        return self._tables

    async def _peek(self, gathering: Gathering, until: int) -> AsyncGenerator[LogPart, None]:
        """Read the log from where the slot stands to a position, or as much of it as a peek takes."""
        slot = literal(self._catch_up.slot)
        names = literal(identifier(self._catch_up.published))
        sql = (
            "SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes("
            f"{slot}, '{text_of(until)}', {PEEK_CHANGES}, 'proto_version', '1', 'publication_names', {names})"
        )
        connection = await connect(self._url)
        try:
            async with speaking("source.catch_up"):
                await begin(connection, None)
                cursor = await connection.cursor(sql)
                rows = await cursor.fetch(FETCH_ROWS)
                self._hold_to(await slot_of(connection, self._catch_up.slot))
            while True:
                for row in rows:
                    if (part := gathering.take(row[0])) is not None:
                        yield part
                if len(rows) < FETCH_ROWS:
                    break
                async with speaking("source.catch_up"):
                    rows = await cursor.fetch(FETCH_ROWS)
            yield gathering.rest()
        except PermanentError as error:
            raise await self._told(error, self._durable[0]) from error
        finally:
            await abandon(connection)

    def _hold_to(self, slot: Slot | None) -> None:
        """See that a peek began no further on than all that is durable. Raises: PermanentError."""
        assert self._served is not None, "it has been checked"
        try:
            check_slot(self._catch_up, slot, self._served.database, self._durable[0])
        except JobError as fault:
            raise PermanentError(str(fault)) from fault

    async def _told(self, error: PermanentError, position: int) -> PermanentError:
        """Say what became of the slot, where that explains an error. `position`: all before it is durable."""
        try:
            tables, served = self._tables, self._served
            await self.check(frozenset(self._found.own.needed), text_of(position))
            self._tables, self._served = tables, served
        except JobError as fault:
            return PermanentError(str(fault))
        except TransientError:
            pass
        return error

    async def _move_on(self, position: int) -> None:
        """Move the slot to a position, if it stands before it, and note what it holds back."""
        connection = await connect(self._url)
        try:
            async with speaking("source.catch_up"):
                await begin(connection, None)
                slot = await slot_of(connection, self._catch_up.slot)
                await connection.execute("ROLLBACK")
                if slot is not None and slot.position is not None and slot.position < position:
                    await connection.execute(
                        f"SELECT pg_catalog.pg_replication_slot_advance({literal(self._catch_up.slot)},"
                        f" '{text_of(position)}')"
                    )
                    await begin(connection, None)
                    slot = await slot_of(connection, self._catch_up.slot)
            self.held_back_bytes = None if slot is None else slot.held_back
        except PermanentError as error:
            raise await self._told(error, position) from error
        finally:
            await abandon(connection)


def feed_of_table(
    section: PostgresSection,
    view: opening.PostgresView,
    schema: RowSchema,
    codec: DocumentCodec,
    patience_s: float,
) -> PostgresFeed:
    """Return the feed that a job which reads a table would have by its log."""
    changes = {"catch_up": LogCatchUp(type="log", slot="backfill"), "watermark": None}
    return PostgresFeed(section.model_copy(update=changes), view, schema, codec, patience_s)


def _place(end: Cursor) -> tuple[int, int]:
    """Return a cursor's position and its part's number: parts of one transaction share the former."""
    return number_of(end.key[0]), int(end.key[1]) if len(end.key) > 1 else 0


def number_of(position: str) -> int:
    """Return a position as a number of bytes. Source: PostgreSQL documentation, "pg_lsn Type"."""
    high, low = position.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def text_of(position: int) -> str:
    """Return a position as the server prints it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
