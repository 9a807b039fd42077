"""`backfill plan` over a collection: what it says of size, of what will be slow, of what isn't one moment."""

from pathlib import Path
from typing import Any

import pytest
from bson import DatetimeMS
from pymongo import MongoClient

from bench import mongod
from connectors.mongodb import facts
from tests.support import loads
from tests.support.command import Command

DOCUMENTS = 2_000


def planned(url: str, database: str, endpoint: str, table: str, folder: Path, **source: Any) -> Any:
    job = loads.job("", endpoint, table)
    job["source"] = {"type": "mongodb", "url": url, "database": database, "collection": "c", **source}
    job["target"]["create"] = {"billing": "on_demand"}
    job["items"] = [{"name": "Doc", "key": {"PK": "D#{_id}", "SK": "D"}, "include": "all"}]
    ended = Command(folder, job).here("plan", "--json")
    assert ended.code in (0, 4), ended.stderr
    return ended.report


@pytest.fixture
def plan(mongodb_url, database, dynoxide, table_name, tmp_path):
    """Fill a collection made with some options, and plan a job on it."""
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_url)

    def made(options: dict[str, Any] | None = None, **source: Any) -> Any:
        client[database].create_collection("c", **options or {})
        documents = [{"n": n, "at": DatetimeMS(n), "pad": "x" * 100} for n in range(DOCUMENTS)]
        client[database].c.insert_many(documents)
        client[database].create_collection("v", viewOn="c", pipeline=[])
        return planned(mongodb_url, database, dynoxide, table_name, tmp_path, **source)

    yield made
    client.close()


def test_documents_and_bytes_are_those_of_the_server(plan, mongodb_url, database):
    report = plan()
    with MongoClient(mongodb_url) as client:
        stats = client[database].command("collStats", "c")
    assert report["source"]["size_bytes"] == stats["size"] > DOCUMENTS * 100
    assert (report["source"]["rows"], report["source"]["rows_are"]) == (DOCUMENTS, "counted")
    assert report["warnings"] == []


def test_what_has_no_index_on_id_is_told(plan):
    report = plan(collection="v")
    assert report["source"]["size_bytes"] is None
    assert report["source"]["rows"] == DOCUMENTS
    assert "v is a view, which has no index on _id: it is read in one segment" in report["warnings"][0]


def test_a_time_series_is_told(plan):
    report = plan({"timeseries": {"timeField": "at"}})
    assert "c is a timeseries, which has no index on _id" in report["warnings"][0]


def test_a_capped_collection_is_told(plan):
    report = plan({"capped": True, "size": 10_000_000})
    said = " ".join(report["warnings"])
    assert "no snapshot of this collection" in said
    assert "newer ones push out before it is read" in said


def test_what_no_index_makes_quick_is_told(plan, monkeypatch):
    monkeypatch.setattr(facts, "MANY_DOCUMENTS", 1_000)
    report = plan(filter={"n": {"$lt": 100}}, watermark="at")
    assert report["source"]["rows"] == 100
    said, again = report["warnings"]
    assert "changed within 60s before the last one's watermark" in again
    assert said.startswith("For source.filter and source.watermark the server looks at all 2,000 documents")


def test_a_load_that_takes_longer_than_the_snapshot_is_kept_is_told(
    plan, mongodb_url, database, dynoxide, table_name, tmp_path
):
    history = {"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 1}
    with MongoClient(mongodb_url) as client:
        client.admin.command(history)
        try:
            report = plan()
            assert report["time"]["now"]["seconds"] < 1
            assert report["warnings"] == []
            client[database].c.insert_many([{"pad": "x" * 10_000} for _ in range(500)])
            report = planned(mongodb_url, database, dynoxide, table_name, tmp_path)
        finally:
            client.admin.command(history | {"minSnapshotHistoryWindowInSeconds": 300})
    assert report["time"]["now"]["seconds"] > 1
    (said,) = report["warnings"]
    assert "the server keeps a snapshot for 1 s" in said


def test_secondaries_without_a_snapshot_are_told(dynoxide, database, table_name, tmp_path):
    with mongod.mongod(tmp_path / "data", "--quiet") as url:
        with MongoClient(url) as client:
            client[database].c.insert_one({"n": 1})
        url += "?readPreference=secondaryPreferred"
        report = planned(url, database, dynoxide, table_name, tmp_path)
    assert any("readPreference=secondaryPreferred" in said for said in report["warnings"])
