"""The watermark of catch-up runs: from when on documents may have changed unseen, and the query for those.

Invariant: a change that this run couldn't see, though its watermark field holds an earlier time, has a time
after the watermark that the next run reads from.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from connectors.mongodb.bson_values import iso_date
from engine.errors import JobError
from engine.job.watermark import REREAD_ROWS_MAX, Watermark

COUNT_MS = 1_000
"""How long documents within the overlap are counted: an index answers at once, without one nothing does."""
TRANSACTION_LIFETIME_S = 60
"""Source: MongoDB manual, transactionLifetimeLimitSeconds, its default."""


async def server_time(client: Any) -> datetime:
    """Return the server's clock; to be read before the snapshot is taken."""
    hello = await client.admin.command("hello")
    now: datetime = hello["localTime"].replace(tzinfo=UTC)
    return now


async def next_watermark(client: Any, now: datetime, at: str | None) -> str:
    """Return the time from which the next run must read.

    MongoDB doesn't show when its open transactions began, but ends each after a limit: nothing that isn't
    visible at a time was begun before that. `now` is the server's clock; `at` the snapshot's time as
    `seconds.increment`, which is what most members have: it stands still while too many of them are away.
    """
    try:
        found = await client.admin.command({"getParameter": 1, "transactionLifetimeLimitSeconds": 1})
        lifetime = int(found["transactionLifetimeLimitSeconds"])
    except OperationFailure:  # a role without this right, or a service that hides it: the default holds
        lifetime = TRANSACTION_LIFETIME_S
    if at is not None:
        now = min(now, datetime.fromtimestamp(int(at.partition(".")[0]), UTC))
    oldest = now - timedelta(seconds=lifetime)
    return iso_date(int(oldest.timestamp() * 1000))


def moment_of(since: str) -> datetime:
    """Return the time of a checkpoint's watermark. Raises: JobError when it is none."""
    try:
        return datetime.fromisoformat(since)
    except ValueError as error:
        raise JobError(
            f"source.watermark: the checkpoint's watermark {since!r} is no time; run with --fresh"
        ) from error


def changed_since(watermark: Watermark, since: str) -> Mapping[str, Any]:
    """Return the query for what may have changed since: comparisons see dates alone, so all else is read too.

    It begins the overlap earlier: so far the clocks of those who write, and the way of a write to the server,
    may lag the server's.

    Raises: JobError when the watermark of the checkpoint is no time.
    """
    moment = moment_of(since)
    field, earliest = watermark.column, moment - timedelta(seconds=watermark.overlap_s)
    return {"$or": [{field: {"$gte": earliest}}, {field: {"$not": {"$type": "date"}}}]}


async def within_overlap(collection: Any, watermark: Watermark, end: datetime) -> int | None:
    """Count the documents that the overlap before a time holds, up to a limit; None when that takes long."""
    earliest = end - timedelta(seconds=watermark.overlap_s)
    query = {watermark.column: {"$gte": earliest, "$lt": end}}
    try:
        found: int = await collection.count_documents(query, limit=REREAD_ROWS_MAX + 1, maxTimeMS=COUNT_MS)
    except PyMongoError:  # nothing depends on it
        return None
    return found
