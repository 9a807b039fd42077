"""A rule of the soak by which many rows make one item, and what that is, by plain Python."""

from collections.abc import Iterable, Mapping
from typing import Any

Item = dict[str, Any]
DRAFT = "draft"


def latest(key: str) -> dict[str, Any]:
    """Return a rule by which the last order of a customer makes its item, unless it is a draft."""
    return {
        "name": "Latest",
        "when": f"status <> '{DRAFT}'",
        "key": {"PK": "LATEST#{customer}", "SK": "LATEST"},
        "attributes": {"id": {"sql": "0"}, "rev": "{rev}", "order": f"{{{key}}}"},
    }


def latest_of(rows: Iterable[Mapping[str, Any]], key: str) -> dict[str, Item]:
    """Return the items that the rule makes of rows that aren't hidden."""
    made: dict[str, Item] = {}
    for row in sorted(rows, key=lambda row: int(row[key])):
        if row["status"] != DRAFT:
            place = {"PK": {"S": f"LATEST#{row['customer']}"}, "SK": {"S": "LATEST"}, "id": {"N": "0"}}
            own = {"rev": {"N": str(row["rev"])}, "order": {"N": str(row[key])}}
            made[f"LATEST#{row['customer']}|LATEST"] = place | own
    return made
