"""A collection that was loaded into a table, and ways to damage either."""

from pathlib import Path
from typing import Any

from bson import Binary, DatetimeMS, Decimal128, ObjectId, Timestamp
from pymongo import MongoClient

from tests.support import loads
from tests.support.command import Command

ID_TYPES: dict[str, Any] = {
    "int": lambda n: n,
    "number": lambda n: (n, n + 0.5, Decimal128(f"{n}.125"))[n % 3],
    "text": lambda n: f'te\0xt/{n}#ü\u2028{{}}"\\n',
    "ObjectId": lambda n: ObjectId(n.to_bytes(12, "big")),
    "UUID": lambda n: Binary(n.to_bytes(16, "big"), 4),
    "date": lambda n: DatetimeMS(n * 86_400_123),
    "document": lambda n: {"a": n, "b": {"c": f"{n}"}},
    "timestamp": lambda n: Timestamp(n + 1, 1),
}
"""How the n-th `_id` is made; the last two have no plain text, so keys can't be made of them."""
BARE = tuple(ID_TYPES)[:-2]


def mixed(n: int) -> Any:
    """Return an `_id` of every type in turn."""
    return list(ID_TYPES.values())[n % len(ID_TYPES)](n)


class Loaded:
    """A collection of documents with two tags each, a table, and the command between them."""

    def __init__(self, url: str, database: str, endpoint: str, table: str, folder: Path, key: str) -> None:
        self.endpoint, self.table = endpoint, table
        self.mongo: MongoClient[dict[str, Any]] = MongoClient(url)
        self.collection = self.mongo[database].c
        job = loads.job(url, endpoint, table)
        job["source"] = {"type": "mongodb", "url": url, "database": database, "collection": "c"}
        job["items"] = [
            {"name": "Doc", "key": {"PK": f"D#{{{key}}}", "SK": "D"}, "attributes": {"v": "{v}", "n": "{n}"}},
            {
                "name": "Tag",
                "for_each": "tags",
                "key": {"PK": f"D#{{{key}}}", "SK": "T#{index:03d}"},
                "attributes": {"x": "{each.x}"},
            },
        ]
        self.command = Command(folder, job)
        loads.create_table(endpoint, table)

    def fill(self, make_id: Any, count: int, **changes: Any) -> None:
        """Put `count` documents in; `changes` are made from the number."""
        documents = []
        for n in range(1, count + 1):
            document = {"_id": make_id(n), "n": n, "v": n / 4, "tags": [{"x": f"x{n}"}, {"x": n}]}
            documents.append(document | {name: make(n) for name, make in changes.items()})
        self.collection.insert_many(documents, ordered=False)

    def run(self, *, code: int = 0) -> dict[str, Any]:
        ended = self.command.here("run", "--json", "--workers", "1", "--fresh")
        assert ended.code == code, ended.stderr
        loads.assert_balanced(ended.report)
        return ended.report

    def report(self, command: str, *arguments: str, code: int = 0) -> dict[str, Any]:
        ended = self.command.here(command, "--json", *arguments)
        assert ended.code == code, (ended.stdout, ended.stderr)
        return ended.report

    def items(self) -> dict[str, dict[str, Any]]:
        return loads.items(self.endpoint, self.table)

    def put(self, partition: str, sort: str, **attributes: Any) -> None:
        item = {"PK": {"S": partition}, "SK": {"S": sort}, **attributes}
        loads.client(self.endpoint).put_item(TableName=self.table, Item=item)

    def delete(self, partition: str, sort: str) -> None:
        key = {"PK": {"S": partition}, "SK": {"S": sort}}
        loads.client(self.endpoint).delete_item(TableName=self.table, Key=key)

    def key_of(self, n: int) -> str:
        """Return the partition key under which the n-th document is."""
        (place,) = [key for key, item in self.items().items() if item.get("n") == {"N": n}]
        return place.split("|")[0]
