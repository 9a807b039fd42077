"""What a MongoDB source can't read is said in one sentence, without secrets, before or when it is met."""

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from bench import mongod
from engine.errors import BackfillError, JobError, PermanentError, TransientError
from tests.support.mongo_source import fill, numbers, opened


async def test_ids_of_one_type_are_proved_and_guarded(mongodb_url, database):
    await fill(mongodb_url, database, [{"_id": ObjectId(n.to_bytes(12, "big")), "n": n} for n in range(10)])
    source = await opened(mongodb_url, database)
    try:
        assert source.ticket.schema.columns[0].kind.value == "string"
        async with AsyncMongoClient(mongodb_url) as client:
            await client[database].c.insert_one({"_id": "0" * 24, "n": 99})
        source._reader.sessions._at = None  # as after a resume: what is read is newer than what was proved
        with pytest.raises(PermanentError, match="another type"):
            await numbers(source)
    finally:
        await source.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"collection": "d"},
            "source.collection: the database .* has no collection 'd'; did you mean|there are c",
        ),
        ({"filter": {"$where_": 1}}, "source.filter: unknown top level operator"),
        ({"filter": {"n": {"$gtx": 1}}}, r"source.filter: unknown operator: \$gtx"),
        ({"filter": {"_id": {"$oid": "xyz"}}}, "source.filter: .*'xyz' is not a valid ObjectId"),
        (
            {"filter": {"at": {"$date": 1e19}}},
            "source.filter: .*as Extended JSON says",
        ),
        ({"projection": {"n": 1, "m": 0}}, "source.projection: Cannot do exclusion"),
        (
            {"url": "mongodb://127.0.0.1:1/?x=y&directConnection=perhaps"},
            "source.url: not a usable MongoDB URL",
        ),
    ],
)
async def test_what_does_not_fit_is_one_sentence(mongodb_url, database, changes, said):
    await fill(mongodb_url, database, [{"n": 1}])
    with pytest.raises(JobError, match=said) as caught:
        await opened(changes.pop("url", mongodb_url), database, **changes)
    assert "\n" not in str(caught.value)


async def test_an_unreachable_server_is_a_passing_fault(database, monkeypatch):
    monkeypatch.setattr("connectors.mongodb.session.SELECTION_TIMEOUT_MS", 300)
    with pytest.raises(
        TransientError, match=r"source.url: no MongoDB server answers at 127.0.0.1:1;"
    ) as caught:
        await opened("mongodb://user:sesame@127.0.0.1:1/", database)
    assert "sesame" not in str(caught.value)


async def test_a_wrong_password_is_the_jobs_fault(tmp_path, database):
    with mongod.mongod(tmp_path / "data", "--auth") as url:
        async with AsyncMongoClient(url) as client:
            await client.admin.command("createUser", "reader", pwd="right", roles=["readAnyDatabase"])
        host = url.removeprefix("mongodb://")
        with pytest.raises(
            JobError, match=r"source.url: MongoDB at .* refused: Authentication failed"
        ) as caught:
            await opened(f"mongodb://reader:sesame@{host}", database)
        assert "sesame" not in str(caught.value)
        with pytest.raises(JobError, match=r"source.url: MongoDB at .* refused"):
            await opened(url, database)
        with pytest.raises(BackfillError, match="has no collection"):
            await opened(f"mongodb://reader:right@{host}", database)
