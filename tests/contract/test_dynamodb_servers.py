"""One suite for all servers that stand in for DynamoDB: where they agree, the simulator agrees with them."""

import base64
import re
from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from bench.simulator.values import check_item

ONCE = Config(retries={"total_max_attempts": 1})


@pytest.fixture(params=["simulator", "dynoxide", "dynamodb_local"])
def client(request: pytest.FixtureRequest) -> Any:
    """A client of each server; botocore proves the checksum of every answer."""
    url = request.getfixturevalue(request.param)
    return boto3.client("dynamodb", region_name="us-east-1", endpoint_url=url, config=ONCE)


@pytest.fixture
def table(client: Any, table_name: str) -> Iterator[str]:
    """A table with a partition and a sort key, and an index with a number as its sort key."""
    client.create_table(
        TableName=table_name,
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind}
            for name, kind in (("PK", "S"), ("SK", "S"), ("G", "S"), ("H", "N"))
        ],
        KeySchema=schema("PK", "SK"),
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[
            {"IndexName": "gsi", "KeySchema": schema("G", "H"), "Projection": {"ProjectionType": "ALL"}}
        ],
    )
    yield table_name
    client.delete_table(TableName=table_name)


def schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]


def item(sort: str = "s", /, **attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"PK": {"S": "p"}, "SK": {"S": sort}, **attributes}


def put(sort: str = "s", /, **attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"PutRequest": {"Item": item(sort, **attributes)}}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "x"}
    for _ in range(levels):
        value = {"L": [value]}
    return value


def everything(client: Any, table: str, **more: Any) -> list[dict[str, Any]]:
    pages = client.get_paginator("scan").paginate(TableName=table, **more)
    return [each for page in pages for each in page["Items"]]


def test_every_type_comes_back_and_numbers_in_one_form(client: Any, table: str) -> None:
    written = item(
        n={"N": "01.500"},
        big={"N": "9.9999999999999999999999999999999999999E+125"},
        small={"N": "-1E-130"},
        zero={"N": "-0.0"},
        empty={"S": ""},
        b={"B": b"\x00\xff"},
        t={"BOOL": True},
        nil={"NULL": True},
        li={"L": [{"S": "a"}, {"M": {"x": {"N": "100"}}}, {"L": []}]},
        ss={"SS": ["a", "ö"]},
        ns={"NS": ["1.0", "-2"]},
        bs={"BS": [b"a"]},
        deep=nested(31),
    )
    client.put_item(TableName=table, Item=written)
    read = client.get_item(TableName=table, Key=item())["Item"]
    assert read["n"] == {"N": "1.5"}
    assert read["big"] == {"N": "9" * 38 + "0" * 88}
    assert read["small"] == {"N": "-0." + "0" * 129 + "1"}
    assert read["zero"] == {"N": "0"}
    assert read["li"]["L"][1] == {"M": {"x": {"N": "100"}}}
    assert {*read["ss"]["SS"]} == {"a", "ö"}
    assert {*read["ns"]["NS"]} == {"1", "-2"}
    same = ("PK", "SK", "empty", "b", "t", "nil", "bs", "deep")
    assert {name: read[name] for name in same} == {name: written[name] for name in same}
    assert read.keys() == written.keys()


REFUSED: Mapping[str, tuple[list[dict[str, Any]], str]] = {
    "too large": ([put(a={"S": "x" * 409_600})], "Item size has exceeded the maximum allowed size"),
    "empty key": ([put("")], "key attribute cannot contain an empty string value. Key: SK"),
    "long key": ([put("x" * 1_025)], "1024 bytes"),
    "no key": ([{"PutRequest": {"Item": {"PK": {"S": "p"}}}}], ""),
    "key of another type": ([put(SK={"N": "1"})], ""),
    "index key of another type": ([put(G={"N": "1"})], "Type mismatch for Index Key"),
    "empty index key": ([put(G={"S": ""}, H={"N": "1"})], "IndexName: gsi, IndexKey: G"),
    "index key NULL": ([put(G={"NULL": True})], ""),
    "twice": ([put(a={"S": "1"}), put(a={"S": "2"})], "Provided list of item keys contains duplicates"),
    "put and deleted": ([put(), {"DeleteRequest": {"Key": item()}}], "contains duplicates"),
    "26": ([put(str(number)) for number in range(26)], ""),
    "39 digits": ([put(a={"N": "1" * 39})], "38"),
    "overflow": ([put(a={"N": "1E+126"})], "Number overflow. Attempting to store a number with magnitude"),
    "underflow": ([put(a={"N": "1E-131"})], "Number underflow. Attempting to store a number with"),
    "no number": ([put(a={"N": "NaN"})], "convert"),
    "empty set": ([put(a={"SS": []})], "An string set  may not be empty"),
    "repeated string": ([put(a={"SS": ["a", "a"]})], "Input collection [a, a] contains duplicates"),
    "repeated number": ([put(a={"NS": ["1", "1.0"]})], "Input collection contains duplicates"),
    "repeated binary": ([put(a={"BS": [b"a", b"a"]})], "contains duplicates"),
    "NULL false": ([put(a={"NULL": False})], "Null attribute value types must have the value of true"),
    "no type": ([put(a={})], "Supplied AttributeValue is empty"),
    "two types": ([put(a={"S": "1", "N": "1"})], "has more than one datatypes set"),
    "33 levels": ([put(a=nested(32))], "Nesting Levels have exceeded supported limits"),
    "key with more": ([{"DeleteRequest": {"Key": item(z={"S": "1"})}}], ""),
    "key with less": ([{"DeleteRequest": {"Key": {"PK": {"S": "p"}}}}], ""),
    "nothing": ([], ""),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_dynamodb_refuses_is_refused_whole_and_in_its_words(client: Any, table: str, what: str) -> None:
    requests, said = REFUSED[what]
    good = [put("good")] if 0 < len(requests) < 25 else []
    with pytest.raises(ClientError) as refusal:
        unchecked(client).batch_write_item(RequestItems={table: [*good, *requests]})
    assert refusal.value.response["Error"]["Code"] == "ValidationException"
    assert said in refusal.value.response["Error"]["Message"]
    assert everything(client, table) == []


def unchecked(client: Any) -> Any:
    """Return a client without botocore's own checks, which aren't the service's."""
    config = client.meta.config.merge(Config(parameter_validation=False))
    return boto3.client(
        "dynamodb", region_name="us-east-1", endpoint_url=client.meta.endpoint_url, config=config
    )


def test_puts_replace_deletes_delete_and_gone_is_fine(client: Any, table: str) -> None:
    client.batch_write_item(RequestItems={table: [put("a", x={"S": "1"}), put("b")]})
    answer = client.batch_write_item(
        RequestItems={
            table: [
                put("a", y={"S": "2"}),
                {"DeleteRequest": {"Key": item("b")}},
                {"DeleteRequest": {"Key": item("never")}},
            ]
        }
    )
    assert answer["UnprocessedItems"] == {}
    assert everything(client, table) == [item("a", y={"S": "2"})]


def test_a_table_that_is_not_there(client: Any, table_name: str) -> None:
    for call in (
        lambda: client.batch_write_item(RequestItems={table_name: [put()]}),
        lambda: client.describe_table(TableName=table_name),
        lambda: client.scan(TableName=table_name),
    ):
        with pytest.raises(ClientError) as missing:
            call()
        assert missing.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_what_is_created_is_described(client: Any, table: str) -> None:
    described = client.describe_table(TableName=table)["Table"]
    assert described["TableStatus"] == "ACTIVE"
    assert described["KeySchema"] == schema("PK", "SK")
    assert {each["AttributeName"] for each in described["AttributeDefinitions"]} == {"PK", "SK", "G", "H"}
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    [index] = described["GlobalSecondaryIndexes"]
    assert (index["IndexName"], index["IndexStatus"]) == ("gsi", "ACTIVE")
    assert table in client.list_tables()["TableNames"]
    with pytest.raises(client.exceptions.ResourceInUseException):
        client.create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            KeySchema=schema("k", "k")[:1],
            BillingMode="PAY_PER_REQUEST",
        )


@pytest.mark.parametrize(("version", "wins"), [("9", False), ("10", False), ("11", True), ("10.5", True)])
def test_newer_wins_by_number(client: Any, table: str, version: str, wins: bool) -> None:
    client.put_item(TableName=table, Item=item(v={"N": "10"}))
    guarded = {
        "TableName": table,
        "ConditionExpression": "attribute_not_exists(#k) OR #v < :v",
        "ExpressionAttributeNames": {"#k": "PK", "#v": "v"},
        "ExpressionAttributeValues": {":v": {"N": version}},
    }
    try:
        client.put_item(Item=item(v={"N": version}), **guarded)
        written = True
    except client.exceptions.ConditionalCheckFailedException:
        written = False
    assert written is wins
    assert client.get_item(TableName=table, Key=item())["Item"]["v"] == {"N": version if wins else "10"}
    client.put_item(Item=item("other", v={"N": version}), **guarded)
    if not wins:
        with pytest.raises(client.exceptions.ConditionalCheckFailedException):
            client.delete_item(Key=item(), **guarded)


CONDITIONS = {
    "a = :two": False,
    "a <> :two": True,
    "nowhere <> :two": True,
    "nowhere = :two": False,
    "a >= :two OR a <= :two": True,
    "a > :two AND attribute_exists(SK)": False,
    "NOT a > :two": True,
    "(a BETWEEN :one AND :two) AND attribute_not_exists(z)": True,
    "begins_with(txt, :ab)": True,
    "begins_with(txt, :b)": False,
    "txt > :two": False,
    "#a < :two AND a < :two AND NOT (a = :two OR a = :one)": True,
}


@pytest.mark.parametrize("expression", CONDITIONS)
def test_conditions_mean_the_same(client: Any, table: str, expression: str) -> None:
    client.put_item(TableName=table, Item=item(a={"N": "1.5"}, txt={"S": "abc"}))
    values = {":one": {"N": "1"}, ":two": {"N": "2"}, ":ab": {"S": "ab"}, ":b": {"S": "b"}}
    used = {name: value for name, value in values.items() if name in re.findall(r":\w+", expression)}
    names = {"ExpressionAttributeNames": {"#a": "a"}} if "#a" in expression else {}
    try:
        client.put_item(
            TableName=table,
            Item=item(),
            ConditionExpression=expression,
            ExpressionAttributeValues=used,
            **names,
        )
        held = True
    except client.exceptions.ConditionalCheckFailedException:
        held = False
    assert held is CONDITIONS[expression]


@pytest.mark.parametrize(
    "expression", ["a <", "(a = :v", "attribute_exists(a", "a = :nowhere", "#x = :v", ""]
)
def test_broken_conditions_are_refused(client: Any, table: str, expression: str) -> None:
    values = {"ExpressionAttributeValues": {":v": {"N": "1"}}} if ":v" in expression else {}
    with pytest.raises(ClientError) as refusal:
        client.put_item(TableName=table, Item=item(), ConditionExpression=expression, **values)
    assert refusal.value.response["Error"]["Code"] == "ValidationException"


def test_an_update_sets_attributes_of_an_item_that_need_not_be_there(client: Any, table: str) -> None:
    client.put_item(TableName=table, Item=item(kept={"S": "1"}, owner={"S": "me"}))
    for sort in ("s", "new"):
        client.update_item(
            TableName=table,
            Key=item(sort),
            UpdateExpression="SET #u = :u, b = :b",
            ConditionExpression="attribute_not_exists(PK) OR #o = :me",
            ExpressionAttributeNames={"#u": "until", "#o": "owner"},
            ExpressionAttributeValues={":u": {"N": "7"}, ":b": {"S": "x"}, ":me": {"S": "me"}},
        )
    set_ = {"until": {"N": "7"}, "b": {"S": "x"}}
    assert everything(client, table) == [
        item("new", **set_),
        item(kept={"S": "1"}, owner={"S": "me"}, **set_),
    ]


def test_a_transaction_is_done_whole_once_or_not_at_all(client: Any, table: str) -> None:
    client.put_item(TableName=table, Item=item("lease", owner={"S": "me"}))

    def write(owner: str, *actions: dict[str, Any], **more: Any) -> Any:
        check = {
            "TableName": table,
            "Key": item("lease"),
            "ConditionExpression": "#owner = :owner",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {":owner": {"S": owner}},
        }
        return client.transact_write_items(TransactItems=[{"ConditionCheck": check}, *actions], **more)

    def put_once(sort: str) -> dict[str, Any]:
        return {
            "Put": {
                "TableName": table,
                "Item": item(sort),
                "ConditionExpression": "attribute_not_exists(PK)",
            }
        }

    for _ in range(2):  # the second is the first, sent again
        write("me", put_once("a"), put_once("b"), ClientRequestToken="the same")
    with pytest.raises(client.exceptions.TransactionCanceledException) as cancelled:
        write("me", put_once("c"), put_once("b"))
    codes = [each["Code"] for each in cancelled.value.response["CancellationReasons"]]
    assert codes == ["None", "None", "ConditionalCheckFailed"]
    with pytest.raises(client.exceptions.TransactionCanceledException):
        write("another", {"Delete": {"TableName": table, "Key": item("a")}})
    write("me", {"Delete": {"TableName": table, "Key": item("a")}})
    assert [each["SK"]["S"] for each in everything(client, table)] == ["b", "lease"]


def test_inserts_keep_what_is_there_and_tell_each_ones_fate(client: Any, table: str) -> None:
    client.put_item(TableName=table, Item=item("old", v={"N": "1"}))
    statement = f"INSERT INTO \"{table}\" VALUE {{'PK':?,'SK':?,'it''s':?}}"
    answer = client.batch_execute_statement(
        Statements=[
            {"Statement": statement, "Parameters": [{"S": "p"}, {"S": sort}, {"N": "2"}]}
            for sort in ("new", "old", "")
        ]
    )
    codes = [(each.get("Error") or {}).get("Code") for each in answer["Responses"]]
    assert codes == [None, "DuplicateItem", "ValidationError"]
    assert client.get_item(TableName=table, Key=item("new"))["Item"]["it's"] == {"N": "2"}
    assert client.get_item(TableName=table, Key=item("old"))["Item"] == item("old", v={"N": "1"})


def test_a_query_reads_one_partition_in_order(client: Any, table: str) -> None:
    sorts = ["a", "b", "ba", "bz", "c", "é", "😀"]
    client.batch_write_item(RequestItems={table: [put(sort) for sort in reversed(sorts)]})
    client.put_item(TableName=table, Item={"PK": {"S": "other"}, "SK": {"S": "b"}})

    def query(condition: str, **more: Any) -> list[str]:
        values = {":p": {"S": "p"}, ":b": {"S": "b"}, ":c": {"S": "c"}}
        used = {name: value for name, value in values.items() if name in condition}
        pages = client.get_paginator("query").paginate(
            TableName=table, KeyConditionExpression=condition, ExpressionAttributeValues=used, **more
        )
        return [each["SK"]["S"] for page in pages for each in page["Items"]]

    assert query("PK = :p") == sorts
    assert query("PK = :p", ScanIndexForward=False) == sorts[::-1]
    assert query("PK = :p", Limit=2) == sorts
    assert query("PK = :p", Limit=2, ScanIndexForward=False) == sorts[::-1]
    assert query("PK = :p AND begins_with(SK, :b)") == ["b", "ba", "bz"]
    assert query("PK = :p AND SK BETWEEN :b AND :c") == ["b", "ba", "bz", "c"]
    assert query("PK = :p AND SK > :b", ScanIndexForward=False) == ["😀", "é", "c", "bz", "ba"]


def test_an_index_holds_only_items_with_its_key_in_the_order_of_numbers(client: Any, table: str) -> None:
    numbers = ["10", "9", "-1", "0.5", "100"]
    puts = [put(number, G={"S": "g"}, H={"N": number}) for number in numbers]
    client.batch_write_item(RequestItems={table: [*puts, put("without"), put("half", G={"S": "g"})]})
    found = client.query(
        TableName=table,
        IndexName="gsi",
        KeyConditionExpression="G = :g AND H > :low",
        ExpressionAttributeValues={":g": {"S": "g"}, ":low": {"N": "-1"}},
    )
    assert [each["H"]["N"] for each in found["Items"]] == ["0.5", "9", "10", "100"]
    client.delete_item(TableName=table, Key=item("9"))
    assert len(everything(client, table, IndexName="gsi")) == len(numbers) - 1


@pytest.mark.parametrize("segments", [1, 4])
def test_the_segments_of_a_scan_cover_everything_once(client: Any, table: str, segments: int) -> None:
    keys = {f"{number:03d}" for number in range(100)}
    for start in range(0, 100, 25):
        batch = [
            {
                "PutRequest": {
                    "Item": {"PK": {"S": f"{number:03d}"}, "SK": {"S": "s"}, "pad": {"S": "x" * 30_000}}
                }
            }
            for number in range(start, start + 25)
        ]
        client.batch_write_item(RequestItems={table: batch})
    found = [
        each["PK"]["S"]
        for segment in range(segments)
        for each in everything(client, table, Segment=segment, TotalSegments=segments)
    ]
    assert sorted(found) == sorted(keys)
    page = client.scan(TableName=table)
    assert "LastEvaluatedKey" in page
    assert len(page["Items"]) < 40  # a page has 1 MB


def test_batches_of_keys_give_what_is_there(client: Any, table: str) -> None:
    client.batch_write_item(RequestItems={table: [put("a"), put("b", v={"S": "1"})]})
    answer = client.batch_get_item(RequestItems={table: {"Keys": [item("a"), item("b"), item("gone")]}})
    assert sorted(answer["Responses"][table], key=lambda each: each["SK"]["S"]) == [
        item("a"),
        item("b", v={"S": "1"}),
    ]
    with pytest.raises(ClientError, match="duplicates"):
        client.batch_get_item(RequestItems={table: {"Keys": [item("a"), item("a")]}})


SIZES: Mapping[str, dict[str, Any]] = {
    "digits": {"N": "123456789.5"},
    "trailing zeros": {"N": "120000"},
    "negative": {"N": "-12"},
    "zero": {"N": "0"},
    "small": {"N": "0.0012"},
    "odd": {"N": "12345.67"},
    "pair over the point": {"N": "1.5"},
    "pair before it": {"N": "15"},
    "text": {"S": "aé😀"},
    "binary": {"B": b"\x00\x01\x02"},
    "list": {"L": [{"S": "a"}, {"L": []}, {"NULL": True}]},
    "map": {"M": {"näme": {"BOOL": False}, "m": {"M": {}}}},
    "sets": {"M": {"s": {"SS": ["a", "bcé"]}, "n": {"NS": ["1", "-22.5"]}, "b": {"BS": [b"abc"]}}},
}


@pytest.mark.parametrize("what", SIZES)
def test_a_kilobyte_is_counted_to_the_byte(client: Any, table: str, what: str) -> None:
    """The simulator's own arithmetic tells where each server's write units step up."""
    base = check_item(as_wire(item("pad", v=SIZES[what], p={"S": ""})))
    for excess, units in ((0, 1.0), (1, 2.0)):
        padded = item(f"{excess}ad", v=SIZES[what], p={"S": "x" * (1_024 - base + excess)})
        answer = client.put_item(TableName=table, Item=padded, ReturnConsumedCapacity="TOTAL")
        assert answer["ConsumedCapacity"]["CapacityUnits"] == units


def as_wire(value: Any) -> Any:
    """Return an item with its binaries as they travel."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: as_wire(each) for name, each in value.items()}
    return [as_wire(each) for each in value] if isinstance(value, list) else value


def test_the_larger_item_and_every_touched_index_are_charged(client: Any, table: str) -> None:
    def units(**attributes: Any) -> tuple[float, float]:
        answer = client.put_item(TableName=table, Item=item(**attributes), ReturnConsumedCapacity="INDEXES")
        told = answer["ConsumedCapacity"]
        index = told.get("GlobalSecondaryIndexes", {}).get("gsi", {}).get("CapacityUnits", 0.0)
        assert told["CapacityUnits"] == told["Table"]["CapacityUnits"] + index
        return told["Table"]["CapacityUnits"], index

    pad = {"S": "x" * 2_500}
    large = ceil(2_600 / 1_024)
    assert units(pad=pad) == (large, 0)
    assert units() == (large, 0)  # the old one was large
    assert units() == (1, 0)
    assert units(G={"S": "g"}, H={"N": "1"}) == (1, 1)
    assert units(G={"S": "g"}, H={"N": "2"}) == (1, 2)  # out of the old place, into the new one
    assert units() == (1, 1)


def test_reads_cost_by_four_kilobytes_and_half_when_they_may_be_stale(client: Any, table: str) -> None:
    client.put_item(TableName=table, Item=item(pad={"S": "x" * 5_000}))
    costs = [
        client.get_item(
            TableName=table, Key=item(), ConsistentRead=consistent, ReturnConsumedCapacity="TOTAL"
        )["ConsumedCapacity"]["CapacityUnits"]
        for consistent in (True, False)
    ]
    assert costs == [2.0, 1.0]
    scanned = client.scan(TableName=table, ReturnConsumedCapacity="TOTAL")
    assert scanned["ConsumedCapacity"]["CapacityUnits"] == 1.0


def test_an_operation_that_is_not_there(client: Any) -> None:
    with pytest.raises(ClientError) as refusal:
        client.describe_kinesis_streaming_destination(TableName="anything")
    assert refusal.value.response["Error"]["Code"] in (
        "UnknownOperationException",
        "ResourceNotFoundException",
    )
