"""The writer over the real transport against a real server: what is written is what is read back."""

import json
from decimal import Decimal
from random import Random
from typing import Self

import boto3
import pytest

from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.modes import write_mode
from connectors.dynamodb.section import DynamoDBSection
from connectors.dynamodb.table import describe
from connectors.dynamodb.target import open_target
from connectors.dynamodb.writing.settings import WriterSettings
from connectors.dynamodb.writing.writer import Writer
from engine.batch import WriteReport
from engine.contracts.transform import DELETE, RuleItems, RuleShape
from engine.errors import PermanentError
from engine.job.model import Job
from engine.kinds import Column, RowSchema, Scalar
from engine.meter import Meter
from tests.support.encoded import delete, encoded, put
from tests.support.items import batch_of, rule_items


class Table:
    """A fresh table, and boto3's view of it."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.endpoint, self.name = endpoint, name
        self.resource = boto3.resource("dynamodb", endpoint_url=endpoint, region_name="us-east-1")
        self.table = self.resource.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": "PK", "KeyType": "HASH"},
                {"AttributeName": "SK", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "PK", "AttributeType": "S"},
                {"AttributeName": "SK", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        self.table.wait_until_exists()

    def items(self) -> dict[tuple[str, str], dict]:
        page, items = self.table.scan(), []
        items += page["Items"]
        while "LastEvaluatedKey" in page:
            page = self.table.scan(ExclusiveStartKey=page["LastEvaluatedKey"])
            items += page["Items"]
        return {(item["PK"], item["SK"]): item for item in items}


@pytest.fixture
def table(dynoxide, table_name) -> Table:
    return Table(dynoxide, table_name)


class Written:
    """A writer on the real transport."""

    def __init__(self, table: Table, mode: str = "put", name: str | None = None) -> None:
        self.section = DynamoDBSection(
            type="dynamodb",
            table=name or table.name,
            endpoint_url=table.endpoint,
            region="us-east-1",
            mode=mode,
            version="v" if mode == "newer" else None,
        )
        self.meter = Meter()

    async def __aenter__(self) -> Writer:
        session = await open_session(self.section)
        self.transport = session.transport(connections_max=16)
        section = self.section
        mode = write_mode(section.mode)
        settings = WriterSettings(mode, section.table, ("PK", "SK"), ("Order",), ("id",), 30.0)
        self.writer = Writer(self.transport, settings, self.meter, session.refresh, print, Random(1))
        return self.writer

    async def __aexit__(self, *_: object) -> None:
        await self.writer.close()
        await self.transport.close()


def thousand() -> list[dict]:
    return [put(f"p{n % 97}", str(n), count={"N": str(n)}, text={"S": f'"{n}" ü\n'}) for n in range(1000)]


async def test_a_thousand_items_are_read_back_as_they_were(table):
    written = Written(table)
    async with written as writer:
        report = await writer.write(encoded(thousand()))
    assert report.items_written == 1000
    items = table.items()
    assert len(items) == 1000
    for (_, sort), item in items.items():
        assert item["count"] == Decimal(sort)
        assert item["text"] == f'"{sort}" ü\n'
    assert written.meter.requests == {"ok": 40}
    assert written.meter.consumed[""] == 1000.0


async def test_deletes_and_puts_share_a_request(table):
    async with Written(table) as writer:
        await writer.write(encoded([put(f"p{n}") for n in range(50)]))
        report = await writer.write(
            encoded([delete(f"p{n}") if n < 25 else put(f"p{n}", new={"BOOL": True}) for n in range(50)])
        )
    assert (report.items_written, report.items_deleted) == (25, 25)
    assert all(item["new"] for item in table.items().values())
    assert len(table.items()) == 25


async def test_an_item_that_the_server_refuses_is_found_among_the_others(table):
    entries = [put(f"p{n}") for n in range(100)]
    entries[42]["PutRequest"]["Item"]["bad"] = {"N": "not a number"}
    async with Written(table) as writer:
        report = await writer.write(encoded(entries))
    assert report.items_written == 99
    (letter,) = report.dead_letters
    assert (letter.reason, letter.source_key) == ("rejected_by_target", {"id": "42"})
    assert json.loads(letter.item_json)["bad"] == {"N": "not a number"}
    assert len(table.items()) == 99


async def test_insert_keeps_what_is_there(table):
    async with Written(table) as writer:
        await writer.write(encoded([put(f"p{n}", old={"BOOL": True}) for n in range(10)]))
    statements = [
        {
            "Statement": f"INSERT INTO \"{table.name}\" VALUE {{'PK':?,'SK':?,'n':?}}",
            "Parameters": [{"S": f"p{n}"}, {"S": "0"}, {"N": str(n)}],
        }
        for n in range(60)
    ]
    async with Written(table, "insert") as writer:
        report = await writer.write(encoded(statements, keys=[(f"p{n}", "0") for n in range(60)]))
    assert (report.items_written, report.items_skipped) == (50, 10)
    items = table.items()
    assert len(items) == 60
    assert sum("old" in item for item in items.values()) == 10


def conditional(table: Table, pk: str, version: int, *, gone: bool = False) -> dict:
    key = {"PK": {"S": pk}, "SK": {"S": "0"}}
    return {
        "TableName": table.name,
        **({"Key": key} if gone else {"Item": {**key, "v": {"N": str(version)}}}),
        "ConditionExpression": "attribute_not_exists(#k) OR #v < :v",
        "ExpressionAttributeNames": {"#k": "PK", "#v": "v"},
        "ExpressionAttributeValues": {":v": {"N": str(version)}},
        "ReturnConsumedCapacity": "INDEXES",
    }


async def test_newer_replaces_only_what_is_older(table):
    async with Written(table) as writer:
        await writer.write(encoded([put(f"p{n}", v={"N": str(n)}) for n in range(40)]))
    entries = [conditional(table, f"p{n}", 20) for n in range(30)]
    entries += [conditional(table, f"p{n}", 35, gone=True) for n in range(30, 40)]
    async with Written(table, "newer") as writer:
        report = await writer.write(encoded(entries, keys=[(f"p{n}", "0") for n in range(40)]))
    assert (report.items_written, report.items_deleted, report.items_skipped) == (20, 5, 15)
    versions = {key[0]: int(item["v"]) for key, item in table.items().items()}
    assert versions == {f"p{n}": max(n, 20) for n in range(30)} | {f"p{n}": n for n in range(35, 40)}


async def test_a_table_that_is_gone_ends_the_run_in_one_sentence(table):
    async with Written(table, name="nowhere") as writer:
        with pytest.raises(PermanentError, match="table nowhere isn't there"):
            await writer.write(encoded(thousand()))


def job_for(table: Table, mode: str) -> Job:
    return Job.model_validate(
        {
            "name": "orders",
            "source": {"type": "postgres", "url": "postgresql://127.0.0.1/x", "table": "orders"},
            "target": {
                "type": "dynamodb",
                "table": table.name,
                "endpoint_url": table.endpoint,
                "region": "us-east-1",
                "mode": mode,
                "max_wcu": 100_000,
                **({"version": "v"} if mode == "newer" else {}),
            },
            "items": [{"name": "Order", "key": {"PK": "ORDER#{id}", "SK": "#"}, "attributes": {"v": "{v}"}}],
        }
    )


def versions(count: int, version: int, gone: frozenset[int] = frozenset()) -> RuleItems:
    kinds = {"PK": Scalar.STRING, "SK": Scalar.STRING, "v": Scalar.INT, "it's": Scalar.STRING}
    rows = [
        {"PK": f"ORDER#{n}", "SK": "#", "v": str(version), "it's": '"', DELETE: n in gone}
        for n in range(count)
    ]
    return rule_items(kinds, rows)


class Opened:
    """The job's target as the pipeline opens it."""

    def __init__(self, table: Table, mode: str) -> None:
        self.job = job_for(table, mode)
        self.meter = Meter()

    async def __aenter__(self) -> Self:
        schema = RowSchema((Column("id", Scalar.STRING),), ("id",), ())
        info = await describe(self.job.target)
        shapes = (RuleShape("Order", ()),)
        self.target = await open_target(self.job, info, schema, shapes, self.meter, print)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.target.close()

    async def write(self, items: RuleItems) -> WriteReport:
        return await self.target.write(self.target.encode(batch_of(len(items.frame)), [items]))


@pytest.mark.parametrize(
    ("mode", "version_after", "outcome"),
    [("put", 2, (250, 50, 0)), ("insert", 1, (100, 0, 150)), ("newer", 2, (250, 50, 0))],
)
async def test_a_target_writes_what_it_encodes_in_every_mode(table, mode, version_after, outcome):
    async with Opened(table, "put") as opened:
        await opened.write(versions(200, 1))
    async with Opened(table, mode) as opened:
        report = await opened.write(versions(300, 2, gone=frozenset(range(50))))
        assert (report.items_written, report.items_deleted, report.items_skipped) == outcome
        again = await opened.write(versions(300, 1 if mode == "newer" else 2, gone=frozenset(range(50))))
        if mode == "insert":
            assert (again.items_written, again.items_skipped) == (0, 250)
            assert opened.meter.items_skipped == 150 + 250 + 2 * 50
    items = table.items()
    kept = 300 if mode == "insert" else 250
    assert len(items) == kept
    assert items[("ORDER#100", "#")] == {"PK": "ORDER#100", "SK": "#", "v": version_after, "it's": '"'}
