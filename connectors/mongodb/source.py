"""MongoDB as a Source: raw documents of one collection, range by range, at one point in time if possible.

Invariant: every document of the collection is handed over exactly once per reading, whatever cursors and
connections are lost; positions are `_id`s as the server sent them.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pymongo.errors import ExecutionTimeout

from connectors.mongodb import segments as cutting
from connectors.mongodb.catalog import CollectionInfo
from connectors.mongodb.draw import draw
from connectors.mongodb.errors import (
    NoTimeoutRefusedError,
    PassingError,
    speaking,
)
from connectors.mongodb.facts import lasts, told
from connectors.mongodb.feed import MongoDBFeed
from connectors.mongodb.keys import ids_of, key_text
from connectors.mongodb.layout import layout_of
from connectors.mongodb.looking_up import DocumentLookUps
from connectors.mongodb.opening import MongoDBView, OpenedCollection, look
from connectors.mongodb.peers import PeerQuery, unindexed
from connectors.mongodb.query import in_commands
from connectors.mongodb.reading import CollectionReader
from connectors.mongodb.section import MongoDBSection
from connectors.mongodb.session import closed, connect, where
from connectors.mongodb.snapshot import GOES_ON, SAME_VIEW
from connectors.patience import PATIENCE_S, absence, with_source
from engine.batch import Batch, Cursor, Segment
from engine.contracts.documents import DocumentCodec
from engine.contracts.source import Sharing, SourceAbilities, SourceTicket, cost_nothing
from engine.documents.plain import PLAIN
from engine.errors import JobError, PermanentError, TransientError
from engine.plain import dumped, loaded
from engine.retry import patiently
from engine.rules.fields import Fields


async def open_source(
    section: MongoDBSection,
    fields: Fields,
    *,
    since: str | None = None,
    ticket: SourceTicket | None = None,
    codec: DocumentCodec = PLAIN,
    patience_s: float = PATIENCE_S,
    views: Sequence[str] = (),
) -> "MongoDBSource":
    """Open a collection: check the job against the server, take the watermark, then a snapshot.

    With `ticket` nothing is checked and that snapshot is read. `since` is the watermark of an earlier run,
    `codec` how the target writes documents, `views` those that the run has read before.
    """
    url = section.url.get_secret_value()
    client = connect(url, section.driver)
    try:
        if ticket is None:
            opened = await patiently(
                lambda: look(client, section, fields, since, views), with_source(patience_s), PassingError
            )
        else:
            opened = OpenedCollection(client, ticket, None, None, ())
    except BaseException:
        await closed(client)
        raise
    return MongoDBSource(section, fields, opened, codec, patience_s)


class MongoDBSource:
    """A collection or view of a MongoDB server; see contracts.Source."""

    def __init__(
        self,
        section: MongoDBSection,
        fields: Fields,
        opened: OpenedCollection,
        codec: DocumentCodec,
        patience_s: float,
    ) -> None:
        self._place = where(section.url.get_secret_value())
        self._opened = opened
        self.ticket, self.watermark = opened.ticket, opened.watermark
        self.identity: Mapping[str, str] = {} if opened.found is None else opened.found.identity
        self._client, self._collection = opened.client, opened.client[section.database][section.collection]
        self._section, self._view = section, loaded(MongoDBView, opened.ticket.details)
        self._notices = list(opened.notices)
        columns = layout_of(fields, opened.ticket.schema, codec)
        self._codec = codec
        self._peers = PeerQuery(section, fields, opened.ticket, self._view.types, codec, self._note)
        self._reader = CollectionReader(section, columns, opened, self._place, self._note)
        self._patience_s = patience_s
        self._away = absence(patience_s, self._notices.append)
        look_ups = DocumentLookUps(columns, self._reader, self._peers)
        self._could_be = partial(MongoDBFeed, section, opened, look_ups, self._place, patience_s)
        by_log = section.catch_up is not None and opened.found is not None
        self._feed = self._could_be() if by_log else None

    @property
    def abilities(self) -> SourceAbilities:
        """What it can do besides; documents are looked up by `_id`, where that has an index."""
        return SourceAbilities(
            lookup=self if self.ticket.schema.key else None,
            peers=self,
            peers_cost=partial(unindexed, self._collection, self._place, self._peers)
            if self._feed is not None
            else cost_nothing,
            continuity=self,
            count=self.count,
            inspect=self.inspect,
            lasting=self.lasting,
            keep_view=self.keep_view if self._view.at is not None else None,
            view=self._view.at,
            same_view=self._opened.same_view,
            forgets=self._opened.found is not None and self._opened.found.forgets,
            feed=self._feed,
            log=self._could_be if self._feed is None and self._opened.found is not None else None,
        )

    def keep_view(self) -> None:
        """Read no other time than the run's from here on; see SourceAbilities."""
        self._view = replace(self._view, kept=True)
        self.ticket = replace(self.ticket, details=dumped(self._view))
        self._reader.sessions.kept = True

    @property
    def standing(self) -> str:
        """The server, and how far most of its members had got; what is read is in the identity."""
        return self._reader.hold.standing

    async def misfit(self, standing: str, *, goes_on: bool) -> str | None:
        """Say why this isn't the source of an earlier run; see contracts.Continuity."""
        if goes_on:
            self._note(SAME_VIEW if self._opened.same_view else GOES_ON)
        return await self._reader.hold.misfit(standing)

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told."""
        return tuple(self._notices)

    async def rows_expected(self) -> int | None:
        """Return the server's count of all documents; None when only some are read."""
        return None if self._reader.query.where else self._found.documents or None

    async def count(self, within_s: float) -> int | None:
        """Count the documents that a whole pass reads; None when that takes longer than `within_s`."""
        try:
            async with speaking("source", self._place):
                limit_ms, chosen = max(1, round(within_s * 1000)), self._reader.query.where
                return int(await self._collection.count_documents(chosen, maxTimeMS=limit_ms))
        except TransientError as error:
            if isinstance(error.__cause__, ExecutionTimeout):
                return None
            raise

    async def inspect(self) -> tuple[int | None, Sequence[str]]:
        """Return the documents' size in bytes, None when unknown, and what may surprise."""
        async with speaking("source", self._place):
            return self._found.size_bytes, await told(self._client, self._section, self._found, self._view.at)

    async def lasting(self, load_s: float, load: str) -> Sequence[str]:
        """Say what a load that takes so long has to expect; `load` is that in words."""
        if self._view.at is None:
            return ()
        async with speaking("source", self._place):
            return await lasts(self._client, self._section, load_s, load)

    async def segments(self, wanted: int) -> Sequence[Segment]:
        """Cut the collection into about `wanted` segments."""
        found = self._found
        expected = await self.rows_expected()
        if not found.keyed:
            return (Segment(0, None, None, expected),)

        async def cut() -> Sequence[Segment]:
            async with speaking("source.segments", self._place):
                return await cutting.cut(
                    self._collection, self._reader.query.where, wanted, found.documents, expected
                )

        return await patiently(cut, with_source(self._patience_s, self._away), PassingError)

    def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        """Read a segment from behind `after`; lost cursors and connections are mended inside."""
        return self._read(segment, after, None)

    async def read_with_peers(
        self, sharing: Sharing, segment: Segment, after: Cursor | None
    ) -> AsyncGenerator[Batch, None]:
        """Read some documents together with their peers; see contracts.PeerReading."""
        of = sharing.of
        rows = self.read(Segment(0, None, None, None), None) if of is None else self.rows_by_key(of)
        async with aclosing(self._read(segment, after, await self._peers.where(sharing, rows))) as batches:
            async for batch in batches:
                yield batch

    async def _read(
        self, segment: Segment, after: Cursor | None, where: Mapping[str, Any] | None
    ) -> AsyncGenerator[Batch, None]:
        keyed = bool(self._opened.ticket.schema.key)
        sequence = 0
        patience = with_source(self._patience_s, self._away)
        while True:
            try:
                async with aclosing(self._reader.segment(segment, after, where)) as parts:
                    async for rows, end, cuts in parts:
                        sequence, after = sequence + 1, end if keyed else None
                        patience.rewarded()
                        yield Batch(segment.number, sequence - 1, rows, after, cuts if keyed else None)
            except TransientError as error:
                if sequence and not keyed and not isinstance(error, NoTimeoutRefusedError):
                    await self._reader.hold.check()
                    raise PermanentError(
                        f"{error}; without an index on _id it can't be read on from the middle, so run again"
                        " to start it over"
                    ) from error
                await self._reader.mend(error, patience)
            except JobError as error:
                raise PermanentError(str(error)) from error
            else:
                patience.rewarded()
                return

    async def sample_keys(self, count: int, seed: int) -> Sequence[Cursor]:
        """Return the keys of `count` random documents; see contracts.Lookup."""
        documents, where = self._found.documents, self._reader.query.where
        async with speaking("source", self._place), self._reader.sessions.session() as session:
            drawn = await draw(self._collection, session, where, count, seed, documents=documents)
        return [Cursor((key_text(element, self._view.types, self._codec),)) for element in drawn]

    async def rows_by_key(self, keys: Sequence[Cursor]) -> AsyncGenerator[Batch, None]:
        """Read the documents that have these keys; see contracts.Lookup."""
        (name,) = self._opened.ticket.schema.key
        asked = dict.fromkeys(cursor.key[0] for cursor in keys)
        texts = pa.array(asked, pa.string())
        patience, sequence = with_source(self._patience_s, self._away), 0
        for some in in_commands(ids_of(text, self._view.types) for text in asked):
            again = True
            while again:
                begun = again = False
                try:
                    async with aclosing(self._reader.among(some)) as parts:
                        async for rows, end, _ in parts:
                            begun = True
                            patience.rewarded()
                            # Numbers of another text may be equal, as 0.5 is to a Decimal128 of 0.50.
                            named = rows.filter(pc.is_in(rows.column(name), texts))
                            yield Batch(0, sequence, named, end)
                            sequence += 1
                except TransientError as error:
                    if begun:
                        raise
                    await self._reader.mend(error, patience)
                    again = True

    @property
    def _found(self) -> CollectionInfo:
        assert self._opened.found is not None, "only the process that opened the source knows the collection"
        return self._opened.found

    def _note(self, text: str) -> None:
        if text not in self._notices:
            self._notices.append(text)

    async def close(self) -> None:
        """Close every connection; whatever is being read ends with an error."""
        await self._reader.sessions.close()
        await closed(self._client)
