"""The job files for MongoDB in examples/ give the items that the playbook shows."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from bson import ObjectId
from pymongo import MongoClient

from bench import readback
from tests.support.command import Command

EXAMPLES = Path(__file__).parents[2] / "examples"


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


USER = {
    "_id": ObjectId("507f1f77bcf86cd799439011"),
    "username": "john_doe",
    "email": "john@example.com",
    "profile": {
        "firstName": "John",
        "lastName": "Doe",
        "dateOfBirth": moment(1990, 1, 1),
        "avatar": "https://cdn.example.com/avatars/john.jpg",
    },
    "preferences": {"theme": "dark", "notifications": {"email": True, "push": False}},
    "addresses": [
        {"type": "home", "street": "123 Main St", "city": "Seattle", "state": "WA", "zipCode": "98101"}
    ],
    "createdAt": moment(2023, 1, 15, 10, 30),
    "lastLoginAt": moment(2024, 1, 15, 15, 45),
    "status": "active",
}
USER_ITEMS = [
    {
        "PK": "USER#john_doe",
        "SK": "PROFILE",
        "GSI1PK": "EMAIL#john@example.com",
        "GSI1SK": "USER",
        "username": "john_doe",
        "email": "john@example.com",
        "firstName": "John",
        "lastName": "Doe",
        "dateOfBirth": "1990-01-01",
        "avatar": "https://cdn.example.com/avatars/john.jpg",
        "theme": "dark",
        "emailNotifications": True,
        "pushNotifications": False,
        "createdAt": "2023-01-15T10:30:00Z",
        "lastLoginAt": "2024-01-15T15:45:00Z",
        "status": "active",
        "entityType": "USER_PROFILE",
    },
    {
        "PK": "USER#john_doe",
        "SK": "ADDRESS#home",
        "addressType": "home",
        "street": "123 Main St",
        "city": "Seattle",
        "state": "WA",
        "zipCode": "98101",
        "entityType": "USER_ADDRESS",
    },
]
ORDER = {
    "_id": ObjectId("507f191e810c19729de860ea"),
    "userId": USER["_id"],
    "status": "shipped",
    "totalAmount": 149.97,
    "currency": "USD",
    "createdAt": moment(2024, 1, 15, 10, 0),
    "updatedAt": moment(2024, 1, 16, 8, 30),
    "items": [
        {"productId": ObjectId("507f191e810c19729de860eb"), "quantity": 2, "price": 49.99, "name": "Mouse"},
        {"productId": "P-2", "quantity": 1, "price": 49.99, "name": "Keyboard"},
    ],
}
ORDER_KEY = "ORDER#507f191e810c19729de860ea"
ORDER_ITEMS = [
    {
        "PK": ORDER_KEY,
        "SK": "METADATA",
        "GSI1PK": "USER#507f1f77bcf86cd799439011",
        "GSI1SK": "ORDER#2024-01-15T10:00:00Z",
        "GSI2PK": "STATUS#shipped",
        "GSI2SK": ORDER_KEY,
        "orderId": "507f191e810c19729de860ea",
        "userId": "507f1f77bcf86cd799439011",
        "status": "shipped",
        "totalAmount": "149.97",
        "currency": "USD",
        "entityType": "ORDER",
        "createdAt": "2024-01-15T10:00:00Z",
        "updatedAt": "2024-01-16T08:30:00Z",
    },
    {
        "PK": ORDER_KEY,
        "SK": "ITEM#000",
        "entityType": "ORDER_ITEM",
        "productId": "507f191e810c19729de860eb",
        "quantity": Decimal(2),
        "price": "49.99",
        "itemName": "Mouse",
    },
    {
        "PK": ORDER_KEY,
        "SK": "ITEM#001",
        "entityType": "ORDER_ITEM",
        "productId": "P-2",
        "quantity": Decimal(1),
        "price": "49.99",
        "itemName": "Keyboard",
    },
]
GENERIC_ITEMS = [
    {
        "PK": "orders#507f191e810c19729de860ea",
        "SK": "DATA",
        "entityType": "orders",
        "originalId": "507f191e810c19729de860ea",
        "userId": "507f1f77bcf86cd799439011",
        "status": "shipped",
        "totalAmount": Decimal("149.97"),
        "currency": "USD",
        "createdAt": "2024-01-15T10:00:00Z",
        "updatedAt": "2024-01-16T08:30:00Z",
        "items": [
            {
                "productId": "507f191e810c19729de860eb",
                "quantity": Decimal(2),
                "price": Decimal("49.99"),
                "name": "Mouse",
            },
            {"productId": "P-2", "quantity": Decimal(1), "price": Decimal("49.99"), "name": "Keyboard"},
        ],
    }
]


@pytest.mark.parametrize(
    ("example", "expected"), [("users", USER_ITEMS), ("orders", ORDER_ITEMS), ("generic", GENERIC_ITEMS)]
)
def test_examples_give_the_playbooks_items(
    mongodb_url,
    database,
    dynoxide,
    table_name,
    tmp_path,
    monkeypatch,
    example,
    expected: list[dict[str, Any]],
):
    with MongoClient(mongodb_url) as client:
        client[database].users.insert_one(USER)
        client[database].orders.insert_one(ORDER)
    for name in ("USERS_TABLE", "ORDERS_TABLE", "TARGET_TABLE"):
        monkeypatch.setenv(name, table_name)
    monkeypatch.setenv("MONGODB_URL", mongodb_url)
    monkeypatch.setenv("MONGODB_DATABASE", database)
    monkeypatch.setenv("COLLECTION", "orders")
    job = yaml.safe_load((EXAMPLES / f"mongodb-{example}.yaml").read_text(encoding="utf-8"))
    job["target"]["endpoint_url"] = dynoxide
    command = Command(tmp_path, job)
    assert command.here("table create").code == 0
    ended = command.here("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    wanted = {(item["PK"], item["SK"]): item for item in expected}
    assert readback.scan(dynoxide, table_name) == wanted
