"""`--delete-extra` deletes what no row stands behind: never on doubt, whatever keys look like.

Rows are away while the source is read, so that their items are in question, and back when they are looked up.
"""

import asyncio

import pytest
from bson import Decimal128

from engine.commands.verify import recheck
from engine.commands.verify.opened_job import OpenedJob
from engine.commands.verify.target_pass import TargetPass
from tests.support import loads
from tests.support.command import Command
from tests.support.mongo_load import Loaded
from tests.support.pg import execute

ARGUMENTS = ("verify", "--full", "--repair", "--delete-extra")
IDS = {
    "NUL": ["a\0b", "\0", "a\0D#a", "plain"],
    "number": [Decimal128("1.50"), Decimal128("1E+2"), 0.1, 1e23, 7],
}


@pytest.fixture
def coming_back(monkeypatch):
    """Return a function that takes what is to happen when everything was read once."""
    todo = []

    async def pause(seconds):
        while todo:
            await asyncio.to_thread(todo.pop())

    monkeypatch.setattr(recheck, "pause", pause)
    return todo.append


def loaded(url, endpoint, table, folder):
    """Return the command of a job whose table of 50 rows is loaded."""
    asyncio.run(
        execute(
            url,
            "CREATE TABLE t (id int PRIMARY KEY, v text)",
            "INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 50) g",
        )
    )
    loads.create_table(endpoint, table)
    command = Command(folder, loads.job(url, endpoint, table))
    assert command.here("run", "--workers", "1").code == 0
    return command


@pytest.mark.parametrize(("kind", "key_type"), [("NUL", "S"), ("number", "S"), ("number", "N")])
def test_items_of_documents_that_are_there_stay(
    mongodb_url, database, dynoxide, table_name, tmp_path, coming_back, kind, key_type
):
    made = Loaded(mongodb_url, database, dynoxide, table_name, tmp_path, "_id")
    if key_type == "N":
        loads.client(dynoxide).delete_table(TableName=table_name)
        loads.create_table(dynoxide, table_name, key_type="N")
        for rule in made.command.job["items"]:
            rule["key"]["PK"] = "{_id}"
    documents = [{"_id": one, "n": n, "v": n, "tags": [{"x": n}]} for n, one in enumerate(IDS[kind])]
    made.collection.insert_many(documents)
    made.run()
    before = made.items()
    stranger = {"N": "99"} if key_type == "N" else {"S": "D#x\0y" if kind == "NUL" else "D#99"}
    loads.client(dynoxide).put_item(TableName=table_name, Item={"PK": stranger, "SK": {"S": "D"}})
    made.collection.delete_many({"n": {"$lt": len(documents) - 1}})
    coming_back(lambda: made.collection.insert_many(documents[:-1]))
    report = made.report(*ARGUMENTS)
    assert (report["extra"], report["deleted"]) == (1, 1)
    assert made.items() == before
    made.mongo.close()


def test_one_key_that_cannot_be_looked_up_condemns_no_other(
    postgres_url, dynoxide, table_name, tmp_path, coming_back
):
    command = loaded(postgres_url, dynoxide, table_name, tmp_path)
    before = loads.items(dynoxide, table_name)
    stranger = {"PK": {"S": "ROW#-"}, "SK": {"S": "ROW"}}
    loads.client(dynoxide).put_item(TableName=table_name, Item=stranger)
    asyncio.run(execute(postgres_url, "CREATE TABLE aside AS SELECT * FROM t", "DELETE FROM t WHERE id > 20"))
    coming_back(lambda: asyncio.run(execute(postgres_url, "INSERT INTO t SELECT * FROM aside WHERE id > 20")))
    ended = command.here(*ARGUMENTS, "--json")
    assert (ended.report["extra"], ended.report["deleted"]) == (1, 1), ended
    assert loads.items(dynoxide, table_name) == before


def test_a_table_that_was_emptied_meanwhile_condemns_no_item(
    postgres_url, dynoxide, table_name, tmp_path, monkeypatch
):
    """As by a nightly reload, which empties it first, as soon as the first look has let go of it."""
    command = loaded(postgres_url, dynoxide, table_name, tmp_path)
    asyncio.run(execute(postgres_url, "UPDATE t SET v = 'changed' WHERE id < 10"))
    before, fresh_source = loads.items(dynoxide, table_name), OpenedJob.fresh_source

    async def emptied(job: OpenedJob) -> None:
        await job.source.close()
        await execute(postgres_url, "TRUNCATE t", "INSERT INTO t VALUES (50, 'v50')")
        await fresh_source(job)

    monkeypatch.setattr(OpenedJob, "fresh_source", emptied)
    monkeypatch.setattr(recheck, "PAUSES_S", (0.0,))
    ended = command.here(*ARGUMENTS)
    assert ended.code == 2, ended.stdout
    assert "public.t was truncated" in ended.stderr
    assert loads.items(dynoxide, table_name) == before


def test_what_was_found_of_a_table_is_not_said_of_another_one(
    postgres_url, dynoxide, table_name, tmp_path, monkeypatch
):
    command = loaded(postgres_url, dynoxide, table_name, tmp_path)
    run = TargetPass.run

    async def replaced(target_pass: TargetPass, segments: int) -> None:
        await run(target_pass, segments)
        loads.client(dynoxide).delete_table(TableName=table_name)
        loads.create_table(dynoxide, table_name)

    monkeypatch.setattr(TargetPass, "run", replaced)
    ended = command.here("verify", "--full", "--workers", "1")
    assert ended.code == 1, ended.stdout
    assert f"table {table_name} was replaced" in ended.stderr
