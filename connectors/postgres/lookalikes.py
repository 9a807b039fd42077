"""Servers that speak PostgreSQL's protocol and aren't PostgreSQL: told by what they say of themselves.

Invariant: what is refused is refused before anything is read, in one sentence that says what is lacking.
"""

from collections.abc import Collection, Mapping
from typing import Any

import asyncpg

from connectors.postgres.settings import BEGIN_TIMEOUT_S
from engine.errors import JobError

NAMES: Mapping[str, str] = {
    "CockroachDB": "it has no LOCK TABLE, no exported snapshots and other system functions",
    "Redshift": "it has no COPY to a client, no exported snapshots and no locks that keep a table as it is",
    "Materialize": "it has no LOCK TABLE and no exported snapshots",
    "RisingWave": "it has no LOCK TABLE and no exported snapshots",
    "QuestDB": "it has no transactions that see one snapshot",
    "CrateDB": "it has no transactions that see one snapshot",
}
"""What a name in `version()` means. Source: each product's manual, "PostgreSQL compatibility"."""
NEEDED = (
    *("pg_export_snapshot", "pg_is_in_recovery", "pg_relation_filenode"),
    *("pg_table_size", "txid_current_snapshot"),
)
"""Functions by which a source is held to be the same, and read as of one moment; Aurora DSQL lacks some."""
_WAY_OUT = "load from a PostgreSQL that it is copied to, or from an export of it"

_VERSION = "SELECT pg_catalog.version()"
_THERE = "SELECT proname::text FROM pg_catalog.pg_proc WHERE proname = ANY($1::pg_catalog.text[])"


async def check(connection: Any) -> None:
    """See that the server is a PostgreSQL. Raises: JobError when it only looks like one."""
    try:
        # Outside of a transaction a pooler may change servers.
        await connection.execute("BEGIN", timeout=BEGIN_TIMEOUT_S)
        version = str(await connection.fetchval(_VERSION))
        there = {row[0] for row in await connection.fetch(_THERE, NEEDED)}
        await connection.execute("ROLLBACK")
    except asyncpg.PostgresError:  # of a pooler or of a server that is going: what follows tells
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        return
    if (why := difference(version, there)) is not None:
        raise JobError(f"source.url: {why}; {_WAY_OUT}")


def difference(version: str, functions: Collection[str]) -> str | None:
    """Say why a server can't be read; None when it is a PostgreSQL.

    Shape: `version` as version() says it, `functions` those of NEEDED that there are.
    """
    for name, lacks in NAMES.items():
        if name.lower() in version.lower():
            return f"this is {name}, which speaks PostgreSQL's language and can't be read as one: {lacks}"
    missing = [name for name in NEEDED if name not in functions]
    if missing:
        return (
            "this server speaks PostgreSQL's language and can't be read as one: it has no"
            f" {', '.join(missing)} (Aurora DSQL is such a server)"
        )
    return None
