"""PostgreSQL's log as a ChangeFeed: a slot is peeked into, and moved on once what was read is durable.

Invariant: nothing is read of a log that doesn't tell all that the job needs; the slot never moves beyond what
the checkpoints cover of all jobs that share it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pyarrow as pa

from connectors.log_progress import LogProgress
from connectors.patience import absence, with_source
from connectors.postgres import opening
from connectors.postgres.errors import speaking
from connectors.postgres.feeding import LogReading
from connectors.postgres.keep_log import free_slot, held_back, kept_from_now_on, writers_waited_for
from connectors.postgres.logged import Logged, logged
from connectors.postgres.looking_up import LookUps
from connectors.postgres.publishing import Served, check_log
from connectors.postgres.section import LogCatchUp, PostgresSection
from connectors.postgres.session import abandon, begin, connect
from connectors.postgres.slot_reading import SlotReader, number_of
from connectors.postgres.slots import Slot, check_slot, slot_of
from engine.amounts import bytes_text
from engine.batch import Batch, Cursor, Segment
from engine.contracts.documents import DocumentCodec
from engine.contracts.feed import Deciding, Keeping, LogFigures, LogNeeds, LogPlace, LogSharing
from engine.errors import JobError, PermanentError, TransientError
from engine.kinds import RowSchema

CHECK_S = 30.0
"""How often it is seen, while the log is followed, that it still tells all: that a table was dropped from the
publication, or another one put in its place, raises nothing."""


class PostgresFeed:
    """The log of one job; see contracts.ChangeFeed. `let_view_go` closes what keeps the source's snapshot."""

    def __init__(
        self,
        section: PostgresSection,
        view: opening.PostgresView,
        schema: RowSchema,
        codec: DocumentCodec,
        patience_s: float,
        let_view_go: Callable[[], Awaitable[None]],
    ) -> None:
        assert section.catch_up is not None, "only a job that goes by the log has a feed"
        self._section = section
        self._catch_up: LogCatchUp = section.catch_up
        self._url = section.url.get_secret_value()
        self._shape = view.shape
        self._no_rows = pa.RecordBatch.from_pylist([], schema.arrow())
        self._patience_s = patience_s
        self._let_view_go = let_view_go
        self._tables: Logged | None = None
        self._needs = LogNeeds(frozenset())
        self._served: Served | None = None
        self._progress = LogProgress()
        self.notices: list[str] = []
        self._slot = SlotReader(self._url, self._catch_up)
        self._look_ups = LookUps(section, view, codec, patience_s, self.notices)

    def share(self, sharing: LogSharing) -> None:
        """Hear with whom the slot is shared."""
        self._slot.sharing = sharing

    def keep_standing(self, keep: Keeping) -> None:
        """Have kept which partitions there are; see contracts.ChangeFeed."""
        self._look_ups.keep = keep

    @property
    def foretold(self) -> str:
        """Whom the server keeps its log for, and how much that is."""
        told = (
            "Catch-up runs read the source's log, which the server keeps from the full run on until it was"
            " read."
        )
        held_back = self.figures.held_back_bytes
        return told if held_back is None else f"{told} It holds back {bytes_text(held_back)} now."

    @property
    def figures(self) -> LogFigures:
        """How far behind the target is, and what the server keeps."""
        return self._progress.figures

    async def check(self, needs: LogNeeds, position: str | None) -> None:
        """See that the log gives all that the job needs; see contracts.ChangeFeed."""
        self._needs = needs
        connection = await connect(self._url)
        try:
            await self._check(connection, position, waits=True)
        finally:
            await abandon(connection)
        if position is not None:
            self._slot.sharing.needs(position)

    async def _check(self, connection: Any, position: str | None, *, waits: bool) -> None:
        async with speaking("source.catch_up"):
            await begin(connection, None)
            self._tables = await logged(connection, self._section, self._shape, self._needs)
            self._served = await check_log(connection, self._catch_up, self._tables, begins=position is None)
            if waits:
                slot = await free_slot(connection, self._catch_up, self._slot.sharing.sessions)
            else:
                slot = await slot_of(connection, self._catch_up.slot)
            await connection.execute("ROLLBACK")
        self._in_place(slot, None if position is None else number_of(position))
        self._progress.held_back_bytes = None if slot is None else slot.held_back

    def _in_place(self, slot: Slot | None, since: int | None) -> None:
        """See that a slot has all of the log behind a position. Raises: JobError."""
        assert self._served is not None, "it has been checked"
        check_slot(self._catch_up, slot, self._served.database, since)

    async def set_up(self, say: Callable[[str], None]) -> str:
        """Make publication and slot, or move on to now what nobody else needs; see contracts.ChangeFeed."""
        sharing = self._slot.sharing
        async with sharing.turn:
            if sharing.others:  # one of them may have made publication and slot meanwhile
                await self.check(self._needs, None)
            assert self._served is not None, "it has been checked"
            others = await sharing.needed()
            position = await kept_from_now_on(
                self._url, self._catch_up, self._found, self._served, others, say
            )
            await sharing.begins(position)
        await writers_waited_for(self._url, say)
        return position

    def kept(self, end: Cursor) -> None:
        """Hear that all up to a batch's end is durable."""
        self._progress.kept(end)
        self._slot.sharing.needs(self._progress.durable.position)

    async def look(self) -> None:
        """Ask how much of its log the server keeps for this job."""
        self._progress.held_back_bytes = await held_back(self._section)

    async def confirm(self, position: str) -> None:
        """Move the slot on."""
        self._slot.sharing.needs(position)
        try:
            self._progress.held_back_bytes = (await self._slot.now(number_of(position))).held_back
        except PermanentError as error:
            raise await self._told(error, position) from error
        finally:
            await self._slot.let_go()

    async def read(
        self, segment: Segment, after: Cursor | None, deciding: Deciding | None = None
    ) -> AsyncGenerator[Batch, None]:
        """Read the log's changes; lost connections are mended inside."""
        self._look_ups.deciding = deciding
        assert segment.after is not None, "a part of a log has a beginning"
        until = None if segment.until is None else number_of(LogPlace.of(segment.until).position)
        self._progress.kept(after or segment.after)
        begins = self._progress.durable
        reading = LogReading(
            self._slot,
            self._look_ups,
            self._progress,
            self._no_rows,
            self._in_place,
            segment.number,
            number_of(begins.position),
            begins.number,
        )
        patience = with_source(self._patience_s, absence(self._patience_s, self.notices.append))
        clock = asyncio.get_running_loop().time
        checked_s = clock()
        await self._let_view_go()
        try:
            while True:
                try:
                    if until is None and clock() - checked_s >= CHECK_S:
                        await self._check_again()
                        checked_s = clock()
                    async with aclosing(reading.batches(self._found, until)) as batches:
                        async for batch in batches:
                            yield batch
                    patience.rewarded()
                    if reading.drained and until is not None:
                        return
                    await reading.pause()
                except TransientError as error:
                    await patience.wait(error)
                except (JobError, PermanentError) as error:
                    raise await self._told(error, self._progress.durable.position) from error
        finally:
            await self._slot.let_go()
            await self._look_ups.let_go()

    @property
    def _found(self) -> Logged:
        assert self._tables is not None, "it has been checked"
        return self._tables

    async def _check_again(self) -> None:
        """See that the log tells all, and of what the run began with.

        Raises: as `check`.
        """
        await self._look_ups.still_there()
        async with self._slot.connected() as connection:
            await self._check(connection, self._progress.durable.position, waits=False)

    async def _told(self, error: JobError | PermanentError, position: str) -> PermanentError:
        """Say what became of the slot, where that explains an error. `position`: all before it is durable."""
        if isinstance(error, JobError):
            return PermanentError(str(error))
        try:
            await self.check(self._needs, position)
        except JobError as fault:
            return PermanentError(str(fault))
        except TransientError:
            pass
        return error
