"""A million documents: what loading them costs, how even their segments are, how long a sample takes.

Invariant: mongod and the null target are this program's own, and every load is checked to be whole.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId, Timestamp
from pymongo import AsyncMongoClient

from bench import compare, contenders, measure, mongod
from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.mongodb.section import MongoDBSection
from connectors.mongodb.source import MongoDBSource, open_source
from engine.job.model import Job
from engine.rules.fields import wanted_fields

DATABASE = "bench"
INSERTED_TOGETHER = 10_000
SEGMENTS = 16
SAMPLED = 1_000
_BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
_NAMES = [
    f"{what}{of}" for what in ("order", "user", "city", "phone", "state") for of in ("Id", "At", "No", "X")
]

Make = Callable[[int], Mapping[str, Any]]


def user(n: int) -> Mapping[str, Any]:
    """Return a nested user of about 450 bytes."""
    return {
        "_id": ObjectId(n.to_bytes(12, "big")),
        "username": f"user{n}",
        "email": f"user{n}@example.com",
        "profile": {"firstName": f"First{n % 97}", "lastName": f"Last{n % 89}", "born": _BEGAN},
        "preferences": {"theme": "dark", "notifications": {"email": n % 2 == 0, "push": n % 3 == 0}},
        "addresses": [{"type": "home", "street": f"{n % 999} Main Street", "city": "Springfield"}],
        "score": n % 1_000 / 4,
        "createdAt": _BEGAN + timedelta(seconds=n),
    }


def order(n: int) -> Mapping[str, Any]:
    """Return a flat order of 12 fields and about 350 bytes."""
    return {
        "_id": ObjectId(n.to_bytes(12, "big")),
        "user": n * 7919 % 50_000,
        "orderDate": _BEGAN + timedelta(minutes=n),
        "status": ("pending", "paid", "shipped", "completed")[n % 4],
        "total": Decimal128(f"{n * 37 % 100_000 / 100:.2f}"),
        "currency": "USD",
        "count": 1 + n % 9,
        "paid": n % 2 == 0,
        "email": f"user{n * 7919 % 50_000}@example.com",
        "address": f"{n % 999} Main Street, Springfield, {n % 50}",
        "visits": Int64(n),
        "updatedAt": _BEGAN + timedelta(seconds=n),
    }


def of_its_own_shape(n: int) -> Mapping[str, Any]:
    """Return a document whose names are data: fields that few others have, maps keyed by user."""
    drawn = Random(n)
    values = (n, f"text {n}", n / 4, n % 2 == 0, None, Int64(n), _BEGAN + timedelta(seconds=n))
    fields = {name: drawn.choice(values) for name in drawn.sample(_NAMES, 10)}
    seen = {f"user{drawn.randrange(10**6)}": {"times": n % 7, "last": _BEGAN} for _ in range(1 + n % 4)}
    return {"_id": ObjectId(n.to_bytes(12, "big")), "n": n, **fields, "by": seen}


def ids_of_eight_types(n: int) -> tuple[Any, ...]:
    """Return an `_id` of each of eight types."""
    return (
        n,
        f"text {n}",
        ObjectId(n.to_bytes(12, "big")),
        Binary(n.to_bytes(16, "big"), 4),
        {"a": n, "b": {"c": f"{n}"}},
        DatetimeMS(n * 1_000),
        Timestamp(n + 1, 1),
        Decimal128(f"{n}.5"),
    )


def of_eight_types(n: int) -> Mapping[str, Any]:
    """Return a small document with an `_id` of one of eight types."""
    kinds = ids_of_eight_types(n)
    return {"_id": kinds[n % len(kinds)], "n": n}


async def fill(url: str, collection: str, make: Make, documents: int) -> None:
    """Fill a collection; the same documents every time."""
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        for first in range(0, documents, INSERTED_TOGETHER):
            some = [dict(make(n)) for n in range(first, min(documents, first + INSERTED_TOGETHER))]
            await client[DATABASE][collection].insert_many(some, ordered=False)


def job(url: str, collection: str, rules: list[dict[str, Any]], endpoint: str) -> dict[str, Any]:
    """Return a job file."""
    return {
        "name": collection,
        "source": {"type": "mongodb", "url": url, "database": DATABASE, "collection": collection},
        "target": {"type": "dynamodb", "table": collection, "region": "us-east-1", "endpoint_url": endpoint},
        "items": rules,
    }


USER_RULES: list[dict[str, Any]] = [
    {
        "name": "Profile",
        "key": {"PK": "USER#{_id}", "SK": "PROFILE"},
        "attributes": {
            "GSI1PK": "EMAIL#{email}",
            "username": "{username}",
            "email": "{email}",
            "firstName": "{profile.firstName}",
            "lastName": "{profile.lastName}",
            "born": "{profile.born:%Y-%m-%d}",
            "theme": "{preferences.theme}",
            "byEmail": "{preferences.notifications.email}",
            "score": "{score}",
            "createdAt": "{createdAt}",
        },
    },
    {
        "name": "Address",
        "for_each": "addresses",
        "key": {"PK": "USER#{_id}", "SK": "ADDRESS#{each.type}#{index:03d}"},
        "attributes": {"street": "{each.street}", "city": "{each.city}"},
    },
]
ORDER_RULES: list[dict[str, Any]] = [
    {"name": "Order", "key": {"PK": "ORDER#{_id}", "SK": "ORDER"}, "include": "all"}
]
MIXED_RULES: list[dict[str, Any]] = [
    {"name": "Doc", "key": {"PK": "DOC#{_id}", "SK": "DOC"}, "include": "all"}
]
KINDS: Mapping[str, tuple[str, Make, list[dict[str, Any]]]] = {
    "nested users": ("users", user, USER_RULES),
    "flat orders": ("orders", order, ORDER_RULES),
    "of any shape": ("mixed", of_its_own_shape, MIXED_RULES),
}
"""By what they are called: their collection, what makes them, the rules."""
TYPES_RULES: list[dict[str, Any]] = [
    {"name": "Doc", "key": {"PK": "D#{n}", "SK": "D"}, "attributes": {"n": "{n}"}}
]


async def opened(url: str, collection: str, rules: list[dict[str, Any]]) -> MongoDBSource:
    """Open a collection as a run does."""
    made = Job.model_validate(job(url, collection, rules, "http://127.0.0.1:1"))
    assert isinstance(made.source, MongoDBSection), "it was made here"
    return await open_source(made.source, wanted_fields(made), codec=DOCUMENTS)


async def balance(url: str, collection: str) -> str:
    """Cut a collection of mixed `_id`s and read each segment."""
    source = await opened(url, collection, TYPES_RULES)
    try:
        began = time.perf_counter()
        segments = await source.segments(SEGMENTS)
        cut_s = time.perf_counter() - began
        rows = [sum([part.rows.num_rows async for part in source.read(each, None)]) for each in segments]
    finally:
        await source.close()
    mean = sum(rows) / len(rows)
    return (
        f"{sum(rows):,} documents in {len(rows)} segments, cut in {cut_s:.1f} s: the smallest has"
        f" {min(rows) / mean:.1%} of the mean, the largest {max(rows) / mean:.1%}"
    )


async def drawn(url: str, collection: str) -> str:
    """Draw documents at random, and look them up."""
    source = await opened(url, collection, ORDER_RULES)
    try:
        began = time.perf_counter()
        keys = await source.sample_keys(SAMPLED, 1)
        drawn_s = time.perf_counter() - began
        found = sum([batch.rows.num_rows async for batch in source.rows_by_key(keys)])
    finally:
        await source.close()
    found_s = time.perf_counter() - began - drawn_s
    return f"{found:,} documents drawn in {drawn_s:.1f} s and looked up in {found_s:.1f} s"


def loaded(url: str, collection: str, rules: list[dict[str, Any]], documents: int) -> str:
    """Load a collection into the null target in one process."""
    return figures(measure.load(partial(job, url, collection, rules), documents * len(rules)), documents)


def loaded_by_ingestr(url: str, collection: str, documents: int) -> str:
    """Load a collection into the null target with ingestr, where that can be had."""
    able, missing = contenders.ready([contenders.INGESTR], lambda line: print(line, file=sys.stderr))
    if not able:
        return f"left out: {missing[contenders.INGESTR.name]}"
    command = contenders.INGESTR.ingesting(f"{DATABASE}.{collection}", collection, key="_id")
    return figures(measure.whole(contenders.INGESTR, command, url, documents), documents)


def run(server: str, sizes: compare.Sizes, tell: compare.Tell) -> dict[str, Any]:
    """Load each kind in one process, and the flat ones with ingestr, in rounds; a part of `make bench`."""
    del server  # PostgreSQL's
    able, missing = contenders.ready([contenders.INGESTR], tell)
    count = sizes.documents
    took: dict[str, list[measure.RunSample]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="backfill-bench-mongo-") as place,
        mongod.mongod(Path(place) / "data") as url,
    ):
        for collection, make, _ in KINDS.values():
            asyncio.run(fill(url, collection, make, count))
        for _ in range(sizes.rounds):
            for kind, (collection, _, rules) in KINDS.items():
                made = partial(job, url, collection, rules)
                took.setdefault(kind, []).append(measure.load(made, count * len(rules)))
                tell(f"{kind}: {figures(took[kind][-1], count)}")
            for peer in able:
                command = peer.ingesting(f"{DATABASE}.orders", "orders", key="_id")
                took.setdefault(peer.name, []).append(measure.whole(peer, command, url, count))
                tell(f"{peer.name}: {figures(took[peer.name][-1], count)}")
    return {
        "documents": count,
        "missing": missing,
        **{
            kind: {"us_per_document": _us_per_document(samples, count), **compare.summary(samples)}
            for kind, samples in took.items()
        },
    }


def _us_per_document(samples: Sequence[measure.RunSample], documents: int) -> float:
    return round(median(each.cpu_us_per_item * each.rows for each in samples) / documents, 2)


def figures(took: measure.RunSample, documents: int) -> str:
    """Say what a load took."""
    return (
        f"{took.rows:,} items: {took.cpu_us_per_item:.1f} µs of CPU an item,"
        f" {took.cpu_us_per_item * took.rows / documents:.1f} a document; {took.items_per_s:,.0f} items/s,"
        f" {took.peak_rss_mb:.0f} MB at the peak"
    )


def main() -> None:
    """Fill the collections and print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=1_000_000)
    documents = parser.parse_args().documents

    def say(what: str, figures: str) -> None:
        print(f"{what:16} {figures}  (load {os.getloadavg()[0]:.1f})", flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="backfill-bench-mongo-") as place,
        mongod.mongod(Path(place) / "data") as url,
    ):
        asyncio.run(fill(url, "types", of_eight_types, documents))
        for kind, (name, make, rules) in KINDS.items():
            asyncio.run(fill(url, name, make, documents))
            say(kind, loaded(url, name, rules, documents))
        say("orders, ingestr", loaded_by_ingestr(url, "orders", documents))
        say("eight _id types", asyncio.run(balance(url, "types")))
        say("a sample", asyncio.run(drawn(url, "orders")))


if __name__ == "__main__":
    main()
