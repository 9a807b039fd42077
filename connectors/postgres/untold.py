"""What has changed between two runs without a word in the log: with partitions, or behind the publication.

Invariant: a run by the log follows on another only where every row that came, changed or went between them
stands in the log: none was in a partition when that was attached, detached, dropped or emptied, and what is
published is published since.
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


# What was taken out of a publication and put back has a row of its own again. Other tables don't matter.
_ALTERED = """
SELECT EXISTS (SELECT FROM pg_publication AS p LEFT JOIN pg_publication_rel AS r
    ON r.prpubid = p.oid AND r.prrelid = ANY ($2::int8[]::oid[])
    WHERE p.pubname = $1 AND (age(p.xmin) BETWEEN 0 AND age('{horizon}'::xid)
                              OR age(r.xmin) BETWEEN 0 AND age('{horizon}'::xid)))
"""


async def untold(connection: Any, published: str, before: Standing, now: Standing) -> str | None:
    """Say of what the log doesn't tell between two standings of a job with this publication.

    Call in a transaction that has locked what `now` tells of.
    """
    if await _altered(connection, published, before):
        return (
            f"publication {published} was altered, so the log may have left out what changed in the meantime"
        )
    return await _of_partitions(connection, before, now)


async def _altered(connection: Any, published: str, before: Standing) -> bool:
    relations = [relation.oid for relation in before.relations]
    async with by_catalogs(connection):
        if not await watch.counts(connection, before.horizon):
            return False
        sql = _ALTERED.format(horizon=watch.told_by(before.horizon))
        return bool(await connection.fetchval(sql, published, relations))


async def _of_partitions(connection: Any, before: Standing, now: Standing) -> str | None:
    """Say of which partition's rows the log doesn't tell that they came or went."""
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
