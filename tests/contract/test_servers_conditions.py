"""Conditions, updates, transactions: where the servers agree, the simulator agrees with them."""

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.server_items import everything, item


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
