"""What a relation's catalogs tell about reading all of it: how large it is, and what will make that slow.

Invariant: reads only catalogs.
"""

from dataclasses import dataclass
from typing import Any

from connectors.postgres import catalog
from connectors.postgres.errors import speaking
from connectors.postgres.section import PostgresSection
from connectors.postgres.settings import by_catalogs

SNAPSHOT_LONG_S = 3_600.0
"""From how long on it is told that a snapshot is held."""

_SIZE = """
SELECT CASE WHEN c.relkind = 'p' THEN (SELECT coalesce(sum(pg_table_size(relid)), 0)
                                       FROM pg_partition_tree(c.oid) WHERE isleaf)
            WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) END::int8
FROM pg_class AS c WHERE c.oid = $1::int8::oid
"""

LOG_COUNTED_SINCE = 14
"""The major version that counts what it writes. Source: PostgreSQL 14, release notes, pg_stat_wal."""
LOG_COUNTED_MIN_S = 60.0
"""What was counted for a shorter time tells nothing of a day."""
_LOG_RATE = """
SELECT extract(epoch FROM clock_timestamp() - w.stats_reset)::float8 AS seconds, w.wal_bytes::float8 AS bytes,
       to_char(w.stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
FROM pg_stat_wal AS w
"""


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What is known of a source. Units: bytes of the table with its long values; None when unknown."""

    size_bytes: int | None
    warnings: tuple[str, ...]


async def facts(connection: Any, section: PostgresSection) -> TableFacts:
    """Look at the catalogs. The section has been checked before."""
    warnings: list[str] = []
    if await connection.fetchval("SELECT pg_catalog.pg_is_in_recovery()"):
        warnings.append(
            "The source is a standby: it cancels reads that are in the way of its replay; raise"
            " max_standby_streaming_delay or set hot_standby_feedback = on for the time of the load."
        )
    relation = None if section.table is None else await catalog.relation(connection, section.table)
    if relation is None:
        return TableFacts(None, tuple(warnings))
    primary = next((index.columns for index in relation.unique_indexes if index.primary), ())
    key = section.key or primary
    if key and relation.kind in ("r", "p", "m") and tuple(key) not in {
        columns[: len(key)] for columns in relation.leading_columns
    }:  # fmt: skip
        warnings.append(
            f"No index begins with source.key ({', '.join(key)}), so each segment scans and sorts the table;"
            " create one, or choose columns that have one."
        )
    async with by_catalogs(connection):
        size = await connection.fetchval(_SIZE, relation.oid)
    return TableFacts(size, tuple(warnings))


async def log_rate(connection: Any) -> tuple[float, str] | None:
    """Return how many bytes of log a second the server wrote on average, and since when; None: untold.

    Call inside a transaction.
    """
    if connection.get_server_version().major < LOG_COUNTED_SINCE:
        return None
    async with speaking("source"), by_catalogs(connection):
        row = await connection.fetchrow(_LOG_RATE)
    if row is None or row["since"] is None or row["seconds"] < LOG_COUNTED_MIN_S:
        return None
    return row["bytes"] / row["seconds"], row["since"]


def outlasts(load: str) -> str:
    """Say what a long load means for the server. `load`: how long it takes, in words."""
    return f"The load reads one snapshot for about {load}, which holds back vacuum in the source for as long."
