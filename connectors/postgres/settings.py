"""What a session is told before anything is read, so that a value prints the same whoever asks.

Invariant: whatever a URL, its options, a role, a database or a pooler's last client has set, nothing that
reading relies on is left to it: it is set here, in each transaction, or it is refused.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from engine.errors import JobError

LOCK_WAIT_S = 60.0
"""How long a statement waits for a lock, a nightly reload's for instance; then it is said who holds it."""

_AS_PRINTED: Mapping[str, str] = {
    "client_encoding": "'UTF8'",
    "DateStyle": "'ISO, YMD'",
    "IntervalStyle": "'postgres'",
    "TimeZone": "'UTC'",
    "bytea_output": "'hex'",
    "extra_float_digits": "1",  # more than 0: the shortest that is exact
    "xmlbinary": "'base64'",
    "quote_all_identifiers": "off",
}
_AS_UNDERSTOOD: Mapping[str, str] = {
    "array_nulls": "on",  # arrays are split by a cast to text[], in which NULL would otherwise be a text
    "standard_conforming_strings": "on",
    "backslash_quote": "'safe_encoding'",
    "transform_null_equals": "off",
    "xmloption": "'content'",
}
_ALL_ROWS: Mapping[str, str] = {
    "row_security": "off",  # rows that a policy would hide become an error
    "gin_fuzzy_search_limit": "0",  # otherwise an index on words or elements finds some of the rows
}
_AS_LONG_AS_IT_TAKES: Mapping[str, str] = {
    "statement_timeout": "0",
    "lock_timeout": f"'{LOCK_WAIT_S:.0f}s'",
    "idle_in_transaction_session_timeout": "0",
    "tcp_keepalives_idle": "60",
    "tcp_user_timeout": "0",  # a reader that waits for the target takes nothing off the wire for long
    "client_min_messages": "error",  # asyncpg loses the rows of a COPY that came before a message
    "jit": "off",
}
SETTINGS: Mapping[str, str] = {**_AS_PRINTED, **_AS_UNDERSTOOD, **_ALL_ROWS, **_AS_LONG_AS_IT_TAKES}
"""Set in every transaction. With SET LOCAL, not as startup parameters, which poolers refuse.

Source: PostgreSQL documentation, chapter 20; all of pg_settings that a role may set was gone through.
"""
_SINCE: Mapping[str, tuple[int, str]] = {"transaction_timeout": (17, "0")}
BEGIN_TIMEOUT_S = 15.0
"""How long a pooler may take to find a server's connection for a transaction."""
LOSSY = ("zero_damaged_pages", "ignore_checksum_failure")
"""What makes the server pass over damaged pages, and only a superuser may turn off again."""

# A pooler's last client may have left tables of the same names, which come first unless pg_temp is last.
# Everything is qualified, and no operator is used: the path isn't set yet.
_TEMPORARY_LAST = (
    "SELECT pg_catalog.set_config('search_path', pg_catalog.regexp_replace(pg_catalog.concat("
    "pg_catalog.current_setting('search_path'), ', pg_temp'), '^[[:space:]]*,', ''), true)"
)
_ONLY_CATALOGS = "SET LOCAL search_path = pg_catalog, pg_temp"
_LOSSY_ON = "SELECT {}".format(", ".join(f"pg_catalog.current_setting('{name}') AS {name}" for name in LOSSY))


async def settle(connection: Any) -> None:
    """Set everything that reading relies on. Call first in a transaction. Raises: JobError.

    What the role's search_path finds stays what it finds: the job's own SQL is written for it.
    """
    version = connection.get_server_version().major
    said = {**SETTINGS, **{name: value for name, (since, value) in _SINCE.items() if version >= since}}
    commands = [f"SET LOCAL {name} = {value}" for name, value in said.items()]
    await connection.execute("; ".join([*commands, _TEMPORARY_LAST]))
    row = await connection.fetchrow(_LOSSY_ON)
    for name in LOSSY:
        if row[name] != "off":
            raise JobError(
                f"source.url: {name} is on for this role or database, so rows of damaged pages would be"
                " missing or wrong silently; turn it off"
            )


@asynccontextmanager
async def by_catalogs(connection: Any) -> AsyncIterator[None]:
    """Let names mean what pg_catalog calls so, whatever the role's search_path has before it.

    Within a transaction; what is locked inside stays locked only as long.
    """
    await connection.execute(f"SAVEPOINT by_catalogs; {_ONLY_CATALOGS}")
    yield
    # After an error the transaction is over for everybody.
    await connection.execute("ROLLBACK TO SAVEPOINT by_catalogs; RELEASE SAVEPOINT by_catalogs")


@asynccontextmanager
async def looking(connection: Any) -> AsyncIterator[None]:
    """Look at the server in a transaction of its own, in which names mean what pg_catalog calls so."""
    await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY", timeout=BEGIN_TIMEOUT_S)
    try:
        await settle(connection)
        await connection.execute(_ONLY_CATALOGS)
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
