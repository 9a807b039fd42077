"""What opening a source finds out, and how a transaction that reads it whole is begun.

Invariant: the watermark is taken before the snapshot, and every relation is locked before it is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from connectors.postgres import lookalikes, watch
from connectors.postgres.address import where
from connectors.postgres.errors import checking, speaking
from connectors.postgres.layout import SelectList, check_keys, layout
from connectors.postgres.section import LOG_CONNECTIONS, PostgresSection
from connectors.postgres.session import Exported, abandon, begin, connect
from connectors.postgres.settings import by_catalogs, looking
from connectors.postgres.slots import log_position
from connectors.postgres.snapshot import (
    NextWatermark,
    export,
    next_watermark,
    server_identity,
    start_of_catching_up,
)
from connectors.postgres.sql import Shape
from connectors.postgres.standing import Behind, Changed, Rewritten, Standing, judge
from connectors.postgres.waits import waits_told
from engine.contracts.source import SourceTicket
from engine.errors import JobError, PermanentError, TransientError
from engine.frozen import dataclass
from engine.kinds import RowSchema
from engine.plain import dumped, loaded
from engine.state.fingerprint import relation

# As the planner names what it scans.
_STORED = """
SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND (n.nspname, c.relname) IN (SELECT * FROM unnest($1::text[], $2::text[])) LIMIT 1
"""


async def unseen(connection: Any, plan: Any) -> str | None:
    """Say why no watermark can be known for what this plan reads; None where one can.

    Each relation is seen as the planner resolves it, through views, partitions, children and embeds. What a
    function fetches by itself (dblink) shows in no plan.
    Shape: `plan` as EXPLAIN (VERBOSE, FORMAT JSON) gives it.
    """
    scans = list(_scans(plan))
    for scan in scans:
        if scan["Node Type"] == "Foreign Scan":
            name = scan.get("Relation Name") or scan.get("Relations", "of another server")
            return (
                f"Foreign table {name}: transactions open on its own server can't be seen from here, so the"
                " watermark doesn't advance; read it from that server to make catch-up runs cheaper."
            )
    local = [scan for scan in scans if "Relation Name" in scan]
    async with by_catalogs(connection):
        stored = await connection.fetchval(
            _STORED, [scan["Schema"] for scan in local], [scan["Relation Name"] for scan in local]
        )
    if stored is not None:
        return (
            f"Materialized view {stored}: a refresh brings rows that were stamped before earlier runs, so the"
            " watermark doesn't advance; read what it is made of to make catch-up runs cheaper."
        )
    return None


def _scans(plan: Any) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan, the ones below it too."""
    if isinstance(plan, list):
        for part in plan:
            yield from _scans(part)
    elif isinstance(plan, dict):
        if "Node Type" in plan:
            yield plan
        for part in plan.values():
            if isinstance(part, list | dict):
                yield from _scans(part)


# Superusers are held to neither limit.
_LIMIT = """
SELECT CASE WHEN NOT r.rolsuper THEN least(nullif(r.rolconnlimit, -1), nullif(d.datconnlimit, -1)) END::int4
FROM pg_roles AS r, pg_database AS d WHERE r.rolname = session_user AND d.datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class PostgresView:
    """What every process of a run reads: the ticket's details.

    `snapshot` is None where the server exports none, `connections` where nobody limits them. `kept`: no other
    view than the snapshot may be read.
    """

    shape: Shape
    snapshot: Exported | None
    relation: str
    standing: Standing
    connections: int | None
    kept: bool = False


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """What opening found out; all but the ticket is None or empty in a worker."""

    ticket: SourceTicket
    identity: Mapping[str, str]
    watermark: str | None
    notices: tuple[str, ...]
    keeper: Any | None
    """The connection that holds the exported snapshot."""
    rows_expected: int | None
    overlap: str | None = None
    indexed: tuple[tuple[str, ...], ...] = ()
    """See SelectList."""
    same_view: bool = False
    """Whether the snapshot is one that an earlier part of the run has read."""


async def opened(section: PostgresSection, since: str | None, views: Sequence[str] = ()) -> OpenedTable:
    """Open a source as the runner does: check the job, take the watermark, export a snapshot.

    `views`: what earlier parts of the run have read (SourceAbilities.view); the first that is still there is
    read again.
    """
    url = section.url.get_secret_value()
    connection = await connect(url)
    try:
        async with speaking("source.url"):
            await lookalikes.check(connection)
            identity = await server_identity(connection, where(url))
            connections = await connections_max(connection, section.max_connections)
            _check_connections(section, connections)
            watermark = await _watermark(connection, section, since)
        again_read = await _read_before(connection, section, since, identity["server"], views)
        found, plan, standing = again_read or await steady(connection, section, since, identity["server"])
        async with checking("source"):
            await watch.settle_numbers(connection, standing)
            snapshot = await export(connection)
            await check_keys(connection, found.shape)
            again = None
            if since is not None and found.overlap is not None:
                again = await connection.fetchval(found.overlap)
            (top,) = orjson.loads(plan)
            why = await unseen(connection, top)
            if why is not None and section.catch_up is None:
                watermark = NextWatermark(since, why if section.watermark is not None else None)
    except PermanentError as error:
        await abandon(connection)
        raise await told(error, section) from error
    except BaseException:
        await abandon(connection)
        raise
    open_to = connection.in_clear(url)
    notices = found.notices if open_to is None else (*found.notices, open_to)
    if section.watermark is not None and since is not None and again != 0:
        notices = (*notices, section.watermark.rereads(again, planned=False))
    if watermark.notice is not None:
        notices = (*notices, watermark.notice)
    if snapshot is None:
        notices = (*notices, "The server can't export its snapshot, so every segment is read in its own.")
    view = dumped(PostgresView(found.shape, snapshot, found.name, standing, connections))
    spoken_for = 1 if section.catch_up is None else 2  # the view's, and one that looks at the slot
    schema = found.schema if snapshot is not None else told_apart_by_position(found.schema)
    return OpenedTable(
        SourceTicket(schema, since, view, None if connections is None else max(1, connections - spoken_for)),
        {"type": "postgres", **identity, "relation": relation(found.name), "key": _positions(found.shape)},
        watermark.value,
        notices,
        connection,
        int(top["Plan"]["Plan Rows"]),
        found.overlap,
        found.indexed,
        same_view=again_read is not None,
    )


async def _watermark(connection: Any, section: PostgresSection, since: str | None) -> NextWatermark:
    """Return from where the next catch-up run reads: a time, or a position of the log."""
    if section.watermark is not None:
        return await next_watermark(connection, since)
    if section.catch_up is not None:
        # From where a full run's log is kept, who had it kept knows.
        return NextWatermark(None if since is None else await log_position(connection))
    return NextWatermark(await start_of_catching_up(connection))


async def steady(
    connection: Any, section: PostgresSection, since: str | None, server: str
) -> tuple[SelectList, str, Standing]:
    """Begin a transaction that reads every relation whole; return what it reads, its plan, its standing."""
    for _ in range(watch.STEADY_TRIES):
        async with speaking("source"):
            await begin(connection, None)
        if (found := await _whole(connection, section, since, server)) is not None:
            return found
    raise TransientError(
        f"source: {section.reads} is emptied or written anew again and again while the run begins; run again"
        " when that is over"
    )


async def _read_before(
    connection: Any, section: PostgresSection, since: str | None, server: str, views: Sequence[str]
) -> tuple[SelectList, str, Standing] | None:
    """Begin a transaction in a view that was read before, as `steady` does; None, outside one: none is there.

    Whoever keeps it has had everything locked all the time.
    """
    for text in views:
        try:
            view = loaded(Exported, text)
        except ValueError:  # another version's
            continue
        async with speaking("source"):
            imported = await begin(connection, view)
        if not imported:
            async with speaking("source"):
                await connection.execute("ROLLBACK")
        elif (found := await _whole(connection, section, since, server)) is not None:
            return found
    return None


async def _whole(
    connection: Any, section: PostgresSection, since: str | None, server: str
) -> tuple[SelectList, str, Standing] | None:
    """Lock what is read; None, outside the transaction: this view doesn't show every relation whole."""
    async with checking("source"):
        async with waits_told(connection, section.url.get_secret_value()):
            found = await layout(connection, section, since)
            plan = await watch.lock(connection, found.shape)
        standing = await watch.look(connection, found.shape, server)
        if standing is None:
            await connection.execute("ROLLBACK")
            return None
        return found, plan, standing


async def told(error: PermanentError, section: PostgresSection) -> PermanentError:
    """Say of a lock that nobody gave who holds it; every other error as it is."""
    if getattr(error.__cause__, "sqlstate", None) != watch.LOCK_TIMEOUT:
        return error
    connection = await connect(section.url.get_secret_value())
    try:
        who = await watch.holders(connection)
    finally:
        await abandon(connection)
    return PermanentError(
        f"source: a lock that reading {section.reads} needs wasn't given in time:"
        f" {who or 'nobody is seen to hold it any more'}; end that or wait for it, then run again"
    )


def told_apart_by_position(schema: RowSchema) -> RowSchema:
    """Leave out what is unique only at one time: cursors that read at several may meet a value twice."""
    position = set(schema.key)
    return replace(
        schema,
        identities=tuple(names for names in schema.identities if names <= position),
        unique=tuple(names for names in schema.unique if names <= position),
    )


def _positions(shape: Shape) -> str:
    """Say what cursors are values of: the key's columns may change between two parts of a run."""
    return ", ".join(f"{key.name} {key.type}" for key in shape.key) or "none"


async def connections_max(connection: Any, said: int | None) -> int | None:
    """Return how many connections a run may have: as the job, the role and the database say."""
    async with looking(connection):
        limit = await connection.fetchval(_LIMIT)
    known = [most for most in (said, limit) if most is not None]
    return min(known, default=None)


def _check_connections(section: PostgresSection, most: int | None) -> None:
    if section.catch_up is not None and most is not None and most < LOG_CONNECTIONS:
        raise JobError(
            f"source.catch_up: the role or the database may have {most} connections at a time, and a run by"
            f" the log needs {LOG_CONNECTIONS}; raise the CONNECTION LIMIT, or go by source.watermark"
        )


async def misfit(
    connection: Any, before: Standing, now: Standing, *, goes_on: bool
) -> Behind | Changed | None:
    """Judge two standings; the rows of relations that were written anew tell whether they were emptied."""
    found = judge(before, now, goes_on=goes_on)
    if not isinstance(found, Rewritten):
        return found
    async with speaking("source"):
        gone = await watch.emptied(connection, found.relations, before.horizon)
    return None if gone is None else Changed(gone)


async def hold_to(connection: Any, before: Standing, now: Standing, section: PostgresSection) -> None:
    """See that the source is what the run began with. Raises: PermanentError, TransientError."""
    found = await misfit(connection, before, now, goes_on=True)
    if isinstance(found, Behind):
        raise TransientError(f"source: {found.text}")
    if found is not None:
        raise PermanentError(
            f"source: {found.text}, so {section.reads} is no longer the table that the run began"
            " with; put it back and run again to go on, or start over with --fresh"
        )


async def see_to_names(connection: Any, view: PostgresView, section: PostgresSection) -> None:
    """See that what this transaction has read was printed as the run began with. Raises: PermanentError."""
    async with speaking("source"):
        found = await watch.renamed(connection, view.standing)
    if found is not None:
        raise PermanentError(
            f"source: {found} while {section.reads} was read, so items may have either; load everything again"
            " with --fresh"
        )
