"""Writing, and what is refused: where the servers agree, the simulator agrees with them."""

from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.server_items import everything, item, nested, put, schema, unchecked


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


def test_an_operation_that_is_not_there(client: Any) -> None:
    with pytest.raises(ClientError) as refusal:
        client.describe_kinesis_streaming_destination(TableName="anything")
    assert refusal.value.response["Error"]["Code"] in (
        "UnknownOperationException",
        "ResourceNotFoundException",
    )
