"""What creating and describing a table asks of DynamoDB, and what the user is told when that says no."""

import json
from typing import Any

import pytest

from connectors.dynamodb.section import Create, DynamoDBSection, Gsi
from connectors.dynamodb.table import create, describe
from engine.errors import JobError
from tests.support.stub_server import Step, Stub, answer, stub_server

KEY = [{"AttributeName": "PK", "KeyType": "HASH"}]
TABLE = {
    "TableName": "app-data",
    "TableArn": "arn:aws:dynamodb:us-east-1:123456789012:table/app-data",
    "CreationDateTime": 1_700_000_000.0,
    "KeySchema": KEY,
    "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}],
}


def described(status: str = "ACTIVE", index: str | None = None) -> Step:
    indexes = [{"IndexName": "GSI1", "IndexStatus": index, "KeySchema": KEY}] if index else []
    return answered({"Table": {**TABLE, "TableStatus": status, "GlobalSecondaryIndexes": indexes}})


def answered(body: dict[str, Any]) -> Step:
    return answer(json.dumps(body).encode())


def refused(code: str, message: str = "because") -> Step:
    return answer(json.dumps({"__type": f"com.amazonaws.dynamodb#{code}", "message": message}).encode(), 400)


BACKUPS_OFF = answered({"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED"}})
ABSENT = refused("ResourceNotFoundException")


def target(stub: Stub, **settings: Any) -> DynamoDBSection:
    return DynamoDBSection(
        type="dynamodb",
        table="app-data",
        region="us-east-1",
        endpoint_url=f"http://127.0.0.1:{stub.port}",
        create=Create(sort_key=None, **settings),
    )


def operations(stub: Stub) -> list[str]:
    """Name the operations that came, in their order."""
    lines = [line for exchange in stub.exchanges for line in exchange.head.decode().split("\r\n")]
    return [line.rpartition(".")[2] for line in lines if line.lower().startswith("x-amz-target")]


class Asleep:
    """Counts naps instead of taking them."""

    def __init__(self) -> None:
        self.naps = 0

    async def __call__(self, delay_s: float) -> None:
        self.naps += 1


async def test_creation_waits_until_everything_is_active_and_then_switches_backups_on() -> None:
    steps = [
        ABSENT,
        answered({"TableDescription": {}}),
        ABSENT,  # descriptions are eventually consistent
        described("CREATING", "CREATING"),
        described("ACTIVE", "CREATING"),
        described("ACTIVE", "CREATING"),
        described("ACTIVE", "ACTIVE"),
        BACKUPS_OFF,
        refused("ContinuousBackupsUnavailableException"),
        answered({"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED"}}),
    ]
    said: list[str] = []
    asleep = Asleep()
    async with stub_server(*steps) as stub:
        section = target(stub, pitr=True, gsi=(Gsi(name="GSI1", partition_key="PK"),))
        info = await create(section, said.append, sleep=asleep)
        assert operations(stub) == [
            "DescribeTable",
            "CreateTable",
            *["DescribeTable"] * 5,
            "DescribeContinuousBackups",
            *["UpdateContinuousBackups"] * 2,
        ]
    assert (info.status, info.pitr, asleep.naps) == ("ACTIVE", True, 5)
    assert [text for text in said if "made-up" not in text] == [
        "table app-data: creating",
        "table app-data: waiting, table CREATING",
        "table app-data: waiting, table CREATING, index GSI1 CREATING",
        "table app-data: waiting, index GSI1 CREATING",
        "table app-data: point-in-time recovery is on",
        "table app-data: ready",
    ]


async def test_an_emulator_gets_a_table_without_what_it_refuses() -> None:
    steps = [
        ABSENT,
        refused("ValidationException", "unknown field WarmThroughput"),
        refused("ValidationException", "unknown field Tags"),
        answered({"TableDescription": {}}),
        described(),
        BACKUPS_OFF,
    ]
    said: list[str] = []
    async with stub_server(*steps) as stub:
        gsi = (Gsi(name="GSI1", partition_key="PK"),)
        section = target(stub, tags={"a": "b"}, warm_throughput={"write": 5}, stream="keys_only", gsi=gsi)
        await create(section, said.append, sleep=Asleep())
        last = json.loads(stub.bodies[3])
    assert "WarmThroughput" not in json.dumps(last)
    assert ("Tags" in last, "StreamSpecification" in last) == (False, True)
    assert any("refuses a table with WarmThroughput, Tags" in text for text in said)


async def test_a_table_that_somebody_else_creates_meanwhile_is_waited_for() -> None:
    steps = [ABSENT, refused("ResourceInUseException"), described("CREATING"), described(), BACKUPS_OFF]
    async with stub_server(*steps) as stub:
        assert (await create(target(stub), lambda _: None, sleep=Asleep())).status == "ACTIVE"


async def test_an_existing_table_lacking_an_index_is_told() -> None:
    said: list[str] = []
    async with stub_server(described(), described(), BACKUPS_OFF) as stub:
        gsi = (Gsi(name="GSI1", partition_key="PK"),)
        await create(target(stub, gsi=gsi), said.append, sleep=Asleep())
        assert "CreateTable" not in operations(stub)
    assert any("has no index GSI1" in text for text in said)


async def test_without_a_description_of_the_table_nothing_is_created() -> None:
    async with stub_server() as stub:
        section = target(stub).model_copy(update={"create": None})
        with pytest.raises(JobError, match=r"target\.create is missing"):
            await create(section, lambda _: None)
        assert stub.exchanges == []


@pytest.mark.parametrize("step", [refused("AccessDeniedException"), refused("UnknownOperationException")])
async def test_backups_and_expiry_that_cannot_be_seen_are_unknown_and_no_obstacle(step: Step) -> None:
    async with stub_server(described(), step, step) as stub:
        info = await describe(target(stub))
    assert info is not None
    assert (info.pitr, info.ttl) == (None, None)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDeniedException", "no permission to look at table app-data"),
        ("UnrecognizedClientException", "credentials aren't accepted"),
        ("ExpiredTokenException", "credentials have expired"),
        ("ValidationException", "DescribeTable is refused for table app-data"),
        ("KMSAccessDeniedException", "KMSAccessDenied"),
    ],
)
async def test_a_refusal_is_one_sentence_with_its_reason(code: str, words: str) -> None:
    async with stub_server(refused(code, "the reason")) as stub:
        with pytest.raises(JobError, match=words) as caught:
            await describe(target(stub))
    assert "the reason" in str(caught.value)
    assert "\n" not in str(caught.value)
