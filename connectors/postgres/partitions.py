"""What becomes of partitions without a word in the log, though rows come or go with them.

Invariant: a run by the log follows on another only where every row that came or went between them stands in
the log: none was in a partition when that was attached, detached, dropped or emptied.
"""

from typing import Any

import asyncpg

from connectors.postgres import watch
from connectors.postgres.settings import by_catalogs
from connectors.postgres.standing import Standing

# A partition that was made as one has no row that is older than its being one. A row that a transaction wrote
# which then attached its table is older by the number of its command.
_OLDER = """
SELECT EXISTS (SELECT FROM ONLY {name} AS r, pg_inherits AS h WHERE h.inhrelid = {oid}::oid
    AND (age(r.xmin) > age(h.xmin) OR age(r.xmin) < 0
         OR (r.xmin = h.xmin AND r.cmin::text::int8 < h.cmin::text::int8)))
"""


async def untold(connection: Any, before: Standing, now: Standing) -> str | None:
    """Say of which partition's rows the log doesn't tell that they came or went between two standings.

    Call in a transaction that has locked what `now` tells of.
    """
    known = {relation.oid: relation for relation in now.relations}
    held = [relation for relation in before.relations if relation.child and relation.filled]
    for relation in held:
        if relation.oid not in known:
            return f"{relation.name} was detached or dropped, and the log doesn't tell which rows were in it"
    rewritten = [relation for relation in held if relation.storage != known[relation.oid].storage]
    if (gone := await watch.emptied(connection, rewritten, before.horizon)) is not None:
        return f"{gone}, and the log doesn't tell of that"
    there = {relation.oid for relation in before.relations}
    for relation in now.relations:
        if relation.oid in there or not relation.child or relation.kind != "r":
            continue
        try:
            async with by_catalogs(connection):
                older = await connection.fetchval(_OLDER.format(name=relation.name, oid=relation.oid))
        except asyncpg.InsufficientPrivilegeError:
            return (
                f"{relation.name} is a new partition, and this role may not see whether it had rows when it"
                f" became one: GRANT SELECT ON {relation.name} to it"
            )
        if older:
            return f"{relation.name} was attached with rows in it, of which the log doesn't tell"
    return None
