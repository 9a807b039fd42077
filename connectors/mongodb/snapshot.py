"""The sessions that read: one point in time for the run while the server keeps it, and alive while they read.

Invariant: every session reads at the run's time, or the user has been told that it doesn't.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from bson.timestamp import Timestamp
from pymongo.errors import ExecutionTimeout, PyMongoError

from connectors.mongodb.errors import no_snapshots
from connectors.mongodb.session import CODEC, MAX_TIME_MS, awaited
from engine.contracts.source import ViewLost
from engine.tasks import ended

REFRESH_S = 300.0
"""A session that rests for 30 minutes is killed with its cursors.

Source: MongoDB manual, localLogicalSessionTimeoutMinutes.
"""
KEPT_TIME_MS = 10_000
"""How long a server may take to say whether it keeps a time: one that it hasn't reached it would wait for."""
GONE = (
    "The server doesn't keep the run's snapshot any more (minSnapshotHistoryWindowInSeconds), so what was"
    " read after that is from a newer one. A document that came meanwhile with an _id below what was read"
    " already is in neither: a catch-up run (source.watermark) or `backfill verify --full --repair` brings"
    " it."
)
GOES_ON = (
    "This run goes on with a newer state of the collection than it began with: a document that came meanwhile"
    " with an _id below what was read already isn't seen, nor is a change there: a catch-up run"
    " (source.watermark) or `backfill verify --full --repair` brings it."
)
SAME_VIEW = "This run goes on at the very time at which it has read so far: the server still keeps it."
NONE = (
    "The server has no snapshot of this collection to read from (it is no replica set, or the collection is"
    " capped), so documents are read as they are when their turn comes; what moves below the reading"
    " meanwhile is brought by a catch-up run (source.watermark) or `backfill verify --full --repair`."
)

VIEW_LOST = (
    "source: the server doesn't keep the run's snapshot any more (minSnapshotHistoryWindowInSeconds), and"
    " with it is gone what was found out about item keys; run again to go on: they are looked at anew"
)


class Sessions:
    """Hands out sessions that read at one time; see the module.

    Shape: `at` as `seconds.increment`, None when there is no snapshot.
    """

    def __init__(self, client: Any, at: str | None, tell: Callable[[str], None], *, kept: bool) -> None:
        self._client = client
        self._at = at
        self._snapshots = at is not None
        self._tell = tell
        self.kept = kept
        """Whether no other time may be read."""
        self._open: dict[int, Any] = {}
        self._refreshing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        """Open a session for one reading."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._keep_alive())
        async with reading_at(self._client, self._at, snapshot=self._snapshots) as session:
            self._open[id(session)] = session  # Motor's can't be hashed
            try:
                yield session
            finally:
                del self._open[id(session)]

    def lost(self) -> None:
        """Note that the server has dropped the run's snapshot: each reading has its own from here on.

        Raises: ViewLost where that may not be.
        """
        if self._at is not None:
            if self.kept:
                raise ViewLost(VIEW_LOST)
            self._at = None
            self._tell(GONE)

    async def close(self) -> None:
        """Stop keeping sessions alive."""
        await ended(self._refreshing)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            ids = [session.session_id for session in self._open.values()]
            if ids:
                with suppress(PyMongoError):  # the readings notice by themselves what is wrong
                    await self._client.admin.command("refreshSessions", ids)


@asynccontextmanager
async def reading_at(client: Any, at: str | None, *, snapshot: bool | None = None) -> AsyncIterator[Any]:
    """Open a session that reads at a time; with `snapshot` and no time, at one of its own."""
    session = await awaited(client.start_session(snapshot=at is not None if snapshot is None else snapshot))
    if at is not None:
        set_time(session, at)
    try:
        yield session
    finally:
        with suppress(PyMongoError):
            await session.end_session()


async def take(client: Any, collection: Any) -> str | None:
    """Take a snapshot of a collection; None where the server has none."""
    async with reading_at(client, None, snapshot=True) as session:
        try:
            plain = collection.with_options(codec_options=CODEC)
            await plain.find_one({}, {"_id": 1}, session=session, max_time_ms=MAX_TIME_MS)
        except PyMongoError as error:
            if no_snapshots(error):
                return None
            raise
        return time_of(session)


async def still_kept(client: Any, collection: Any, views: Sequence[str], oldest_s: float) -> str | None:
    """Return the first of some times at which the collection can still be read; None: at none.

    Units: `oldest_s` in seconds of the epoch: none that lies before is looked at.
    """
    for at in views:
        try:
            if timestamp_of(at).time < oldest_s:
                continue
            async with reading_at(client, at) as session:
                plain = collection.with_options(codec_options=CODEC)
                await plain.find_one({}, {"_id": 1}, session=session, max_time_ms=KEPT_TIME_MS)
        except (ValueError, OverflowError):  # another version's
            continue
        except PyMongoError as error:
            if not no_snapshots(error) and not isinstance(error, ExecutionTimeout):
                raise
            continue
        return at
    return None


# Private door: the drivers choose a snapshot's time at a session's first read and keep it in an attribute of
# their own; to read one time by several sessions, and in several processes, there is no other way in.
def time_of(session: Any) -> str | None:
    """Return the time at which a session reads."""
    time = getattr(_inner(session), "_snapshot_time", None)
    return None if time is None else f"{time.time}.{time.inc}"


def set_time(session: Any, at: str) -> None:
    """Let a session read at a time that another one has chosen."""
    inner = _inner(session)
    assert hasattr(inner, "_snapshot_time"), "the driver keeps a snapshot's time in another place now"
    inner._snapshot_time = timestamp_of(at)


def timestamp_of(at: str) -> Timestamp:
    """Return the time that `time_of` gave."""
    seconds, _, increment = at.partition(".")
    return Timestamp(int(seconds), int(increment))


def _inner(session: Any) -> Any:
    """Return the driver's own session; Motor wraps it."""
    return getattr(session, "delegate", session)
