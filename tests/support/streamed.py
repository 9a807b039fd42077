"""A job that goes by MongoDB's log: what is done to its collection, and the job itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from tests.support import loads
from tests.support.command import Command

IMAGES = {"changeStreamPreAndPostImages": {"enabled": True}}


class Streamed:
    """A collection of a hundred documents, a table, and the command between them."""

    def __init__(self, url: str, database: str, endpoint: str, table: str, folder: Path, **options: Any):
        self.mongo: MongoClient[dict[str, Any]] = MongoClient(url)
        self.db = self.mongo[database]
        self.collection = self.db.create_collection("c", **options)
        self.collection.insert_many(
            [{"_id": n, "v": f"first{n}", "tags": [{"x": "a"}, {"x": "b"}]} for n in range(1, 101)]
        )
        job = loads.job(url, endpoint, table)
        job["source"] = {
            "type": "mongodb",
            "url": url,
            "database": database,
            "collection": "c",
            "catch_up": {"type": "log"},
        }
        job["items"] = [
            {"name": "Doc", "key": {"PK": "D#{_id}", "SK": "D"}, "attributes": {"v": "{v}"}},
        ]
        self.command = Command(folder, job)
        loads.create_table(endpoint, table)


@contextmanager
def streaming(
    url: str, database: str, endpoint: str, table: str, folder: Path, **options: Any
) -> Iterator[Streamed]:
    """Make one, and close its client."""
    made = Streamed(url, database, endpoint, table, folder, **options)
    try:
        yield made
    finally:
        made.mongo.close()
