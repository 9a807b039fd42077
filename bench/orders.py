"""The benchmark's source: orders of 12 columns that become items of 15 attributes and about 500 bytes."""

from typing import Any

import asyncpg

TABLE = "orders"

_SCHEMA = """
CREATE TABLE orders (
    id bigint PRIMARY KEY,
    user_id bigint NOT NULL,
    order_date timestamptz NOT NULL,
    status text NOT NULL,
    total_amount numeric(12, 2) NOT NULL,
    currency char(3) NOT NULL,
    items_count int NOT NULL,
    paid boolean NOT NULL,
    email text NOT NULL,
    shipping_address text,
    notes text,
    updated_at timestamptz NOT NULL
)
"""

_ROWS = """
INSERT INTO orders
SELECT g, 1 + (g * 7919) % 50000,
       timestamptz '2024-01-01Z' + g * interval '1 minute 0.25 seconds',
       (ARRAY['pending', 'paid', 'shipped', 'completed', 'cancelled'])[1 + g % 5],
       ((g * 37) % 100000) / 100.0, 'USD', 1 + g % 9, g % 2 = 0,
       'user' || 1 + (g * 7919) % 50000 || '@example.com',
       g % 999 || ' Main Street, Springfield, ' || g % 50,
       CASE WHEN g % 3 = 0 THEN NULL ELSE 'note number ' || g || ' lorem ipsum dolor sit amet' END,
       timestamptz '2024-06-01Z' + g * interval '1 second'
FROM generate_series($1::bigint, $2::bigint) g
"""

_ROWS_PER_STATEMENT = 500_000


async def fill(url: str, rows: int) -> None:
    """Make the table in an empty database and fill it; the same rows every time."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_SCHEMA)
        for first in range(1, rows + 1, _ROWS_PER_STATEMENT):
            last = min(rows, first + _ROWS_PER_STATEMENT - 1)
            await connection.execute(_ROWS, first, last)
        await connection.execute("VACUUM ANALYZE orders")
    finally:
        await connection.close()


def job(source_url: str, endpoint: str) -> dict[str, Any]:
    """Return the job file that turns an order into an item of 15 attributes."""
    return {
        "name": "orders",
        "source": {"type": "postgres", "url": source_url, "table": TABLE},
        "target": {"type": "dynamodb", "table": "orders", "region": "us-east-1", "endpoint_url": endpoint},
        "items": [
            {
                "name": "Order",
                "key": {"PK": "USER#{user_id}", "SK": "ORDER#{order_date:%Y-%m-%d}#{id}"},
                "attributes": {
                    "EntityType": "Order",
                    "OrderID": "{id}",
                    "UserID": "{user_id}",
                    "OrderDate": "{order_date}",
                    "Status": "{status}",
                    "TotalAmount": "{total_amount}",
                    "Currency": "{currency}",
                    "ItemsCount": "{items_count}",
                    "Paid": "{paid}",
                    "Email": "{email}",
                    "ShippingAddress": "{shipping_address}",
                    "Notes": "{notes}",
                    "UpdatedAt": "{updated_at}",
                },
            }
        ],
    }
