"""The worked example: an online shop in PostgreSQL, and what its rows are to be in DynamoDB.

`expected_items` is the mapping of shop.yaml written again in plain Python, row by row and without
any of the engine's code, so that a comparison with it means something.
"""

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg

USERS_PER_ORDER = 5
"""One user for every so many orders."""

PRODUCTS = 1_000

SCHEMA = """
CREATE TABLE users (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    status text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE products (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    category text NOT NULL,
    price numeric(10, 2) NOT NULL,
    description text
);
CREATE TABLE orders (
    id bigint PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users,
    order_date timestamptz NOT NULL,
    status text NOT NULL,
    total_amount numeric(12, 2) NOT NULL
);
CREATE TABLE order_items (
    order_id bigint NOT NULL REFERENCES orders,
    line_no int NOT NULL,
    product_id bigint NOT NULL REFERENCES products,
    product_name text NOT NULL,
    quantity int NOT NULL,
    price numeric(10, 2) NOT NULL,
    PRIMARY KEY (order_id, line_no)
);
"""

_ROWS = """
INSERT INTO users
SELECT g, 'Ana "' || chr(65 + g % 26) || '" Müller ' || g, 'user' || g || '@example.com',
       (ARRAY['active', 'invited', 'blocked'])[1 + g % 3],
       timestamptz '2023-01-01Z' + g * interval '37 minutes'
FROM generate_series(1, {users}) g;

INSERT INTO products
SELECT g, 'Product ' || g, (ARRAY['electronics', 'books', 'garden', 'toys'])[1 + g % 4],
       round((5 + (g * 7919) % 50000) / 100.0, 2),
       CASE WHEN g % 5 = 0 THEN NULL ELSE E'Line one\\nline two \\\\ 100 % of "' || g || '"' END
FROM generate_series(1, {products}) g;

INSERT INTO orders
SELECT g, 1 + (g::bigint * 7919) % {users},
       timestamptz '2024-01-01Z' + g * interval '5 minutes 0.25 seconds',
       (ARRAY['completed', 'pending', 'shipped', 'cancelled'])[1 + g % 4], 0
FROM generate_series(1, {orders}) g;

INSERT INTO order_items
SELECT o.id, line, p.id, p.name, 1 + (o.id + line) % 3, p.price
FROM orders o
CROSS JOIN LATERAL generate_series(1, 1 + o.id % 4) line
JOIN products p ON p.id = 1 + (o.id * 31 + line * 17) % {products};

UPDATE orders o SET total_amount = lines.total
FROM (SELECT order_id, sum(quantity * price) AS total FROM order_items GROUP BY order_id) lines
WHERE lines.order_id = o.id;

ANALYZE;
"""


async def fill(url: str, orders: int) -> None:
    """Make the shop's tables in an empty database and fill them; the same rows every time."""
    users = max(1, orders // USERS_PER_ORDER)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SCHEMA)
        await connection.execute(_ROWS.format(users=users, products=PRODUCTS, orders=orders))
    finally:
        await connection.close()


async def expected_items(url: str) -> AsyncGenerator[dict[str, Any], None]:
    """Give the items that the shop is to become, as plain Python values, numbers as Decimal."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            async for row in connection.cursor("SELECT * FROM users"):
                yield user_item(row)
            async for row in connection.cursor("SELECT * FROM products"):
                yield product_item(row)
            lines: dict[int, list[Mapping[str, Any]]] = {}
            for line in await connection.fetch("SELECT * FROM order_items ORDER BY order_id, line_no"):
                lines.setdefault(line["order_id"], []).append(line)
            async for row in connection.cursor("SELECT * FROM orders"):
                yield order_item(row, lines[row["id"]])
    finally:
        await connection.close()


def user_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """Map one user as the job file says."""
    created = iso(row["created_at"])
    return {
        "PK": f"USER#{row['id']}",
        "SK": "PROFILE",
        "EntityType": "User",
        "UserID": Decimal(row["id"]),
        "Name": row["name"],
        "Email": row["email"],
        "Status": row["status"],
        "CreatedAt": created,
        "GSI1PK": f"EMAIL#{row['email']}",
        "GSI1SK": created,
        "GSI2PK": f"USER#{row['status']}",
        "GSI2SK": created,
    }


def product_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """Map one product as the job file says; a description that is NULL is left out."""
    item = {
        "PK": f"PRODUCT#{row['id']}",
        "SK": f"CATEGORY#{row['category']}",
        "EntityType": "Product",
        "ProductID": Decimal(row["id"]),
        "Name": row["name"],
        "Price": row["price"],
        "Slug": row["name"].lower().replace(" ", "-"),
        "GSI1PK": f"CATEGORY#{row['category']}",
        "GSI1SK": f"PRODUCT#{row['id']}",
    }
    if row["description"] is not None:
        item["Description"] = row["description"]
    return item


def order_item(row: Mapping[str, Any], lines: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Map one order with its lines as the job file says."""
    ordered = iso(row["order_date"])
    return {
        "PK": f"USER#{row['user_id']}",
        "SK": f"ORDER#{ordered[:10]}#{row['id']}",
        "EntityType": "Order",
        "OrderID": Decimal(row["id"]),
        "UserID": Decimal(row["user_id"]),
        "OrderDate": ordered,
        "Status": row["status"],
        "TotalAmount": row["total_amount"],
        "Items": [
            {
                "product_id": Decimal(line["product_id"]),
                "product_name": line["product_name"],
                "quantity": Decimal(line["quantity"]),
                "price": line["price"],
            }
            for line in lines
        ],
        "GSI1PK": "ORDER",
        "GSI1SK": ordered,
        "GSI2PK": f"ORDER#{row['status']}",
        "GSI2SK": ordered,
    }


def iso(moment: datetime) -> str:
    """Write a moment as the contract's type table does: UTC, the fraction only when not zero."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"
