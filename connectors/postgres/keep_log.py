"""Has the server keep its log for jobs, and let it go again: publication first, then the slot.

Invariant: when a job's log is kept and open writers have been waited for, every snapshot sees all
transactions whose commit stands before the position from which on it is kept; what others need stays.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

import asyncpg

from connectors.postgres.errors import speaking
from connectors.postgres.logged import Logged
from connectors.postgres.publishing import Served, extend_sql, publish_sql
from connectors.postgres.quoting import identifier, literal
from connectors.postgres.section import LogCatchUp, PostgresSection
from connectors.postgres.session import abandon, begin, connect
from connectors.postgres.settings import looking, settle
from connectors.postgres.slots import BUSY_S, Slot, log_position, slot_of, slot_sql
from connectors.postgres.snapshots import Snapshot
from connectors.postgres.waits import waits_told
from engine.errors import JobError, PermanentError, TransientError
from engine.tasks import ended

POLL_S, TOLD_S = 0.2, 3.0
BUSY_POLL_S = 0.1
"""How often it is seen whether a slot is free."""
_SEE_ANEW = "SELECT pg_catalog.pg_stat_clear_snapshot()"
"""A transaction sees the sessions of the moment in which it first looked.

Source: PostgreSQL documentation, "The Cumulative Statistics System".
"""
_SEE_WHO_IS_GONE = "SET LOCAL client_connection_check_interval = '1s'"
"""Source: PostgreSQL documentation, "Error Handling and Logging", since 14."""
_WRITERS = """
SELECT pg_current_snapshot()::text AS snapshot,
       (SELECT p.gid || ' of ' || to_char(p.prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        FROM pg_prepared_xacts AS p ORDER BY p.prepared LIMIT 1) AS prepared,
       (SELECT 'pid ' || a.pid || ' (' || coalesce(a.application_name, '') || ')'
        FROM pg_stat_activity AS a WHERE a.backend_xid IS NOT NULL ORDER BY a.xact_start LIMIT 1) AS oldest
"""


async def free_slot(connection: Any, catch_up: LogCatchUp, own: Collection[int]) -> Slot | None:
    """Return the slot; one that a killed run's peek still holds is free in a moment. Raises: JobError.

    Call inside a transaction. `own`: sessions of this process, which share it.
    """
    slot = await slot_of(connection, catch_up.slot, own)
    for _ in range(round(BUSY_S / BUSY_POLL_S)):
        if slot is None or slot.active_pid is None:
            return slot
        await asyncio.sleep(BUSY_POLL_S)
        await connection.execute(_SEE_ANEW)
        slot = await slot_of(connection, catch_up.slot, own)
    if slot is None:
        return None
    raise JobError(
        f"source.catch_up.slot: replication slot {catch_up.slot} is in use by pid {slot.active_pid}"
        f" ({slot.used_by or 'no application name'}), and one process at a time goes by a slot, for all jobs"
        " that share it; end that, or name another slot and load again with --fresh"
    )


async def kept_from_now_on(
    url: str,
    catch_up: LogCatchUp,
    tables: Logged,
    served: Served,
    others: Sequence[str] | None,
    say: Callable[[str], None],
) -> str:
    """Publish what isn't published, make the slot, or move one on to now that nobody else needs.

    Returns the position from which on the log is kept. `others`: from where on other jobs need it, None where
    that isn't known.
    Raises: PermanentError, TransientError.
    """
    connection, beside = await connect(url), await connect(url)
    try:
        async with speaking("source.catch_up"):
            if not served.publication:
                await connection.execute(publish_sql(catch_up, tables))
                say(f"made publication {catch_up.published}")
            elif served.missing:
                await connection.execute(extend_sql(catch_up, served.missing))
                say(f"publication {catch_up.published} has {', '.join(served.missing)} from now on")
            return await _slot(connection, beside, url, catch_up, others, say)
    finally:
        await abandon(connection)
        await abandon(beside)


async def _slot(
    connection: Any,
    beside: Any,
    url: str,
    catch_up: LogCatchUp,
    others: Sequence[str] | None,
    say: Callable[[str], None],
) -> str:
    """Have the slot stand at the log's end, or before it where others need it; return that end."""
    async with looking(beside):
        slot = await slot_of(beside, catch_up.slot)
    if slot is not None and slot.lost:
        await connection.execute(f"SELECT pg_catalog.pg_drop_replication_slot({literal(catch_up.slot)})")
        slot = None
    if slot is None:
        version = connection.get_server_version().major
        await _begin_to_wait(connection)
        making = asyncio.create_task(connection.execute(slot_sql(catch_up, version)))
        try:
            async with waits_told(connection, url):
                while not making.done():
                    await asyncio.wait({making}, timeout=POLL_S)
                    if not making.done():
                        async with looking(beside):
                            _refuse_prepared(await beside.fetchrow(_WRITERS))
                await making
        finally:
            await ended(making)
        await connection.execute("COMMIT")
        say(f"made replication slot {catch_up.slot}")
        async with looking(beside):
            slot = await slot_of(beside, catch_up.slot)
        if slot is None or slot.confirmed is None:
            raise TransientError(f"source.catch_up.slot: replication slot {catch_up.slot} was dropped again")
        return slot.confirmed
    position = await log_position(connection)
    assert position is not None, "it is no standby, as has been checked"
    if others or others is None:
        say(f"replication slot {catch_up.slot} was there, and keeps what other jobs of this file need of it")
        return position
    await connection.execute(
        f"SELECT pg_catalog.pg_replication_slot_advance({literal(catch_up.slot)}, '{position}')"
    )
    say(f"replication slot {catch_up.slot} was there; what it kept is let go, since everything is loaded")
    return position


async def _begin_to_wait(connection: Any) -> None:
    """Begin a transaction for its settings alone: open writers are waited for longer than for a lock.

    A server that can see, while it waits, that the client is gone (killed, for instance) ends the wait then;
    else the slot would be in use as long as a writer stays open.
    """
    for see in (_SEE_WHO_IS_GONE, ""):
        await connection.execute("BEGIN")
        await settle(connection)
        try:
            await connection.execute(f"SET LOCAL lock_timeout = 0; {see}")
        except asyncpg.InvalidParameterValueError:  # a platform that can't
            await connection.execute("ROLLBACK")
        else:
            return


async def writers_waited_for(url: str, say: Callable[[str], None]) -> None:
    """Wait until every transaction that is open now has ended: its commit may stand before the slot already.

    The commit record is written first, and queries see it later, so that a snapshot could miss it.
    Raises: PermanentError, TransientError.
    """
    connection = await connect(url)
    try:
        async with speaking("source.catch_up"):
            await _ended(connection, say)
    finally:
        await abandon(connection)


async def _ended(connection: Any, say: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    began, told, upto = loop.time(), False, None
    while True:
        async with looking(connection):
            row = await connection.fetchrow(_WRITERS)
        snapshot = Snapshot.read(row["snapshot"])
        upto = snapshot.after if upto is None else upto
        if snapshot.before >= upto:
            return
        _refuse_prepared(row)
        if not told and loop.time() - began > TOLD_S:
            say(f"waiting for transactions that are open, the oldest of {row['oldest'] or 'a role unseen'}")
            told = True
        await asyncio.sleep(POLL_S)


def _refuse_prepared(row: Any) -> None:
    if row["prepared"] is not None:
        raise PermanentError(
            f"source.catch_up: the log can't be kept while prepared transaction {row['prepared']} is open;"
            " COMMIT PREPARED or ROLLBACK PREPARED it, then run again"
        )


async def held_back(section: PostgresSection) -> int | None:
    """Return the bytes of log that the server keeps for a job. Raises: as `let_go`."""
    assert section.catch_up is not None, "only for a job that goes by the log is something kept"
    connection = await connect(section.url.get_secret_value())
    try:
        async with speaking("source.catch_up"), looking(connection):
            slot = await slot_of(connection, section.catch_up.slot)
    finally:
        await abandon(connection)
    return None if slot is None else slot.held_back


async def let_go(sections: Sequence[PostgresSection]) -> list[str]:
    """Drop the slot of jobs, and its publication if it has nothing but their tables; say what was done."""
    section = sections[0]
    catch_up = section.catch_up
    assert catch_up is not None, "only a job that goes by the log has something to let go"
    connection = await connect(section.url.get_secret_value())
    said = []
    try:
        async with speaking("source.catch_up"):
            await begin(connection, None)
            slot = await slot_of(connection, catch_up.slot)
            tables = [
                table
                for each in sections
                for table in (each.table, *(child.table for child in each.embed.values()))
            ]
            others = await connection.fetch(_OTHERS, catch_up.published, tables)
            there = await connection.fetchval(_THERE, catch_up.published)
            await connection.execute("ROLLBACK")
            if slot is None:
                said.append(f"there is no replication slot {catch_up.slot}")
            else:
                await connection.execute(
                    f"SELECT pg_catalog.pg_drop_replication_slot({literal(catch_up.slot)})"
                )
                said.append(f"dropped replication slot {catch_up.slot}")
            if not there:
                said.append(f"there is no publication {catch_up.published}")
            elif others:
                named = ", ".join(row["name"] for row in others)
                said.append(f"left publication {catch_up.published}: it has {named}, too")
            else:
                await connection.execute(f"DROP PUBLICATION {identifier(catch_up.published)}")
                said.append(f"dropped publication {catch_up.published}")
    finally:
        await abandon(connection)
    return said


_THERE = (
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_publication AS p"
    " WHERE p.pubname OPERATOR(pg_catalog.=) $1::pg_catalog.text)"
)
_OTHERS = """
SELECT pg_catalog.format('%I.%I', t.schemaname, t.tablename) AS name
FROM pg_catalog.pg_publication_tables AS t
WHERE t.pubname OPERATOR(pg_catalog.=) $1::pg_catalog.text
  AND NOT EXISTS (SELECT FROM pg_catalog.unnest($2::pg_catalog.text[]) AS u (name)
      WHERE pg_catalog.to_regclass(u.name) OPERATOR(pg_catalog.=)
            pg_catalog.format('%I.%I', t.schemaname, t.tablename)::pg_catalog.regclass)
LIMIT 3
"""
