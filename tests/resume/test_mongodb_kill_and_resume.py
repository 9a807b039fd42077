"""SIGKILL at random moments, resume behind `_id`s of any type: all items are there, and counted once."""

import random
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, DatetimeMS, Decimal128, ObjectId, Timestamp
from pymongo import MongoClient

from tests.support import loads
from tests.support.command import Command
from tests.support.kills import run_with_kills

DOCUMENTS = 8_000
KINDS = 8
FATES = ("items_written", "items_deleted", "items_skipped", "items_coalesced", "items_dead_lettered")


def mixed(number: int) -> Any:
    kinds = (
        number,
        f"text {number}",
        ObjectId(number.to_bytes(12, "big")),
        Binary(number.to_bytes(16, "big"), 4),
        {"a": number, "b": [number]},
        DatetimeMS(number),
        Timestamp(number + 1, 1),
        Decimal128(f"{number}.5"),
    )
    return kinds[number % KINDS]


def alike(number: int) -> Any:
    return ObjectId(number.to_bytes(12, "big"))


@pytest.mark.parametrize(("ids", "key", "workers"), [(mixed, "n", 1), (alike, "_id", 2)])
def test_a_run_killed_several_times_loses_nothing(
    mongodb_url, database, dynoxide, table_name, tmp_path: Path, ids, key, workers
):
    documents = [
        {"_id": ids(n), "n": n, "v": float("nan") if n % 1000 == 0 else n / 4, "pad": "x" * (n % 300)}
        for n in range(1, DOCUMENTS + 1)
    ]
    with MongoClient(mongodb_url) as client:
        client[database].c.insert_many(documents, ordered=False)
    loads.create_table(dynoxide, table_name)
    job = loads.job(mongodb_url, dynoxide, table_name) | {
        "source": {
            "type": "mongodb",
            "url": mongodb_url,
            "database": database,
            "collection": "c",
            "segments": 6,
            "batch_rows": 300,
        },
        "items": [{"name": "Doc", "key": {"PK": f"D#{{{key}}}", "SK": "D"}, "include": "all"}],
    }
    command = Command(tmp_path, job)
    ended, killed = run_with_kills(command, random.Random(workers), kills=3, longest_s=4.0, workers=workers)
    assert killed >= 1, "the kills came too late to mean anything"
    assert ended.code == 3, ended.stderr
    report = ended.report
    bad = DOCUMENTS // 1000
    assert report["rows_read"] == report["items_emitted"] == DOCUMENTS
    assert report["items_emitted"] == sum(report[figure] for figure in FATES)
    assert report["items_dead_lettered"] == bad == len(command.dead_letters())
    found = loads.items(dynoxide, table_name)
    assert {int(item["n"]["N"]) for item in found.values()} == {
        n for n in range(1, DOCUMENTS + 1) if n % 1000
    }
    assert len(found) == DOCUMENTS - bad
