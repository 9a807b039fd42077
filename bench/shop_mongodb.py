"""The worked example as documents: a shop's users and orders in MongoDB, and what they become in DynamoDB.

`expected_items` is the mapping of shop_mongodb.yaml written again in plain Python, document by document and
without any of the engine's code, so that a comparison with it means something.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from bson import Decimal128, Int64, ObjectId
from pymongo import AsyncMongoClient

USERS_PER_ORDER = 5
"""One user for every so many orders."""
DATABASE = "shop"
INSERTED_TOGETHER = 5_000
_STATES = ("completed", "pending", "shipped", "cancelled")
_BEGAN = datetime(2024, 1, 1, tzinfo=UTC)


async def fill(url: str, orders: int) -> None:
    """Make the shop's collections and fill them; the same documents every time."""
    users = max(1, orders // USERS_PER_ORDER)
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        database = client[DATABASE]
        for name, documents in (("users", _users(users)), ("orders", _orders(orders, users))):
            while some := list(islice(documents, INSERTED_TOGETHER)):
                await database[name].insert_many(some, ordered=False)


async def expected_items(url: str) -> AsyncGenerator[dict[str, Any], None]:
    """Give the items that the shop is to become, as plain Python values, numbers as Decimal."""
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        database = client[DATABASE]
        async for user in database["users"].find():
            yield user_item(user)
            for address in user.get("addresses") or ():
                yield address_item(user, address)
        async for order in database["orders"].find():
            yield order_item(order)
            for number, line in enumerate(order["lines"]):
                yield line_item(order, number, line)


def user_item(user: Mapping[str, Any]) -> dict[str, Any]:
    """Map one user as the job file says; what a document hasn't got is left out."""
    profile, preferences = user["profile"], user["preferences"]
    item = {
        "PK": f"USER#{user['username']}",
        "SK": "PROFILE",
        "GSI1PK": f"EMAIL#{user['email']}",
        "GSI1SK": "USER",
        "EntityType": "User",
        "Username": user["username"],
        "Email": user["email"],
        "FirstName": profile["firstName"],
        "LastName": profile["lastName"],
        "DateOfBirth": profile["dateOfBirth"].strftime("%Y-%m-%d"),
        "EmailNotifications": preferences["notifications"]["email"],
        "Score": user["score"] if isinstance(user["score"], str) else Decimal(str(user["score"])),
        "CreatedAt": iso(user["createdAt"]),
    }
    if "theme" in preferences:
        item["Theme"] = preferences["theme"]
    return item


def address_item(user: Mapping[str, Any], address: Mapping[str, Any]) -> dict[str, Any]:
    """Map one address as the job file says."""
    names = {"street": "Street", "city": "City", "zipCode": "ZipCode"}
    item = {
        "PK": f"USER#{user['username']}",
        "SK": f"ADDRESS#{address['type']}",
        "EntityType": "Address",
        "Type": address["type"],
    }
    return item | {names[name]: value for name, value in address.items() if name != "type"}


def order_item(order: Mapping[str, Any]) -> dict[str, Any]:
    """Map one order as the job file says: every field but its lines, under its own name."""
    created = iso(order["createdAt"])
    item = {
        "PK": f"ORDER#{order['_id']}",
        "SK": "METADATA",
        "GSI1PK": f"USER#{order['user']}",
        "GSI1SK": f"ORDER#{created}",
        "EntityType": "Order",
        "user": order["user"],
        "status": order["status"],
        "total": order["total"].to_decimal().normalize(),
        "createdAt": created,
        "visits": Decimal(order["visits"]),
        "shipping": {"method": order["shipping"]["method"], "stops": order["shipping"]["stops"]},
    }
    if "note" in order:
        item["note"] = order["note"]
    return item


def line_item(order: Mapping[str, Any], number: int, line: Mapping[str, Any]) -> dict[str, Any]:
    """Map one line of an order as the job file says."""
    return {
        "PK": f"ORDER#{order['_id']}",
        "SK": f"ITEM#{number:03d}",
        "EntityType": "Line",
        "Product": line["product"],
        "Quantity": Decimal(line["quantity"]),
        "Price": line["price"].to_decimal().normalize(),
    }


def iso(moment: datetime) -> str:
    """Write a moment as the contract's type table does: UTC, milliseconds only when not zero."""
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    milliseconds = moment.microsecond // 1000
    return f"{text}.{milliseconds:03d}Z" if milliseconds else f"{text}Z"


def _users(count: int) -> Iterator[dict[str, Any]]:
    """Yield users of several shapes: some have no theme, no addresses, or a score that is a text."""
    for number in range(1, count + 1):
        kinds = ("home", "work", "holiday")[: number % 4]
        address = {"street": f'{number} "Main" St', "city": "Zürich"}
        preferences: dict[str, Any] = {"notifications": {"email": number % 2 == 0, "push": False}}
        if number % 3:
            preferences["theme"] = "dark"
        yield {
            "username": f"user{number}",
            "email": f"user{number}@example.com",
            "profile": {
                "firstName": "Ana",
                "lastName": f"Müller {number}",
                "dateOfBirth": datetime(1950, 1, 1, tzinfo=UTC) + timedelta(days=number % 20_000),
            },
            "preferences": preferences,
            "score": "unknown" if number % 50 == 0 else number if number % 2 else number / 8,
            "createdAt": _BEGAN + timedelta(minutes=37 * number),
        } | (
            {"addresses": [{"type": kind, **address, "zipCode": f"{number:05d}"} for kind in kinds]}
            if number % 7
            else {"addresses": None}
        )


def _orders(count: int, users: int) -> Iterator[dict[str, Any]]:
    """Yield orders with their lines inside."""
    for number in range(1, count + 1):
        price = Decimal(500 + number * 7919 % 5000) / 100
        lines: list[dict[str, Any]] = [
            {
                "product": f"Product {1 + (number * 31 + line * 17) % 1000}",
                "quantity": 1 + (number + line) % 3,
                "price": Decimal128(price),
            }
            for line in range(1 + number % 4)
        ]
        total = price * sum(line["quantity"] for line in lines)
        yield {
            "_id": ObjectId(number.to_bytes(12, "big")),
            "user": f"user{1 + number * 7919 % users}",
            "status": _STATES[number % len(_STATES)],
            "total": Decimal128(total),
            "createdAt": _BEGAN + timedelta(minutes=5 * number, milliseconds=250 * number),
            "visits": Int64(2**40 + number),
            "shipping": {"method": "post", "stops": ["depot", "door"][: number % 3]},
            "lines": lines,
        } | ({"note": f"line one\nline two of {number}"} if number % 5 == 0 else {})
