"""Says what a statement waits for while it waits for somebody's lock, from a connection of its own.

Invariant: looking changes nothing of what is waited for; where it can't look, nothing is said of it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from connectors.postgres.session import abandon, connect
from connectors.postgres.settings import LOCK_WAIT_S, looking
from engine.errors import BackfillError
from engine.tasks import ended

TOLD_AFTER_S = 3.0
"""A lock that a DDL holds is given in a moment; who waits longer wants to know why."""
LOOKED_EVERY_S = 5.0

log = logging.getLogger(__name__)

_WAITED_FOR = """
WITH waited AS (SELECT l.relation FROM pg_locks AS l WHERE l.pid = $1 AND NOT l.granted LIMIT 1)
SELECT b.pid, coalesce(a.application_name, '') AS who, coalesce(a.state, 'unknown') AS state,
       to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
       (SELECT format('%I.%I', n.nspname, c.relname) FROM waited AS w JOIN pg_class AS c ON c.oid = w.relation
        JOIN pg_namespace AS n ON n.oid = c.relnamespace) AS relation,
       (SELECT string_agg(DISTINCT regexp_replace(h.mode, 'Lock$', ''), ', ') FROM pg_locks AS h
        JOIN waited AS w ON w.relation = h.relation WHERE h.pid = b.pid AND h.granted) AS mode
FROM unnest(pg_blocking_pids($1)) AS b(pid) LEFT JOIN pg_stat_activity AS a ON a.pid = b.pid
ORDER BY b.pid LIMIT 3
"""


@asynccontextmanager
async def waits_told(connection: Any, url: str) -> AsyncIterator[None]:
    """Say who holds what a statement of this block waits for, once it has waited for a while."""
    looks = asyncio.create_task(_look(connection.get_server_pid(), url))
    try:
        yield
    finally:
        await ended(looks)


async def _look(pid: int, url: str) -> None:
    await asyncio.sleep(TOLD_AFTER_S)
    other, before = None, ""
    try:
        other = await connect(url)
        while True:
            async with looking(other):
                text = "; ".join(_told(row) for row in await other.fetch(_WAITED_FOR, pid))
            if text and text != before:
                log.warning("waiting, up to %.0f s, for a lock: %s", LOCK_WAIT_S, text)
            before = text
            await asyncio.sleep(LOOKED_EVERY_S)
    except (BackfillError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        log.debug("who holds a lock can't be seen: %s", error)
    finally:
        if other is not None:
            await abandon(other)


def _told(row: Mapping[str, Any]) -> str:
    who = f"pid {row['pid']} ({row['who'] or 'no application name'}, {row['state']}, since {row['since']})"
    what = row["relation"] or "something else"
    return f"{who} holds {what} ({row['mode']})" if row["mode"] else f"{who} is before us for {what}"
