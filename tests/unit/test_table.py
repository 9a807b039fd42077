"""A table is created as the job says and described as it is; a job that doesn't fit it stops at once."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.dynamodb.section import Create, DynamoDBSection, Gsi
from connectors.dynamodb.table import check_keys
from connectors.dynamodb.table_info import KeyAttribute, TableInfo, from_text, table_info
from connectors.dynamodb.table_request import create_request, key_differences, missing_indexes, pending
from engine.errors import JobError

DESCRIBED: dict[str, Any] = {
    "TableName": "app-data",
    "TableArn": "arn:aws:dynamodb:us-east-1:123456789012:table/app-data",
    "CreationDateTime": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC).timestamp(),
    "TableStatus": "ACTIVE",
    "KeySchema": [{"AttributeName": "SK", "KeyType": "RANGE"}, {"AttributeName": "PK", "KeyType": "HASH"}],
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": kind}
        for name, kind in (("PK", "S"), ("SK", "N"), ("G", "B"), ("L", "S"))
    ],
    "BillingModeSummary": {"BillingMode": "PROVISIONED"},
    "ProvisionedThroughput": {"ReadCapacityUnits": 10, "WriteCapacityUnits": 500},
    "WarmThroughput": {"ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 4000, "Status": "ACTIVE"},
    "GlobalSecondaryIndexes": [
        {
            "IndexName": name,
            "IndexStatus": "ACTIVE",
            "KeySchema": [
                {"AttributeName": "G", "KeyType": "HASH"},
                {"AttributeName": "SK", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a", "b"]},
            "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 50},
        }
        for name in ("GSI2", "GSI1")
    ],
    "LocalSecondaryIndexes": [
        {
            "IndexName": "ALSI",
            "KeySchema": [
                {"AttributeName": "PK", "KeyType": "HASH"},
                {"AttributeName": "L", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ],
    "ItemCount": 7,
    "TableSizeBytes": 700,
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    "Replicas": [{"RegionName": "eu-west-1"}],
}


def described(**changes: Any) -> TableInfo:
    return table_info({**DESCRIBED, **changes})


def job_with_keys(**keys: dict[str, str]) -> Any:
    target = DynamoDBSection(type="dynamodb", table="app-data", region="us-east-1")
    items = [SimpleNamespace(name=name, key=key) for name, key in keys.items()]
    return SimpleNamespace(target=target, items=items)


def test_a_description_becomes_a_value() -> None:
    info = table_info(DESCRIBED, pitr=True)
    assert info.keys == (KeyAttribute("PK", "S"), KeyAttribute("SK", "N"))
    assert info.created_at == "2026-01-02T03:04:05.678000Z"
    assert (info.billing, info.read_capacity, info.write_capacity) == ("provisioned", 10, 500)
    assert (info.on_demand_write_max, info.warm_write, info.warm_read) == (None, 4000, 12000)
    assert [(index.name, index.local) for index in info.indexes] == [
        ("GSI1", False),
        ("GSI2", False),
        ("ALSI", True),
    ]
    assert info.indexes[0].keys == (KeyAttribute("G", "B"), KeyAttribute("SK", "N"))
    assert (info.indexes[0].projected, info.indexes[0].write_capacity) == (("a", "b"), 50)
    assert (info.item_count, info.size_bytes, info.pitr) == (7, 700, True)
    assert (info.stream, info.replicas) == ("NEW_IMAGE", ("eu-west-1",))
    assert from_text(info.as_text()) == info


def test_an_on_demand_table_has_no_capacity() -> None:
    info = described(
        BillingModeSummary={"BillingMode": "PAY_PER_REQUEST"},
        ProvisionedThroughput={"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        OnDemandThroughput={"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": 900},
        GlobalSecondaryIndexes=[],
    )
    assert (info.billing, info.write_capacity, info.on_demand_write_max) == ("on_demand", None, 900)


def test_a_table_is_created_with_all_that_the_job_says() -> None:
    create = Create(
        key_types={"SK": "N"},
        billing="provisioned",
        read_capacity=5,
        write_capacity=50,
        gsi=(
            Gsi(name="GSI1", partition_key="G"),
            Gsi(name="GSI2", partition_key="G", sort_key="SK", projection=("a", "b")),
        ),
        encryption="alias/mine",
        tags={"team": "data"},
        stream="new_and_old_images",
        warm_throughput={"write": 40000},
        deletion_protection=True,
    )
    capacity = {
        "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 50},
        "WarmThroughput": {"WriteUnitsPerSecond": 40000},
    }
    assert create_request("app-data", create) == {
        "TableName": "app-data",
        "AttributeDefinitions": [
            {"AttributeName": "G", "AttributeType": "S"},
            {"AttributeName": "PK", "AttributeType": "S"},
            {"AttributeName": "SK", "AttributeType": "N"},
        ],
        "KeySchema": [
            {"AttributeName": "PK", "KeyType": "HASH"},
            {"AttributeName": "SK", "KeyType": "RANGE"},
        ],
        "BillingMode": "PROVISIONED",
        **capacity,
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "GSI1",
                "KeySchema": [{"AttributeName": "G", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
                **capacity,
            },
            {
                "IndexName": "GSI2",
                "KeySchema": [
                    {"AttributeName": "G", "KeyType": "HASH"},
                    {"AttributeName": "SK", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a", "b"]},
                **capacity,
            },
        ],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        "SSESpecification": {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": "alias/mine"},
        "Tags": [{"Key": "team", "Value": "data"}],
        "DeletionProtectionEnabled": True,
    }


@pytest.mark.parametrize(
    "create",
    [
        Create(),
        Create(sort_key=None, encryption="kms", warm_throughput={"read": 1, "write": 2}),
        Create(gsi=(Gsi(name="GSI1", partition_key="a", projection="keys_only"),), stream="keys_only"),
        Create(billing="provisioned", read_capacity=1, write_capacity=2, tags={"a": "b"}),
    ],
)
async def test_botocore_takes_the_request(create: Create) -> None:
    from botocore.session import Session
    from botocore.validate import ParamValidator

    model = Session().get_service_model("dynamodb").operation_model("CreateTable").input_shape
    report = ParamValidator().validate(create_request("app-data", create), model)
    assert report.generate_report() == ""


def test_a_table_that_is_there_is_compared_by_its_keys() -> None:
    info = described()
    same = Create(key_types={"SK": "N", "G": "B"}, gsi=(Gsi(name="GSI1", partition_key="G", sort_key="SK"),))
    assert list(key_differences(info, same)) == []
    assert missing_indexes(info, same) == []
    other = Create(
        sort_key="Sort", gsi=(Gsi(name="GSI1", partition_key="H"), Gsi(name="GSI9", partition_key="H"))
    )
    assert list(key_differences(info, other)) == [
        "its key is PK (S) and SK (N), target.create says PK (S) and Sort (S)",
        "its index GSI1 has the key G (B) and SK (N), target.create says H (S)",
    ]
    assert missing_indexes(info, other) == ["GSI9"]


def test_creation_waits_for_table_indexes_and_warmth() -> None:
    assert pending(DESCRIBED) == []
    assert pending({**DESCRIBED, "TableStatus": "CREATING"}) == ["table CREATING"]
    index = {**DESCRIBED["GlobalSecondaryIndexes"][0], "IndexStatus": "CREATING"}
    assert pending({**DESCRIBED, "GlobalSecondaryIndexes": [index]}) == ["index GSI2 CREATING"]
    assert pending({**DESCRIBED, "WarmThroughput": {"Status": "UPDATING"}}) == ["warm throughput UPDATING"]


def test_rules_whose_keys_fit_pass_in_any_order() -> None:
    check_keys(described(), job_with_keys(A={"PK": "a", "SK": "b"}, B={"SK": "b", "PK": "a"}))
    check_keys(described(TableStatus="UPDATING"), job_with_keys(A={"PK": "a", "SK": "b"}))


@pytest.mark.parametrize("key", [{"PK": "a"}, {"PK": "a", "SK": "b", "X": "c"}, {"pk": "a", "SK": "b"}, {}])
def test_a_rule_whose_key_does_not_fit_is_named(key: dict[str, str]) -> None:
    with pytest.raises(JobError, match=r"items\[1\]\.key gives .* the key of table app-data is PK and SK"):
        check_keys(described(), job_with_keys(A={"PK": "a", "SK": "b"}, B=key))


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "ARCHIVED"])
def test_a_table_that_takes_no_writes_is_refused(status: str) -> None:
    with pytest.raises(JobError, match=f"app-data is {status}"):
        check_keys(described(TableStatus=status), job_with_keys(A={"PK": "a", "SK": "b"}))


def test_a_table_whose_key_is_out_of_reach_is_not_to_be_waited_for() -> None:
    info = described(TableStatus="INACCESSIBLE_ENCRYPTION_CREDENTIALS")
    with pytest.raises(JobError, match="the KMS key that encrypts app-data can't be used") as told:
        check_keys(info, job_with_keys(A={"PK": "a", "SK": "b"}))
    assert "wait" not in str(told.value)
