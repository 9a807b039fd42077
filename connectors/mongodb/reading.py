"""Reads documents of a collection, and goes on where a cursor, a connection or the snapshot was lost.

Invariant: whatever is read is of the collection, and on the server, that the run began with, or an error is
raised before the reading ends.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from bson import Timestamp
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from connectors.mongodb.chunks import Chunk, chunks
from connectors.mongodb.errors import (
    LOST,
    NO_TIMEOUT_REFUSED,
    NoTimeoutRefusedError,
    SnapshotGoneError,
    speaking,
)
from connectors.mongodb.layout import FieldColumns
from connectors.mongodb.opening import MongoDBView, OpenedCollection
from connectors.mongodb.pin import MovedError, Pin
from connectors.mongodb.positions import position_element
from connectors.mongodb.query import Query, projection_of, query_of
from connectors.mongodb.raw import raw_batches
from connectors.mongodb.section import MongoDBSection
from connectors.mongodb.server import Server, checked, differs
from connectors.mongodb.session import awaited
from connectors.mongodb.snapshot import Sessions
from engine.batch import Cursor, Segment
from engine.errors import PermanentError, TransientError
from engine.plain import dumped, loaded
from engine.retry import Patience

CHUNK_BYTES = 2_000_000
"""How much of a collection becomes one batch."""

Part: TypeAlias = tuple[pa.RecordBatch, Cursor | None, Chunk]
"""Rows, the cursor behind them, and the places between them."""


class Hold:
    """Holds every reading to the collection and the server that the run began with.

    Invariant: a reading that passed both looks, before and after, was of that collection, and on a server
    that had its data.
    """

    def __init__(self, db: Any, collection: str, pin: Pin, server: Server, place: str) -> None:
        self._db = db
        self._collection = collection
        self._pin = pin
        self._server = server
        self._place = place

    @property
    def standing(self) -> str:
        """The server as the run found it, for the checkpoint."""
        return dumped(self._server)

    async def check(self) -> None:
        """Look at both. Raises: MovedError, TransientError."""
        async with speaking("source", self._place):
            self._server, difference = await checked(self._db.client, self._server)
            await self._pin.check(self._db, self._collection)
        if difference is not None:
            raise MovedError(
                f"source.url: the server at {self._place} isn't the one that the run began with:"
                f" {difference}. Bring that one back and run again to resume, or load from this one with"
                " --fresh"
            )

    async def misfit(self, standing: str) -> str | None:
        """Say why the server isn't the one of an earlier run; None when it is."""
        try:
            before = loaded(Server, standing)
        except ValueError:  # it is of another form
            return None
        async with speaking("source", self._place):
            difference = await differs(self._db.client, before)
        return None if difference is None else f"the server at {self._place} is another one: {difference}"


class CollectionReader:
    """What reads one view of a collection. `note` is told once what the user should know."""

    def __init__(
        self,
        section: MongoDBSection,
        columns: FieldColumns,
        opened: OpenedCollection,
        place: str,
        note: Callable[[str], None],
    ) -> None:
        view = loaded(MongoDBView, opened.ticket.details)
        self.hold = Hold(opened.client[section.database], section.collection, view.pin, view.server, place)
        self.sessions = Sessions(opened.client, view.at, note, kept=view.kept)
        self.query = Query(
            query_of(section, opened.ticket.since),
            projection_of(section),
            max(1, min(section.batch_rows, CHUNK_BYTES // view.document_bytes)),
            view.pin,
        )
        self._client = opened.client
        self._collection = opened.client[section.database][section.collection]
        self._schema = opened.ticket.schema
        self._layout = columns
        self._types = view.types
        self._batch_rows = section.batch_rows
        self._place = place
        self._note = note

    async def segment(
        self, segment: Segment, after: Cursor | None, where: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Part, None]:
        """Read in one session, until the end or until it fails. `where`: other documents than the run's."""
        schema, query = self._schema, self.query
        if where is not None:
            query = replace(query, where=where)
        passed = None if after is None or not schema.identities else position_element(after.key[0])
        await self.hold.check()
        async with speaking("source", self._place), self.sessions.session() as session:
            if schema.key:
                cursors = query.ranges(self._collection, session, after or segment.after, segment.until)
            else:
                cursors = iter([query.whole(self._collection, session)])
            for cursor in cursors:
                async with aclosing(self._read(cursor, passed)) as parts:
                    async for part in parts:
                        yield part
                        passed = None
        await self.hold.check()

    async def among(self, ids: Sequence[Any]) -> AsyncGenerator[Part, None]:
        """Read the documents that have these `_id`s."""
        await self.hold.check()
        async with speaking("source", self._place), self.sessions.session() as session:
            cursor = self.query.among(self._collection, session, ids)
            async with aclosing(self._read(cursor, None)) as parts:
                async for part in parts:
                    yield part
        await self.hold.check()

    def not_older(self, ids: Sequence[Any], time: Timestamp) -> AsyncGenerator[pa.RecordBatch, None]:
        """Read the documents that have these `_id`s as most members have them, of a time or later."""
        return self._of(partial(self.query.among, ids=ids), time)

    def besides(self, where: Mapping[str, Any], time: Timestamp) -> AsyncGenerator[pa.RecordBatch, None]:
        """Read the documents that a query gives in the same way. Ordering: by `_id`."""
        return self._of(replace(self.query, where=where).some, time)

    async def _of(
        self, find: Callable[[Any, Any], Any], time: Timestamp
    ) -> AsyncGenerator[pa.RecordBatch, None]:
        collection = self._collection.with_options(read_concern=ReadConcern("majority"))
        await self.hold.check()
        async with speaking("source", self._place):
            session = await awaited(self._client.start_session(causal_consistency=True))
            try:
                session.advance_operation_time(time)
                async with aclosing(self._read(find(collection, session), None)) as parts:
                    async for rows, _, _ in parts:
                        yield rows
            finally:
                with suppress(PyMongoError):
                    await session.end_session()
        await self.hold.check()

    async def mend(self, error: TransientError, patience: Patience) -> None:
        """Note what was lost, and wait before the next try. Raises: RetriesExhausted."""
        if isinstance(error, NoTimeoutRefusedError):
            self.query = replace(self.query, lasting=False)
            self._note(NO_TIMEOUT_REFUSED)
            return
        if isinstance(error, SnapshotGoneError):
            self.sessions.lost()
        else:
            self._note(LOST)
        await patience.wait(error)

    async def _read(self, cursor: Any, passed: bytes | None) -> AsyncGenerator[Part, None]:
        """Read what a cursor gives; `passed` is the `_id` that is left out if it comes first."""
        async with aclosing(raw_batches(cursor)) as batches:
            async for data in batches:
                for chunk in chunks(data, CHUNK_BYTES, self._batch_rows, passed):
                    yield await asyncio.to_thread(self._digest, chunk)
                passed = None if data else passed

    def _digest(self, chunk: Chunk) -> Part:
        end = chunk.end
        if self._types and not np.isin(chunk.id_types, list(self._types)).all():
            raise PermanentError(
                "source: an _id of another type has come since the run began, and keys made of both types may"
                " meet; run with --fresh to read the collection anew"
            )
        rows = chunk.rows(self._layout)
        return rows, None if end is None else Cursor((end,)), chunk.alone()
