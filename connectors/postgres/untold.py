"""What has changed between two runs without a word in the log: with partitions, or behind the publication.

Invariant: a run by the log follows on another only where every row that came, changed or went between them
stands in the log: none was in a partition when that was attached, detached, dropped or emptied, or UNLOGGED,
none was changed by an ALTER TABLE or an ALTER TYPE, and what is published is published since.
"""

from typing import Any

import asyncpg

from connectors.postgres import watch
from connectors.postgres.section import LogCatchUp
from connectors.postgres.settings import by_catalogs
from connectors.postgres.sql import Shape, explain_sql
from connectors.postgres.standing import RelationFact, Standing, as_before, explains_storage, retold

# A partition that was made as one has no row that is older than its being one. A row that a transaction wrote
# which then attached its table is older by the number of its command.
_OLDER = """
SELECT EXISTS (SELECT FROM ONLY {name} AS r, pg_inherits AS h WHERE h.inhrelid = {oid}::oid
    AND (age(r.xmin) > age(h.xmin) OR age(r.xmin) < 0
         OR (r.xmin = h.xmin AND r.cmin::text::int8 < h.cmin::text::int8)))
"""


# ALTER TABLE writes all rows anew, of which the log tells nothing, in the transaction that gives the table
# and its indexes other storage. VACUUM FULL leaves each row to the transaction that wrote it.
_WRITTEN_ANEW = """
SELECT EXISTS (SELECT FROM (SELECT xmin FROM ONLY {name} LIMIT 10000) AS r WHERE r.xmin IN (
    SELECT c.xmin FROM pg_class AS c WHERE c.oid = {oid}::oid
        OR c.oid IN (SELECT i.indexrelid FROM pg_index AS i WHERE i.indrelid = {oid}::oid)))
"""


# So it does with the column whose type it sets, also one that it had; what comes later (VACUUM FULL, CLUSTER,
# REINDEX, GRANT) writes what is known of the table again, but not of its columns.
_ANEW_WITH_COLUMN = """
SELECT EXISTS (SELECT FROM ONLY {name} AS r WHERE r.xmin IN (
    SELECT a.xmin FROM pg_attribute AS a WHERE a.attrelid = {oid}::oid AND a.attname::text = ANY ($1::text[])
        AND age(a.xmin) BETWEEN 0 AND age('{horizon}'::xid)))
"""


# What was taken out of a publication and put back has a row of its own again. Other tables don't matter.
_ALTERED = """
SELECT EXISTS (SELECT FROM pg_publication AS p LEFT JOIN pg_publication_rel AS r
    ON r.prpubid = p.oid AND r.prrelid = ANY ($2::int8[]::oid[])
    WHERE p.pubname = $1 AND (age(p.xmin) BETWEEN 0 AND age('{horizon}'::xid)
                              OR age(r.xmin) BETWEEN 0 AND age('{horizon}'::xid)))
"""


async def untold(
    connection: Any, log: LogCatchUp, shape: Shape, before: Standing, now: Standing
) -> str | None:
    """Say of what the log doesn't tell between two standings of a job that reads this.

    Call in a transaction that has locked what `now` tells of.
    """
    if (change := retold(before, now, explain_sql(shape))) is not None:
        return f"{change}, and the log doesn't tell which values that changed"
    if await _altered(connection, log.published, before):
        return f"publication {log.published} was altered, so the log may have left out what changed meanwhile"
    return await _of_partitions(connection, before, now) or await _of_values(connection, before, now)


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
    for relation in rewritten:
        gone = await watch.emptied(connection, [relation], before.horizon)
        if gone is not None and not await _says_the_same(connection, relation, before, now):
            return f"{gone}, and the log doesn't tell of that"
    there = {relation.oid: relation for relation in before.relations}
    for relation in now.relations:
        if relation.child and relation.kind == "r":
            why = await _of_its_rows(connection, there.get(relation.oid), relation)
            if why is not None:
                return why
    return None


async def _says_the_same(connection: Any, child: RelationFact, before: Standing, now: Standing) -> bool:
    """Say whether a partition's rows were written anew with a column that is new, or wider, and no other."""
    known = {relation.oid: relation for relation in now.relations}
    parents = ((each, known[each.oid]) for each in before.relations if each.kind == "p" and not each.child)
    changed = [as_before(*each) for each in parents if explains_storage(*each)]
    sql = _ANEW_WITH_COLUMN.format(name=child.name, oid=child.oid, horizon=watch.told_by(before.horizon))
    async with by_catalogs(connection):
        for same, others in changed:
            if await connection.fetchval(sql, others) and not await connection.fetchval(sql, same):
                return True
    return False


async def _of_its_rows(connection: Any, before: RelationFact | None, now: RelationFact) -> str | None:
    """Say of which rows the log doesn't tell in a partition that is new, or was empty."""
    if before is not None and (before.filled or before.storage == now.storage):
        return None
    try:
        async with by_catalogs(connection):
            told = {"name": now.name, "oid": now.oid}
            if before is None and await connection.fetchval(_OLDER.format(**told)):
                return f"{now.name} was attached with rows in it, of which the log doesn't tell"
            # A table's first storage has its own number.
            if now.storage != now.oid and await connection.fetchval(_WRITTEN_ANEW.format(**told)):
                return (
                    f"{now.name} was written anew, as by SET LOGGED, and the log doesn't tell of the rows"
                    " that it had by then"
                )
    except asyncpg.InsufficientPrivilegeError:
        return (
            f"{now.name} is a new partition, or was written anew, and this role may not see which rows it had"
            f" by then: GRANT SELECT ON {now.name} to it"
        )
    return None


async def _of_values(connection: Any, before: Standing, now: Standing) -> str | None:
    """Say which table's rows were written anew with other values, as far as nothing else explains it."""
    known = {relation.oid: relation for relation in now.relations}
    for relation in before.relations:
        found = known.get(relation.oid)
        if found is None or relation.child or relation.kind != "r" or not relation.filled:
            continue
        if found.storage == relation.storage:
            continue
        try:
            anew = await _is_anew(connection, relation, found, before.horizon)
        except asyncpg.InsufficientPrivilegeError:
            return (
                f"{found.name} was written anew, and this role may not see by what: GRANT SELECT ON"
                f" {found.name} to it"
            )
        if anew:
            return (
                f"{found.name} was written anew, as by ALTER TABLE … TYPE … USING or a reload, and the log"
                " doesn't tell which values that changed"
            )
    return None


async def _is_anew(connection: Any, before: RelationFact, now: RelationFact, horizon: int) -> bool:
    """Say whether rows were written anew by something that may have changed their values."""
    told = {"name": now.name, "oid": now.oid, "horizon": watch.told_by(horizon)}
    async with by_catalogs(connection):
        if not explains_storage(before, now) and await connection.fetchval(_WRITTEN_ANEW.format(**told)):
            return True
        if not await watch.counts(connection, horizon):
            return False
        same, _ = as_before(before, now)
        return bool(await connection.fetchval(_ANEW_WITH_COLUMN.format(**told), same))
