"""Orders and lines as the jobs of one file that share a slot: who makes what, and what the lines make."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Item = dict[str, Any]
LINE = {
    "name": "Line",
    "key": {"PK": "LINE#{order_id}", "SK": "LINE#{line}"},
    "attributes": {"id": "{rev}", "product": "{product}"},
}
OWNERS = {"USER": "orders", "LINE": "lines", "ORDER": "tags", "CODE": "tags", "LATEST": "tags"}
"""By how a partition key begins: the job of a file of three that makes it."""
REVISED = (
    "ALTER TABLE lines ADD COLUMN rev bigint NOT NULL DEFAULT nextval('revs')",
    "CREATE FUNCTION revised() RETURNS trigger LANGUAGE plpgsql"
    " AS $$ BEGIN NEW.rev := nextval('revs'); RETURN NEW; END $$",
    "CREATE TRIGGER revised BEFORE UPDATE ON lines FOR EACH ROW EXECUTE FUNCTION revised()",
)
"""Statements by which a line that changes has a revision of its own, as orders have."""


def jobs_of(
    source: Mapping[str, Any], rules: Sequence[Mapping[str, Any]], count: int
) -> list[dict[str, Any]]:
    """Return so many jobs: one has all rules; of several, lines are one's own, and of three tags."""
    if count == 1:
        return [{"name": "soak", "source": {**source}, "items": [*rules]}]
    alone = {name: value for name, value in source.items() if name != "embed"}
    lines = {**alone, "table": "lines", "where": "order_id IS NOT NULL", "unique": False}
    own = len(rules) if count == 2 else 1
    jobs = [
        {"name": "orders", "source": {**source}, "items": [*rules[:own]]},
        {"name": "lines", "source": lines, "items": [LINE]},
    ]
    return [*jobs, {"name": "tags", "source": alone, "items": [*rules[own:]]}] if count == 3 else jobs


def job_of(key: str, count: int) -> str:
    """Return the job of a file of so many whose rules make the item of a key."""
    if count == 1:
        return "soak"
    owner = OWNERS[key.partition("#")[0]]
    return "orders" if owner == "tags" and count == 2 else owner


def lines_of(lines: Iterable[Mapping[str, Any]]) -> dict[str, Item]:
    """Return the items that lines make themselves, by `PK|SK`."""
    made: dict[str, Item] = {}
    for line in lines:
        if line["order_id"] is None:
            continue
        pk, sk = f"LINE#{line['order_id']}", f"LINE#{line['line']}"
        own = {"id": {"N": str(line["rev"])}, "product": {"S": line["product"]}}
        made[f"{pk}|{sk}"] = {"PK": {"S": pk}, "SK": {"S": sk}, **own}
    return made
