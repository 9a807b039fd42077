"""What a pass reads that transactions of this server don't tell of: tables of other servers, stored results.

Invariant: every relation under the read is looked at as the planner resolves it, through views, partitions,
children and embeds. What a function fetches by itself (dblink) shows in no plan.
"""

from collections.abc import Iterator
from typing import Any

from connectors.postgres.settings import by_catalogs

# As the planner names what it scans.
_STORED = """
SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND (n.nspname, c.relname) IN (SELECT * FROM unnest($1::text[], $2::text[])) LIMIT 1
"""


async def unseen(connection: Any, plan: Any) -> str | None:
    """Say why no watermark can be known for what this plan reads; None where one can.

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
