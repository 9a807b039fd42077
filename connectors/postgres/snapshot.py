"""The run's one view of the source: the watermark that the next run needs, and the exported snapshot.

Invariant: the watermark is taken before the snapshot, and no transaction that the snapshot can't see has
fixed a `now()` before it.
"""

import asyncio
from typing import Any

import asyncpg

from connectors.postgres.session import Exported, begin, seen
from connectors.postgres.settings import looking
from engine.errors import JobError
from engine.frozen import dataclass

SETTLE_S = 0.2
"""How long to wait between reading the clock and looking at the open transactions. A transaction takes its
`now()` a moment before it shows up in pg_stat_activity; this lets it arrive there."""

_CLOCK = """
SELECT to_char((clock_timestamp() - $1::float8 * interval '1 second') AT TIME ZONE 'UTC',
               'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
"""

# Not only transactions that have written: one that has only read so far has fixed its now() all the same.
# A statement that has begun, but whose transaction isn't shown yet, counts from its start. Autovacuum and
# replication senders never set a watermark.
_OLDEST = """
SELECT to_char(least(min(coalesce(xact_start, CASE WHEN state = 'active' THEN query_start END)),
           $1::text::timestamptz) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS oldest,
       coalesce(bool_or(state = 'disabled'), false) AS hidden
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND backend_type NOT IN ('autovacuum worker', 'walsender')
"""
_SEES_ALL = """
SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
    OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
"""
_PREPARED = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"


@dataclass(frozen=True, slots=True)
class NextWatermark:
    """The watermark for the next catch-up run, or why there is none."""

    value: str | None
    notice: str | None = None


async def start_of_catching_up(connection: Any) -> str | None:
    """Return from when on a later catch-up run would have to read, for a job that has no watermark yet.

    None where that can't be known. Nobody waits for it: the watermark lies before the moment of looking by
    what `next_watermark` waits. Call outside a transaction.
    """
    try:
        async with looking(connection):
            return (await _next(connection, None, waits=False)).value
    except (JobError, asyncpg.PostgresError):  # nobody has asked for it
        return None


async def next_watermark(connection: Any, since: str | None) -> NextWatermark:
    """Return the time from which the next catch-up run misses nothing. Call outside a transaction.

    Where no such time can be known, it is `since`: this run's own lower bound still holds.
    Raises: JobError when the role may not see other sessions' transactions.
    """
    async with looking(connection):
        return await _next(connection, since, waits=True)


async def _next(connection: Any, since: str | None, *, waits: bool) -> NextWatermark:
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        return NextWatermark(
            since,
            "The source is a standby, which can't see the transactions open on its primary, so the watermark"
            " doesn't advance; read from the primary to make catch-up runs cheaper.",
        )
    if not await connection.fetchval(_SEES_ALL):
        role = await connection.fetchval("SELECT current_user::text")
        raise JobError(
            "source.watermark: this role can't see other sessions' open transactions, so commits could be"
            f' missed; run GRANT pg_read_all_stats TO "{role}"'
        )
    clock = await connection.fetchval(_CLOCK, 0.0 if waits else SETTLE_S)
    if waits:
        await asyncio.sleep(SETTLE_S)
    seen = await connection.fetchrow(_OLDEST, clock)
    if seen["hidden"]:
        return NextWatermark(
            since,
            "Some sessions of the source run with track_activities off, which hides when their transactions"
            " began, so the watermark doesn't advance; ALTER DATABASE … SET track_activities = on.",
        )
    # Only now: a transaction that was prepared after the look above has been seen by it.
    if await connection.fetchval(_PREPARED):
        return NextWatermark(
            since,
            "Prepared transactions are open in the source and hide when they began, so the watermark doesn't"
            " advance; COMMIT PREPARED or ROLLBACK PREPARED them (pg_prepared_xacts) and run again.",
        )
    return NextWatermark(str(seen["oldest"]))


async def export(connection: Any) -> Exported | None:
    """Export the snapshot of the transaction that is open; None where the server can't.

    One that was imported may be exported again, and that name outlives the session from which it came.
    """
    try:
        name = str(await connection.fetchval("SELECT pg_catalog.pg_export_snapshot()"))
    except asyncpg.PostgresError:
        await connection.execute("ROLLBACK")
        await begin(connection, None)
        return None
    return Exported(name, await seen(connection))


async def server_identity(connection: Any, place: str) -> dict[str, str]:
    """Return what tells this server and database from every other. Call outside a transaction."""
    try:
        async with looking(connection):
            server = str(await connection.fetchval("SELECT system_identifier FROM pg_control_system()"))
    except asyncpg.PostgresError:
        server = place
    async with looking(connection):
        return {"server": server, "database": str(await connection.fetchval("SELECT current_database()"))}
