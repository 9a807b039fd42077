"""Tables and requests against a real implementation of DynamoDB's protocol."""

import json
from typing import Any

import boto3
import pytest
from boto3.dynamodb.types import TypeSerializer

from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.section import Create, DynamoDBSection, Gsi
from connectors.dynamodb.table import create, describe
from engine.errors import JobError, TransientError

CREATE = Create(
    key_types={"GSI2SK": "N"},
    gsi=(
        Gsi(name="GSI1", partition_key="GSI1PK", sort_key="SK"),
        Gsi(name="GSI2", partition_key="GSI2PK", sort_key="GSI2SK", projection=("total",)),
    ),
    pitr=True,
    tags={"team": "data"},
    stream="new_image",
    warm_throughput={"write": 4000},
)


@pytest.fixture(params=["dynoxide", "dynamodb_local"])
def target(request: pytest.FixtureRequest, table_name: str) -> DynamoDBSection:
    """Return a job's target at each emulator; its table isn't there yet."""
    return DynamoDBSection(
        type="dynamodb",
        table=table_name,
        region="us-east-1",
        endpoint_url=request.getfixturevalue(request.param),
        create=CREATE,
    )


def boto3_table(target: DynamoDBSection) -> Any:
    return boto3.resource("dynamodb", region_name="us-east-1", endpoint_url=target.endpoint_url).Table(
        target.table
    )


async def test_a_created_table_is_described_as_the_job_says(target: DynamoDBSection) -> None:
    said: list[str] = []
    assert await describe(target) is None
    created = await create(target, said.append)
    info = await describe(target)
    assert info == created
    assert info.status == "ACTIVE"
    assert info.keys == (("PK", "S"), ("SK", "S"))
    assert {index.name: index.keys for index in info.indexes} == {
        "GSI1": (("GSI1PK", "S"), ("SK", "S")),
        "GSI2": (("GSI2PK", "S"), ("GSI2SK", "N")),
    }
    assert info.indexes[1].projected == ("total",)
    assert (info.billing, info.stream) == ("on_demand", "NEW_IMAGE")
    assert said[0].endswith("creating")
    assert said[-1].endswith("ready")
    assert any("no point-in-time recovery" in text for text in said)


async def test_creating_again_changes_nothing_and_says_so(target: DynamoDBSection) -> None:
    first = await create(target, lambda _: None)
    boto3_table(target).put_item(Item={"PK": "kept", "SK": "1"})
    said: list[str] = []
    again = await create(target, said.append)
    assert again.created_at == first.created_at
    assert boto3_table(target).get_item(Key={"PK": "kept", "SK": "1"})["Item"] == {"PK": "kept", "SK": "1"}
    assert any("is there already with these keys" in text for text in said)


async def test_a_table_with_other_keys_is_left_alone(target: DynamoDBSection) -> None:
    first = await create(target, lambda _: None)
    other = target.model_copy(update={"create": Create(sort_key=None)})
    with pytest.raises(JobError, match=r"its key is PK \(S\) and SK \(S\), target.create says PK \(S\)"):
        await create(other, lambda _: None)
    info = await describe(target)
    assert info is not None
    assert info.created_at == first.created_at


async def test_what_the_transport_sends_boto3_reads_back(target: DynamoDBSection) -> None:
    await create(target, lambda _: None)
    items = [
        {
            "PK": f"USER#{number}",
            "SK": "ünïcode ☃",
            "GSI1PK": "a",
            "total": number,
            "list": [1, "x", None, True],
        }
        for number in range(25)
    ]
    serialize = TypeSerializer().serialize
    wire = b",".join(json.dumps({"PutRequest": {"Item": serialize(item)["M"]}}).encode() for item in items)
    session = await open_session(target)
    transport = session.transport(connections_max=2)
    try:
        head = f'{{"RequestItems":{{"{target.table}":['.encode()
        answer = await transport.send("BatchWriteItem", [head, memoryview(wire), b"]}}"])
    finally:
        await transport.close()
    assert (answer.status, json.loads(answer.body)["UnprocessedItems"]) == (200, {})
    read = boto3_table(target).scan(ConsistentRead=True)["Items"]
    assert sorted(read, key=lambda item: item["total"]) == items


async def test_an_endpoint_where_nobody_listens_is_named() -> None:
    target = DynamoDBSection(
        type="dynamodb", table="app-data", region="us-east-1", endpoint_url="http://127.0.0.1:1"
    )
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1 can't be reached"):
        await describe(target)
