"""Sees that a transaction reads what the run began with: relations locked first, then looked at.

Invariant: once a transaction is steady, every relation that the source's statement reads is locked in it, and
none was emptied or written anew behind its snapshot; so what it reads is whole until it ends.
"""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from connectors.postgres.errors import said
from connectors.postgres.settings import by_catalogs, looking
from connectors.postgres.sql import Shape, explain_sql
from connectors.postgres.standing import ColumnFact, RelationFact, Standing, is_within
from engine.errors import JobError

STEADY_TRIES = 5
"""How often a snapshot is taken anew because a relation was written anew before it could be locked."""

FIRST_OID = 16_384
"""Below it are the system's own relations. Source: PostgreSQL, src/include/access/transam.h."""

LOG_WRITTEN_S, LOG_POLL_S = 30.0, 0.05
"""Three times the longest wal_writer_delay. Source: PostgreSQL documentation, "Asynchronous Commit"."""

LOCK_TIMEOUT = "55P03"
"""lock_not_available. Source: PostgreSQL documentation, appendix A."""

# The file node by our snapshot, and the one that statements open: what was truncated or rewritten after the
# snapshot has another, and its rows are out of the snapshot's sight. Partitions that the planner needn't
# look at aren't locked, and aren't read.
_LOCKED = f"""
SELECT c.oid::int8, format('%I.%I', n.nspname, c.relname) AS name, c.relkind::text AS kind,
       nullif(c.relfilenode, 0)::int8 AS seen, pg_relation_filenode(c.oid)::int8 AS storage,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) > 0 ELSE false END AS filled,
       CASE WHEN c.relkind = 'v' THEN md5(pg_get_viewdef(c.oid)) END AS definition,
       EXISTS (SELECT FROM pg_inherits AS h WHERE h.inhrelid = c.oid) AS child,
       c.relpersistence <> 'u' AS logged
FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND c.oid >= {FIRST_OID}
  AND c.relkind IN ('r', 'p', 'm', 'v', 'f')
  AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
GROUP BY c.oid, n.nspname ORDER BY c.oid
"""
# What a type is made of, down to what the system itself brings. OFFSET 0 keeps catalogs from being scanned.
_MADE_OF = f"""
WITH RECURSIVE made_of (top, type) AS (
    SELECT DISTINCT a.atttypid, a.atttypid FROM pg_attribute AS a
    WHERE a.attrelid = ANY ($1::int8[]::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
      AND a.atttypid >= {FIRST_OID}
    UNION
    SELECT m.top, p.type FROM made_of AS m JOIN pg_type AS t ON t.oid = m.type CROSS JOIN LATERAL (
        SELECT t.typelem UNION ALL SELECT t.typbasetype
        UNION ALL SELECT r.rngsubtype FROM pg_range AS r WHERE r.rngtypid = t.oid
        UNION ALL SELECT c.atttypid FROM pg_attribute AS c
                  WHERE c.attrelid = t.typrelid AND c.attnum > 0 AND NOT c.attisdropped
        OFFSET 0
    ) AS p (type) WHERE p.type >= {FIRST_OID}
)
"""
_COLUMNS = f"""
{_MADE_OF}, labels AS (
    SELECT m.top, m.type, l.place, l.label FROM made_of AS m JOIN pg_type AS t ON t.oid = m.type
    CROSS JOIN LATERAL (
        SELECT e.enumsortorder::float8 AS place, e.enumlabel::text AS label FROM pg_enum AS e
        WHERE e.enumtypid = t.oid
        UNION ALL SELECT c.attnum::float8, format('%s %s', c.attnum, c.attname) FROM pg_attribute AS c
                  WHERE c.attrelid = t.typrelid AND c.attnum > 0 AND NOT c.attisdropped
        OFFSET 0
    ) AS l
)
SELECT a.attrelid::int8 AS relation, a.attname::text AS name, a.attnum::int4 AS number,
       CASE WHEN n.nspname = 'pg_catalog' THEN t.typname::text ELSE t.oid::text END AS type,
       a.atttypmod AS typmod, a.attcollation::int8 AS collation,
       ARRAY(SELECT l.label FROM labels AS l WHERE l.top = t.oid ORDER BY l.type, l.place) AS labels
FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
JOIN pg_namespace AS n ON n.oid = t.typnamespace
WHERE a.attrelid = ANY ($1::int8[]::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
# By the transaction's snapshot, while values are printed by the names that they have now.
_ENUMS = f"""
{_MADE_OF}
SELECT format_type(e.enumtypid, NULL) AS type, array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS labels
FROM pg_enum AS e WHERE e.enumtypid IN (SELECT m.type FROM made_of AS m) GROUP BY e.enumtypid
"""
# Of the latest catalogs, and by no cast that somebody made.
_NAMES_NOW = """
SELECT ARRAY(SELECT format('%s', e.value)
             FROM unnest(enum_range(NULL::{type})) WITH ORDINALITY AS e (value, place) ORDER BY e.place)
"""
_SERVER = """
SELECT d.oid::int8 AS database, pg_is_in_recovery() AS standby,
       txid_snapshot_xmin(txid_current_snapshot())::int8 AS horizon
FROM pg_database AS d WHERE d.datname = current_database()
"""
POSITION = """
SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
        - '0/0'::pg_lsn)::int8
"""
_NO_POSITION = ("0A000", "55000")
"""feature_not_supported, object_not_in_prerequisite_state: Aurora's answers, on readers, and where wal_level
isn't logical. Source: mackerelio/mackerel-agent-plugins#804, ankane/distribute_reads#46."""
_ORDERS = """
SELECT n.nspname::text || '.' || c.collname::text AS name,
       CASE WHEN c.collprovider = 'd' THEN {default}
            ELSE coalesce(pg_collation_actual_version(c.oid)::text, '') END AS version
FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace
WHERE c.oid = ANY ($1::int8[]::oid[]) ORDER BY 1
"""
DATABASE_COLLATION_SINCE = 15
"""The major version that knows which version the database's own collation has."""

# Rows whose transaction began before the run are the rows that were there. A frozen row keeps its id, and one
# that has gone round shows an age below zero: it is old. Both ages are counted from the same id: others that
# are open have ids, too, which no snapshot's end tells of.
_OLD_ROW = "SELECT EXISTS (SELECT FROM ONLY {name} WHERE age(xmin) > age('{horizon}'::xid) OR age(xmin) < 0)"
_NEWEST = "SELECT txid_snapshot_xmax(txid_current_snapshot())::int8"
FIRST_XID = 3
"""The first id of an ordinary transaction, also where the numbers begin again.

Source: PostgreSQL, src/include/access/transam.h, FirstNormalTransactionId.
"""
AGE_MAX = 2**31 - 1
"""Beyond it ages of transactions mean nothing.

Source: PostgreSQL documentation, "Preventing Transaction ID Wraparound Failures".
"""

_HOLDERS = f"""
SELECT format('%I.%I', n.nspname, c.relname) AS relation, l.pid, l.granted,
       coalesce(a.application_name, '') AS who, coalesce(a.state, 'unknown') AS state,
       to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
       pg_blocking_pids(l.pid) AS behind
FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.mode = 'AccessExclusiveLock' AND c.oid >= {FIRST_OID} AND c.relkind IN ('r', 'p', 'm', 'v', 'f')
  AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
ORDER BY l.granted DESC, l.pid LIMIT 3
"""


async def lock(connection: Any, shape: Shape) -> str:
    """Lock all that the source's statement reads, until the transaction ends; return the planner's plan."""
    return str(await connection.fetchval(explain_sql(shape)))


async def look(connection: Any, shape: Shape, server: str) -> Standing | None:
    """Return what the run reads, as this transaction sees it. Call behind `lock`.

    None: something that is locked was emptied or written anew behind the transaction's snapshot.
    """
    async with by_catalogs(connection):
        rows: Sequence[Mapping[str, Any]] = await connection.fetch(_LOCKED)
        if any(row["seen"] != row["storage"] for row in rows):
            return None
        parents = [row["oid"] for row in rows if not row["child"]]
        columns: dict[int, list[ColumnFact]] = {}
        for row in await connection.fetch(_COLUMNS, parents):
            fact = ColumnFact(
                row["name"], row["number"], row["type"], row["typmod"], row["collation"], tuple(row["labels"])
            )
            columns.setdefault(row["relation"], []).append(fact)
        about = await connection.fetchrow(_SERVER)
        orders = await _orders(connection, shape, columns)
        position = await _position(connection)
    relations = tuple(
        RelationFact(
            **{name: told for name, told in row.items() if name != "seen"},
            columns=tuple(columns.get(row["oid"], ())),
        )
        for row in rows
    )
    return Standing(
        server, about["database"], about["standby"], position, about["horizon"], relations, orders
    )


async def _position(connection: Any) -> int:
    """Return how far the log goes, 0 where the server doesn't tell.

    Call last within `by_catalogs`, whose end takes back what the server didn't tell.
    """
    try:
        return int(await connection.fetchval(POSITION))
    except asyncpg.PostgresError as error:
        if error.sqlstate not in _NO_POSITION:
            raise
        return 0


async def settle_numbers(connection: Any, standing: Standing) -> None:
    """Wait until a crash can't make the server give out again a transaction's number below the horizon.

    A transaction that writes only unlogged rows commits before its log is written; a crash then forgets its
    number, and rows that come later would seem as old as the run.
    Source: PostgreSQL, src/backend/access/transam/xact.c, RecordTransactionCommit.
    """
    unlogged = [relation.name for relation in standing.relations if not relation.logged]
    if standing.standby or not unlogged:
        return
    if not standing.position:
        raise JobError(
            f"source: {unlogged[0]} is UNLOGGED, and this server doesn't tell how far its log is written, so"
            " what a crash leaves of it can't be told: ALTER TABLE … SET LOGGED, or read a copy that is"
        )
    async with by_catalogs(connection):
        written = await connection.fetchval("SELECT pg_current_wal_insert_lsn()::text")
        for _ in range(round(LOG_WRITTEN_S / LOG_POLL_S)):
            if await connection.fetchval(f"SELECT pg_current_wal_flush_lsn() >= '{written}'::pg_lsn"):
                return
            await asyncio.sleep(LOG_POLL_S)


async def emptied(connection: Any, suspects: Sequence[RelationFact], horizon: int) -> str | None:
    """Say which relation has no row as old as the run; one that may not be looked at counts.

    Call in a transaction that has locked them.
    """
    async with by_catalogs(connection):
        counted = await counts(connection, horizon)
    for relation in suspects:
        old_row = _OLD_ROW.format(name=relation.name, horizon=told_by(horizon))
        try:
            async with by_catalogs(connection):
                if counted and not await connection.fetchval(old_row):
                    return f"{relation.name} was truncated, or written anew by other rows"
        except asyncpg.InsufficientPrivilegeError:
            return (
                f"{relation.name} was truncated or written anew, and this role may not see which:"
                f" GRANT SELECT ON {relation.name} to it"
            )
    return None


async def counts(connection: Any, horizon: int) -> bool:
    """Say whether ages still tell what is older than a horizon. Call within `by_catalogs`."""
    return int(await connection.fetchval(_NEWEST)) - horizon < AGE_MAX


def told_by(horizon: int) -> int:
    """Return a horizon as an id without its epoch, of an ordinary transaction."""
    return max(horizon % 2**32, FIRST_XID)


async def renamed(connection: Any, standing: Standing) -> str | None:
    """Say which enum has printed its values by other names since the transaction's snapshot was taken.

    An ALTER TYPE waits for nobody who reads. Call in the transaction, behind what it has read.
    """
    told = [each.oid for each in standing.relations if any(column.labels for column in each.columns)]
    if not told:
        return None
    async with by_catalogs(connection):
        for enum in await connection.fetch(_ENUMS, told):
            now = await connection.fetchval(_NAMES_NOW.format(type=enum["type"]))
            if not is_within(enum["labels"], now):
                return f"values of the enum {enum['type']} were renamed or put in another order"
    return None


async def holders(connection: Any) -> str:
    """Say who holds locks that keep readers out, or waits for one; an empty text when nobody is seen.

    Call outside a transaction.
    """
    try:
        async with looking(connection):
            rows = await connection.fetch(_HOLDERS)
    except asyncpg.PostgresError as error:
        return f"who holds it can't be seen: {said(error)}"
    return "; ".join(_told(row) for row in rows)


def _told(row: Mapping[str, Any]) -> str:
    who = f"pid {row['pid']} ({row['who'] or 'no application name'}, {row['state']}, since {row['since']})"
    if row["granted"]:
        return f"{row['relation']} is locked by {who}"
    behind = ", ".join(f"pid {pid}" for pid in row["behind"])
    return (
        f"{who} waits for a lock on {row['relation']} that {behind or 'somebody'} holds, and keeps others out"
    )


async def _orders(
    connection: Any, shape: Shape, columns: Mapping[int, Sequence[ColumnFact]]
) -> tuple[tuple[str, str], ...]:
    """Return the collations of columns that are called as key columns are, with their versions."""
    names = {key.name for key in shape.key}
    wanted = {fact.collation for facts in columns.values() for fact in facts if fact.name in names} - {0}
    if not wanted:
        return ()
    known = connection.get_server_version().major >= DATABASE_COLLATION_SINCE
    default = (
        "coalesce((SELECT pg_database_collation_actual_version(d.oid)::text FROM pg_database AS d"
        " WHERE d.datname = current_database()), '')"
        if known
        else "''"
    )
    rows = await connection.fetch(_ORDERS.format(default=default), sorted(wanted))
    return tuple((row["name"], row["version"]) for row in rows)
