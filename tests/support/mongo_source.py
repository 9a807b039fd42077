"""A collection of one test: filled, opened as a source, read; and `_id`s of every type."""

from typing import Any

import bson
from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey
from pymongo import AsyncMongoClient

from bench.documents import ids_of_eight_types
from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.mongodb.source import open_source
from engine.batch import Cursor, Segment
from engine.job.model import Job
from engine.rules.fields import wanted_fields

WHOLE = Segment(0, None, None, None)


def job(url: str, database: str, *, key: str = "{_id}", **changes: Any) -> Job:
    source = {"type": "mongodb", "url": url, "database": database, "collection": "c"} | changes
    return Job.model_validate(
        {
            "name": "test",
            "source": source,
            "target": {"type": "dynamodb", "table": "items"},
            "items": [{"name": "Doc", "key": {"PK": f"D#{key}"}, "attributes": {"n": "{n}"}}],
        }
    )


async def opened(url: str, database: str, *, since: str | None = None, **changes: Any) -> Any:
    the_job = job(url, database, **changes)
    return await open_source(
        the_job.source, wanted_fields(the_job), since=since, codec=DOCUMENTS, patience_s=20
    )


async def fill(url: str, database: str, documents: list[Any], **options: Any) -> None:
    async with AsyncMongoClient(url) as client:
        await client[database].create_collection("c", **options)
        if documents:
            await client[database].c.insert_many(documents, ordered=False)


async def numbers(
    source: Any, segment: Segment = WHOLE, after: Cursor | None = None, stop: int = 10**9
) -> list[int]:
    """Return the field n of every document of a segment, until `stop` of them were read."""
    found: list[int] = []
    batches = source.read(segment, after)
    async for batch in batches:
        found += [int(wire["wire"][6:-2]) for wire in batch.rows.column("n").to_pylist()]
        numbers.end = batch.end  # type: ignore[attr-defined]
        if len(found) >= stop:
            break
    await batches.aclose()
    return found


def of_eight_types(count: int) -> list[Any]:
    """Return ids of eight types, in no order."""
    return [each for number in range(1, count + 1) for each in ids_of_eight_types(number)]


HOSTILE_IDS: list[Any] = [
    *(MinKey(), MaxKey(), None, True, False, float("nan"), float("-inf"), -0.0, Int64(2**62), 1e300),
    *(
        Decimal128("1E+6000"),
        "",
        "\x00",
        "ü😀",
        b"",
        Binary(b"x", 128),
        Binary(b"x", 2),
    ),
    *({}, {"b": 1, "a": 2}, {"a": 2, "b": 1}, DatetimeMS(2**62), DatetimeMS(-(2**62)), bson.Code("f")),
]


async def kill_cursors(client: Any) -> None:
    await client.admin.command("killAllSessions", [])
