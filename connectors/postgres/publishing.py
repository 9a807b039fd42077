"""What publication, identities and slot have to be so that the log tells all that a job needs. Mostly pure.

Invariant: nothing that we make, or say is to be made, lets the application's own writes fail: a table is
published only once it, and each of its partitions, tells its rows apart in the log.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from connectors.afresh import AFRESH
from connectors.postgres.logged import Logged, LoggedTable
from connectors.postgres.quoting import identifier
from connectors.postgres.section import LogCatchUp
from connectors.postgres.settings import by_catalogs
from engine.errors import JobError
from engine.frozen import dataclass

SERVER_VERSION_MIN = 14
"""The oldest that is maintained; before 13 there are neither 64-bit snapshots nor partitions' roots."""
_FILTERS_SINCE, _GENERATED_SINCE = 15, 18
PUBLISH = "publish = 'insert, update, delete, truncate'"
MISSED = f"what changed meanwhile may be missing, so {AFRESH}"

_SERVER = """
SELECT current_setting('wal_level') AS wal_level, pg_is_in_recovery() AS standby, current_user::text AS role,
       current_database()::text AS database,
       r.rolsuper OR r.rolreplication OR coalesce((SELECT pg_has_role(g.oid, 'MEMBER') FROM pg_roles AS g
           WHERE g.rolname = 'rds_replication'), false) AS replicates,
       has_database_privilege(current_database(), 'CREATE') AS creates,
       (SELECT p.gid || ' of ' || to_char(p.prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        FROM pg_prepared_xacts AS p ORDER BY p.prepared LIMIT 1) AS prepared
FROM pg_roles AS r WHERE r.rolname = current_user
"""
_RELATIONS = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind::text AS kind,
       c.relpersistence = 'p' AS logged, c.relreplident::text AS identity,
       pg_has_role(c.relowner, 'USAGE') AS owned,
       ARRAY(SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0
             AND NOT a.attisdropped AND a.attgenerated <> '') AS generated
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = $1::int8::oid
   OR c.oid IN (SELECT t.relid FROM pg_partition_tree($1::int8::oid) AS t WHERE t.isleaf)
ORDER BY c.oid
"""
_INDEXES = """
SELECT format('%I.%I', n.nspname, t.relname) AS relation, format('%I', c.relname) AS name,
       CASE t.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END AS used,
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
             JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             WHERE k.n <= i.indnkeyatts ORDER BY k.n) AS columns
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid
     JOIN pg_namespace AS n ON n.oid = t.relnamespace
WHERE (i.indrelid = $1::int8::oid
       OR i.indrelid IN (SELECT p.relid FROM pg_partition_tree($1::int8::oid) AS p))
  AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
  AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
       JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
       WHERE k.n <= i.indnkeyatts AND NOT a.attnotnull)
ORDER BY i.indnatts, i.indexrelid
"""
_PUBLICATION = """
SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AS whole, pubviaroot AS by_root,
       {generated} AS generated
FROM pg_publication WHERE pubname = $1
"""
_PUBLISHED = """
SELECT schemaname::text AS schema, tablename::text AS name, {columns} AS columns, {filter} AS filter
FROM pg_publication_tables WHERE pubname = $1
"""


@dataclass(frozen=True, slots=True)
class Served:
    """What the server has for a job: whether the publication is there, the names of tables that it lacks."""

    database: str
    publication: bool
    missing: tuple[str, ...]


async def check_log(connection: Any, catch_up: LogCatchUp, found: Logged, *, begins: bool) -> Served:
    """See that the log is, or can be, written as a job needs it. `begins`: what is missing would be made.

    Call inside a transaction. Raises: JobError.
    """
    version = connection.get_server_version().major
    async with by_catalogs(connection):
        server = await connection.fetchrow(_SERVER)
        published = await connection.fetchrow(
            _PUBLICATION.format(generated="pubgencols::text" if version >= _GENERATED_SINCE else "'n'::text"),
            catch_up.published,
        )
        members = await connection.fetch(
            _PUBLISHED.format(
                columns="attnames::text[]" if version >= _FILTERS_SINCE else "NULL::text[]",
                filter="rowfilter" if version >= _FILTERS_SINCE else "NULL::text",
            ),
            catch_up.published,
        )
        relations = {t.oid: await connection.fetch(_RELATIONS, t.oid) for t in found.tables}
        indexes = {t.oid: await connection.fetch(_INDEXES, t.oid) for t in found.tables}
    _check_server(server, version, catch_up, begins=begins)
    refuses_full = version >= _GENERATED_SINCE and (published is None or published["generated"] == "n")
    for table in found.tables:
        _check_relations(table, relations[table.oid], indexes[table.oid], refuses_full=refuses_full)
    by_name = {(row["schema"], row["name"]): row for row in members}
    missing = tuple(t.written for t in found.tables if (t.schema, t.name) not in by_name)
    for table in found.tables:
        if (row := by_name.get((table.schema, table.name))) is not None:
            _check_member(table, row, catch_up)
    if published is not None:
        _check_publication(published, found, catch_up)
    if missing and not begins:
        what = "isn't there" if published is None else f"has no {', '.join(missing)} any more"
        raise JobError(f"source.catch_up.publication: publication {catch_up.published} {what}; {MISSED}")
    owned = all(row["owned"] for table in found.tables for row in relations[table.oid][:1])
    _check_rights(server, catch_up, found, missing, made=published is not None, owned=owned)
    return Served(server["database"], published is not None, tuple(dict.fromkeys(missing)))


def _check_server(server: Any, version: int, catch_up: LogCatchUp, *, begins: bool) -> None:
    if version < SERVER_VERSION_MIN:
        raise JobError(
            f"source.catch_up: PostgreSQL {version} is too old to go by its log, {SERVER_VERSION_MIN} or"
            " newer will do; go by source.watermark"
        )
    if server["standby"]:
        raise JobError(
            "source.catch_up: the source is a standby, where rows may be older than the log says; read from"
            " the primary"
        )
    if server["wal_level"] != "logical":
        raise JobError(
            f"source.catch_up: the server writes its log at wal_level {server['wal_level']}; have ALTER"
            " SYSTEM SET wal_level = logical run, and the server restarted, or go by source.watermark"
        )
    if begins and server["prepared"] is not None:
        raise JobError(
            f"source.catch_up: slot {catch_up.slot} would wait for the prepared transaction"
            f" {server['prepared']}; COMMIT PREPARED or ROLLBACK PREPARED it, then run again"
        )


def _check_rights(
    server: Any, catch_up: LogCatchUp, found: Logged, missing: Sequence[str], *, made: bool, owned: bool
) -> None:
    """See that the role may make what is missing; else say what whoever may has to run."""
    todo = []
    if not server["replicates"]:
        todo.append(f"ALTER ROLE {identifier(server['role'])} REPLICATION")
    if missing and not (owned and (made or server["creates"])):
        todo.append(extend_sql(catch_up, missing) if made else publish_sql(catch_up, found))
    if todo:
        raise JobError(
            f"source.catch_up: the role {server['role']} may not make what reading the log needs; have this"
            f" run by whoever may: {'; '.join(todo)};"
        )


def publish_sql(catch_up: LogCatchUp, found: Logged) -> str:
    """Return the statement that publishes a job's tables."""
    tables = ", ".join(dict.fromkeys(table.written for table in found.tables))
    return (
        f"CREATE PUBLICATION {identifier(catch_up.published)} FOR TABLE {tables}"
        f" WITH ({PUBLISH}, publish_via_partition_root = true)"
    )


def extend_sql(catch_up: LogCatchUp, missing: Sequence[str]) -> str:
    """Return the statement that publishes tables besides."""
    return f"ALTER PUBLICATION {identifier(catch_up.published)} ADD TABLE {', '.join(missing)}"


def _check_publication(published: Any, found: Logged, catch_up: LogCatchUp) -> None:
    wrong = []
    if not published["whole"]:
        wrong.append(PUBLISH)
    if not published["by_root"] and any(table.kind == "p" for table in found.tables):
        wrong.append("publish_via_partition_root = true")
    if wrong:
        name = identifier(catch_up.published)
        raise JobError(
            f"source.catch_up.publication: publication {catch_up.published} leaves out some of what changes;"
            f" ALTER PUBLICATION {name} SET ({', '.join(wrong)}), and if a run has ended before, {MISSED}"
        )


def _check_member(table: LoggedTable, row: Any, catch_up: LogCatchUp) -> None:
    at = f"source.catch_up.publication: publication {catch_up.published}"
    if row["filter"] is not None:
        raise JobError(
            f"{at} leaves out rows of {table.written} ({row['filter']}); publish it without WHERE, and if a"
            f" run has ended before, {MISSED}"
        )
    if row["columns"] is not None and (lost := [name for name in table.needed if name not in row["columns"]]):
        raise JobError(
            f"{at} leaves out {', '.join(lost)} of {table.written}, of which item keys are made; publish it"
            f" without a list of columns, and if a run has ended before, {MISSED}"
        )


def _check_relations(
    table: LoggedTable, relations: Sequence[Any], indexes: Sequence[Any], *, refuses_full: bool
) -> None:
    """See that a table, and each partition, tells in the log what is needed of rows that are gone."""
    if table.kind not in ("r", "p") or table.inherited:
        what = "has tables that inherit from it" if table.inherited else "is no table"
        raise JobError(
            f"source.catch_up: {table.of} {table.written} {what}, and only a table has a log; go by"
            " source.watermark"
        )
    for row in relations:
        if row["kind"] == "p":
            continue
        if row["kind"] != "r" or not row["logged"]:
            what = "a foreign table" if row["kind"] == "f" else "unlogged"
            raise JobError(f"source.catch_up: {row['name']} is {what}, so no log tells of it; go by"
                           " source.watermark")  # fmt: skip
        if lost := [name for name in table.needed if name in row["generated"]]:
            raise JobError(
                f"source.catch_up: item keys are made of the generated column {', '.join(lost)} of"
                f" {row['name']}, which the log doesn't carry; make keys of the columns that it is computed"
                " from, or go by source.watermark"
            )
        own = [index for index in indexes if index["relation"] == row["name"]]
        advice = "; ".join(_advice(table, row, own, refuses_full=refuses_full))
        if advice:
            raise JobError(advice)


def _advice(table: LoggedTable, row: Any, indexes: Sequence[Any], *, refuses_full: bool) -> Iterator[str]:
    """Yield why a relation's identity doesn't serve, with what to run."""
    full_refused = refuses_full and bool(row["generated"])
    needed = set(table.needed)
    if row["identity"] == "f":
        serves = not full_refused
    else:
        serves = any(index["used"] and needed <= set(index["columns"]) for index in indexes)
    if serves:
        return
    covering = next((index["name"] for index in indexes if needed <= set(index["columns"])), None)
    columns = ", ".join(table.needed)
    if covering is not None:
        todo = f"ALTER TABLE {row['name']} REPLICA IDENTITY USING INDEX {covering}"
    elif full_refused:
        todo = (
            f"CREATE UNIQUE INDEX ON {row['name']} over {columns} (all NOT NULL) and have it be the table's"
            " REPLICA IDENTITY: FULL would let the application's updates fail, as the table has generated"
            " columns that aren't published"
        )
    else:
        todo = f"ALTER TABLE {row['name']} REPLICA IDENTITY FULL"
    yield (
        f"source.catch_up: the log doesn't tell {columns} of rows of {row['name']} that change or go, which"
        f" the job needs; {todo}; and if a run has ended before, {MISSED}"
    )
