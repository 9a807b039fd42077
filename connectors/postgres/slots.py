"""The slot behind which the server keeps its log for jobs: how it stands, what became of it, who uses it.

Invariant: a slot that lacks any of the log that the job hasn't read is never taken for whole.
"""

from collections.abc import Collection, Sequence
from typing import Any

from connectors.postgres.publishing import MISSED
from connectors.postgres.quoting import literal
from connectors.postgres.section import LogCatchUp
from connectors.postgres.session import reading_slot
from connectors.postgres.settings import by_catalogs, looking
from engine.errors import JobError
from engine.frozen import dataclass

PLUGIN = "pgoutput"
BUSY_S = 15.0
"""How long a slot is waited for that somebody uses. Who reads it asks for more several times a second: a
session that is silent for so long is what a machine that is gone has left."""
_SLOT = """
SELECT s.plugin::text AS plugin, s.database::text AS database, s.temporary, u.pid AS active_pid, s.wal_status,
       s.confirmed_flush_lsn::text AS confirmed, (s.confirmed_flush_lsn - '0/0')::int8 AS position,
       to_jsonb(s) ->> 'invalidation_reason' AS reason, to_jsonb(s) ->> 'conflicting' AS conflicting,
       CASE WHEN NOT pg_is_in_recovery()
            THEN pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::int8 END AS held_back,
       u.application_name AS used_by
FROM pg_replication_slots AS s LEFT JOIN LATERAL (
    SELECT a.pid, a.application_name FROM pg_stat_activity AS a
    WHERE a.pid <> ALL ($4::text::int4[]) AND (a.pid = s.active_pid
       OR (a.application_name = $2 AND a.datname = s.database AND a.pid <> pg_backend_pid()
           AND coalesce(clock_timestamp() - a.state_change < $3::float8 * interval '1 second', true)))
    ORDER BY a.pid = s.active_pid DESC LIMIT 1) AS u ON true
WHERE s.slot_name = $1
"""

_NOW = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END::text"


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot as the server tells of it. Units: `position` and `held_back` in bytes of WAL."""

    plugin: str | None
    database: str | None
    temporary: bool
    active_pid: int | None
    wal_status: str | None
    confirmed: str | None
    position: int | None
    reason: str | None
    conflicting: str | None
    held_back: int | None
    used_by: str | None

    @property
    def lost(self) -> bool:
        """Whether the log that it stands for is gone."""
        return self.wal_status == "lost" or self.reason is not None or self.conflicting == "true"


async def slot_of(connection: Any, name: str, own: Collection[int] = ()) -> Slot | None:
    """Return a slot, or None; it is in use between two peeks, too. Call inside a transaction.

    `own`: the sessions of this process that use it, which count for nobody.
    """
    async with by_catalogs(connection):
        # As text: for an array the driver asks for its type, each time.
        owned = f"{{{','.join(map(str, own))}}}"
        row = await connection.fetchrow(_SLOT, name, reading_slot(name), BUSY_S, owned)
    return None if row is None else Slot(*row)


async def log_position(connection: Any) -> str | None:
    """Return how far the server's log has got now. Call outside a transaction."""
    async with looking(connection):
        position = await connection.fetchval(_NOW)
    return None if position is None else str(position)


def let_go_to(durable: int, others: Sequence[int] | None) -> int | None:
    """Return up to where a slot may be moved for a job and others that need it; None: nowhere for now.

    `durable`: all before it this job has written; `others`: from where on they need it, None where that can't
    be told. Units: bytes of WAL.
    """
    return None if others is None else min((durable, *others))


def check_slot(catch_up: LogCatchUp, found: Slot | None, database: str, since: int | None) -> None:
    """See that a slot has all of the log behind a position; None: that it can be used. Raises: JobError."""
    at = f"source.catch_up.slot: replication slot {catch_up.slot}"
    if found is None:
        if since is None:
            return
        raise JobError(
            f"{at} isn't there: it was dropped, or a standby that never had it was promoted; {MISSED}"
        )
    if found.plugin != PLUGIN or found.database != database or found.temporary:
        raise JobError(
            f"{at} is another's ({found.plugin or 'physical'}, database {found.database}); name one that"
            " isn't there yet"
        )
    if since is None:
        return
    if found.lost:
        why = found.reason or found.wal_status
        raise JobError(f"{at} is lost ({why}): the server threw away log that wasn't read yet; {MISSED}")
    if found.position is not None and found.position > since:
        raise JobError(
            f"{at} stands at {found.confirmed}, beyond what this job has read: somebody else moved it on, or"
            f" jobs that share it did by a file or a --state that doesn't know this one; {MISSED}"
        )


def slot_sql(catch_up: LogCatchUp, version: int) -> str:
    """Return the query that makes the slot; from 17 on it may fail over to a standby."""
    failover = ", failover => true" if version >= 17 else ""
    name = literal(catch_up.slot)
    return f"SELECT pg_catalog.pg_create_logical_replication_slot({name}, '{PLUGIN}'{failover})"
