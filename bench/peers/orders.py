"""What every peer in Python shares: the rows, and the item that a row becomes, in plain Python.

Invariant: nothing here is slower than what a careful user would write by hand; a null is left out.
"""

import json
import os
import resource
from collections.abc import Iterator
from typing import Any

FETCH_ROWS = 2_000

QUERY = "SELECT * FROM orders ORDER BY id LIMIT "

RENAMED = {
    "id": "OrderID",
    "user_id": "UserID",
    "status": "Status",
    "total_amount": "TotalAmount",
    "currency": "Currency",
    "items_count": "ItemsCount",
    "paid": "Paid",
    "email": "Email",
    "shipping_address": "ShippingAddress",
    "notes": "Notes",
}


def item(row: Any) -> dict[str, Any]:
    """Return an order as the item of the engine's own job, in plain Python values."""
    ordered = row["order_date"].isoformat()
    values = {
        "PK": f"USER#{row['user_id']}",
        "SK": f"ORDER#{ordered[:10]}#{row['id']}",
        "EntityType": "Order",
        "OrderDate": ordered.replace("+00:00", "Z"),
        "UpdatedAt": row["updated_at"].isoformat().replace("+00:00", "Z"),
    }
    for column, name in RENAMED.items():
        value = row[column]
        if value is not None:
            values[name] = value
    return values


def rows(count: int) -> Iterator[Any]:
    """Read orders through a server-side cursor; the connection comes from libpq's environment."""
    import psycopg
    from psycopg.rows import dict_row

    with (
        psycopg.connect(options="-c timezone=UTC", row_factory=dict_row) as connection,
        connection.cursor(name="orders") as cursor,
    ):
        cursor.itersize = FETCH_ROWS
        cursor.execute(f"{QUERY}{count}")
        yield from cursor


def endpoint() -> str:
    """Return where the null target listens."""
    return os.environ["DYNAMODB_ENDPOINT"]


def started() -> None:
    """Say how much CPU went into starting up: it isn't held against the peer."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"startup_cpu_s": used.ru_utime + used.ru_stime}), flush=True)
