"""MongoDB's log as a ChangeFeed: a change stream says which documents changed, a look-up what they are now.

Invariant: a batch's documents are looked up as most members have them, at the time of its last change or
later, on the server and in the collection that the run began with.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import Any

import pyarrow as pa

from connectors.log_progress import LogProgress
from connectors.mongodb.changes import Changes, GatheredChanges
from connectors.mongodb.errors import NoTimeoutRefusedError, PassingError, speaking
from connectors.mongodb.logged import (
    LogWindow,
    begins_at,
    foretold,
    history_lost,
    log_window,
    reading_log,
    see_to_collection,
    see_to_server,
)
from connectors.mongodb.looking_up import DocumentLookUps
from connectors.mongodb.opening import MongoDBView, OpenedCollection
from connectors.mongodb.place_in_log import PlaceInLog, moment_text
from connectors.mongodb.section import MongoDBSection
from connectors.mongodb.streaming import change_stream, needs_images
from connectors.mongodb.watermark import server_time
from connectors.patience import absence, with_source
from engine.batch import Batch, Cursor, Segment
from engine.clock import utc_at
from engine.contracts.feed import Deciding, Keeping, LogFigures, LogNeeds, LogPlace, LogSharing
from engine.errors import JobError, PermanentError, TransientError
from engine.plain import loaded
from engine.retry import patiently

PART_ROWS = 1_000
"""Changes that are looked up together."""
PART_BYTES = 4_000_000
"""What documents as they were take of memory."""
PART_S = 0.5
"""How long changes are gathered that come one by one."""
CHECK_S = 30.0
"""How often it is seen while the log is read that the server and the collection are still the run's."""
IDLE_S = 2.0
"""How often a log without a change of ours brings a batch without documents: the checkpoint says that nothing
is missing. By the server's clock: the log itself is written every 10 s only where nothing happens."""


class MongoDBFeed:
    """The log of one job; see contracts.ChangeFeed. `place` names the hosts."""

    def __init__(
        self,
        section: MongoDBSection,
        opened: OpenedCollection,
        look_ups: DocumentLookUps,
        place: str,
        patience_s: float,
    ) -> None:
        self._section = section
        self._opened = opened
        self._view = loaded(MongoDBView, opened.ticket.details)
        self._no_rows = pa.RecordBatch.from_pylist([], opened.ticket.schema.arrow())
        self._db = opened.client[section.database]
        self._look_ups, self._reader = look_ups, look_ups.reader
        self._place = place
        self._patience_s = patience_s
        self._needed = frozenset[str]()
        self._by: Sequence[tuple[str, ...]] = ()
        self._window: LogWindow | None = None
        self.notices: list[str] = []
        self._progress = LogProgress()
        self._number = 0
        """Of the last batch that was handed over."""

    @property
    def figures(self) -> LogFigures:
        """How far behind the target is; nothing of the log is kept for one job."""
        return self._progress.figures

    @property
    def foretold(self) -> str:
        """How far the log reaches back."""
        return foretold(self._window)

    async def check(self, needs: LogNeeds, position: str | None) -> None:
        """See that the log gives all that the job needs; see contracts.ChangeFeed."""
        if lost := self._look_ups.peers.unnamed(needs.by):
            raise JobError(
                f"source.catch_up: several documents may make one item, and those that share"
                f" {', '.join(lost)} can't be asked for by that name; make each key one document's alone"
            )

        async def look() -> None:
            await self._check(needs.columns, position)
            self._by = needs.by

        await patiently(look, with_source(self._patience_s), PassingError)

    async def _check(self, needed: frozenset[str], position: str | None) -> None:
        found = self._opened.found
        assert found is not None, "the process that opened the source has looked"
        see_to_server(self._view.server.kind)
        async with speaking("source.catch_up", self._place):
            await see_to_collection(self._db, self._section, found, needed)
            self._window = await log_window(self._opened.client)
        await self._hear_clock()
        self._needed = needed
        now = PlaceInLog(begins_at(self._view.at), frozenset())
        since = None if position is None else PlaceInLog.read(position)
        if since is not None and self._window is not None and since.time < self._window.oldest:
            read = f"{self._section.collection} was read up to {moment_text(since.time)}"
            raise PermanentError(history_lost(f"{self._window.told}, {read}"))
        async with self._stream(now):
            pass  # the role may, and the server knows all options

    async def _hear_clock(self) -> None:
        async with speaking("source.catch_up", self._place):
            now = await server_time(self._opened.client)
        self._progress.clock_is(now.timestamp())

    def share(self, sharing: LogSharing) -> None:
        """Do nothing: the server keeps its log for everybody."""

    def keep_standing(self, keep: Keeping) -> None:
        """Do nothing: the log tells of every document that comes or goes."""

    async def set_up(self, say: Callable[[str], None]) -> None:
        """Do nothing: the server keeps its log for everybody."""
        del say

    def kept(self, end: Cursor) -> None:
        """Hear what is durable; the server keeps its log for everybody."""
        self._progress.kept(end)

    async def confirm(self, position: str) -> None:
        """Do nothing: the server keeps its log for everybody."""
        del position

    async def look(self) -> None:
        """Do nothing: nothing of the log is kept for one job."""

    async def read(
        self, segment: Segment, after: Cursor | None, deciding: Deciding | None = None
    ) -> AsyncGenerator[Batch, None]:
        """Read the log's changes; lost cursors and connections are mended inside."""
        assert segment.after is not None, "a part of a log has a beginning"
        self.kept(after or segment.after)
        begins = self._progress.durable
        done, self._number = replace(PlaceInLog.read(begins.position), types=self._view.types), begins.number
        until = None if segment.until is None else PlaceInLog.read(segment.until.key[0])
        patience = with_source(self._patience_s, absence(self._patience_s, self.notices.append))
        sequence, now = 0, asyncio.get_running_loop().time
        checked_s = now()
        while True:
            try:
                await self._reader.hold.check()
                async with aclosing(self._parts(done, until)) as parts:
                    async for part in parts:
                        if now() - checked_s >= CHECK_S:
                            await self._reader.hold.check()
                            await self._hear_clock()
                            checked_s = now()
                        rows, old = await self._look_ups.looked_up(part, self._by, deciding)
                        done, sequence, self._number = part.place, sequence + 1, self._number + 1
                        patience.rewarded()
                        at = moment_text(done.time) if part.at_s is None else utc_at(part.at_s)
                        end = LogPlace(done.text, self._number, at)
                        whole = pa.concat_batches([self._no_rows, *rows])
                        yield Batch(segment.number, sequence - 1, whole, end.cursor(), old=old)
                await self._reader.hold.check()
            except JobError as error:
                raise PermanentError(str(error)) from error
            except NoTimeoutRefusedError as error:
                await self._reader.mend(error, patience)
            except TransientError as error:
                await patience.wait(error)
            else:
                return

    async def _parts(self, done: PlaceInLog, until: PlaceInLog | None) -> AsyncGenerator[Changes, None]:
        """Read the stream from behind a place to another, or without an end, in one cursor."""
        images = needs_images(self._needed)
        gathered = GatheredChanges(
            self._section.collection, done, self._opened.alike, images, PART_ROWS, PART_BYTES
        )
        now = asyncio.get_running_loop().time
        began, told_s, silent = now(), self._progress.clock_s or 0.0, False
        # Of a log that is merged from several, what is of the very time may still come.
        one_log = self._view.server.kind != "sharded"
        async with self._stream(done) as stream:
            while True:
                asked_s = self._progress.clock_s
                async with reading_log(self._section, self._place):
                    event = await stream.try_next()
                if event is not None and until is not None and event["clusterTime"] > until.time:
                    break
                if event is not None:
                    silent, began = False, began if len(gathered) else now()
                    part = gathered.take(event)
                    if part is None and len(gathered) and now() - began > PART_S:
                        part = gathered.rest()
                    if part is not None:
                        yield part
                    continue
                here = done.behind(stream.resume_token)
                if until is not None and (
                    here.time > until.time or (silent and one_log and here.time == until.time)
                ):
                    break
                silent = True
                caught_up = not len(gathered) and self._progress.durable.number >= self._number
                if caught_up and asked_s is not None:
                    self._progress.covered(asked_s)
                if len(gathered) or (asked_s or 0.0) - told_s >= IDLE_S:
                    told_s = asked_s or told_s
                    yield gathered.rest(here, asked_s)
        yield gathered.rest(until)

    def _stream(self, done: PlaceInLog) -> AbstractAsyncContextManager[Any]:
        return change_stream(self._db, self._section, self._needed, done, self._place)
