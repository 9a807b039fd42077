"""What MongoDB's unique indexes prove of fields whose values may have any type, and what they don't."""

from collections.abc import Sequence
from typing import Any

import pytest
from bson import DatetimeMS, ObjectId
from pymongo import AsyncMongoClient

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.mongodb.source import open_source
from engine.rules.fields import wanted_fields
from engine.rules.uniqueness import KeyProof, key_proof
from tests.support.mongo_source import job

TEXTS: list[Any] = ["a", "b", "", "é", None]


async def proof(url: str, database: str, key: str = "{email}") -> KeyProof:
    the_job = job(url, database, key=key)
    source = await open_source(
        the_job.source, wanted_fields(the_job), since=None, codec=DOCUMENTS, patience_s=20
    )
    try:
        return key_proof(the_job, source.ticket.schema)
    finally:
        await source.close()


async def filled(url: str, database: str, values: Sequence[Any], **index: Any) -> None:
    """Fill the collection, and make a unique index over `email` with these options."""
    async with AsyncMongoClient(url) as client:
        collection = client[database].c
        await collection.insert_many([{"n": n, "email": value} for n, value in enumerate(values)])
        await collection.create_index(index.pop("keys", [("email", 1)]), **{"unique": True, **index})


@pytest.mark.parametrize(
    ("values", "index"),
    [
        (TEXTS, {}),
        (TEXTS, {"keys": [("email", -1)]}),
        (TEXTS, {"sparse": True}),
        (TEXTS, {"collation": {"locale": "en", "strength": 2}}),
        ([ObjectId(), ObjectId()], {}),
        (["a", ["b", "c"], "d"], {}),  # a list makes no key
    ],
)
async def test_texts_in_a_unique_index_are_one_documents_alone(mongodb_url, database, values, index):
    await filled(mongodb_url, database, values, **index)
    assert (await proof(mongodb_url, database)).reason is None
    assert (await proof(mongodb_url, database, "{n}")).reason is not None


@pytest.mark.parametrize(
    ("values", "index"),
    [
        (["1", 1], {}),
        (["a", 1, "b"], {}),
        ([1, 2], {}),  # doubles and decimals that differ may print alike
        ([ObjectId("0" * 24), "0" * 24], {}),
        ([DatetimeMS(0), "1970-01-01T00:00:00Z"], {}),
        (["a", ["b", 5]], {}),
        ([["a", "b"], "c"], {}),
        ([None], {}),
        (TEXTS, {"unique": False}),
        (TEXTS, {"partialFilterExpression": {"email": {"$type": "string"}}}),
        (TEXTS, {"keys": [("email", 1), ("n", 1)]}),
        (TEXTS, {"keys": [("other", 1), ("n", 1)]}),
        (TEXTS, {"hidden": True}),
    ],
)
async def test_what_only_looks_unique_is_no_proof(mongodb_url, database, values, index):
    await filled(mongodb_url, database, values, **index)
    assert (await proof(mongodb_url, database)).reason is not None


async def test_a_field_within_a_document_is_the_one_that_the_index_is_over(mongodb_url, database):
    async with AsyncMongoClient(mongodb_url) as client:
        collection = client[database].c
        await collection.insert_many([{"p": {"mail": "a"}}, {"p": {"mail": "b"}, "p.mail": "x"}])
        await collection.create_index([("p.mail", 1)], unique=True)
    assert (await proof(mongodb_url, database, "{p.mail}")).reason is None
    assert (await proof(mongodb_url, database, '{"p.mail"}')).reason is not None


async def test_a_server_without_snapshots_proves_ids_alone(mongodb_url, database):
    async with AsyncMongoClient(mongodb_url) as client:
        collection = await client[database].create_collection("c", capped=True, size=100_000)
        await collection.insert_many([{"email": "a"}, {"email": "b"}])
        await collection.create_index([("email", 1)], unique=True)
    assert (await proof(mongodb_url, database)).reason is not None
    assert (await proof(mongodb_url, database, "{_id}")).reason is None


async def test_object_ids_and_uuids_have_a_width(mongodb_url, database):
    await filled(mongodb_url, database, TEXTS)
    assert (await proof(mongodb_url, database, "{email}#{_id}")).reason is None
    assert (await proof(mongodb_url, database, "{email}{_id}")).reason is None
    assert (await proof(mongodb_url, database, "{n}#{email}#{_id}")).reason is None
    async with AsyncMongoClient(mongodb_url) as client:
        await client[database].c.insert_one({"_id": "text", "email": "c"})
    assert (await proof(mongodb_url, database, "{n}#{_id}")).reason is not None
