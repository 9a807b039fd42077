"""Real servers take what the encoder lets through, to the last byte, and refuse what it keeps back."""

import http.client
import json
import uuid
from urllib.parse import urlsplit

import boto3
import orjson
import pyarrow as pa
import pytest

from connectors.dynamodb.documents.json_walk import documents_from_json
from connectors.dynamodb.documents.numbers import number
from connectors.dynamodb.limits import BATCH_ITEMS_MAX, ITEM_BYTES_MAX
from engine.contracts.transform import DELETE
from engine.kinds import Document, ListOf, Scalar, SetOf, StructOf
from tests.support.items import encoded, rule_items

S, N = Scalar.STRING, Scalar.NUMBER
HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20240101/us-east-1/dynamodb/aws4_request,"
    " SignedHeaders=host;x-amz-date;x-amz-target, Signature=" + "0" * 64,
    "X-Amz-Date": "20240101T000000Z",
}


def document(text):
    return documents_from_json(pa.array([text])).to_pylist()[0]


@pytest.fixture(params=["dynoxide", "dynamodb_local"])
def endpoint(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def table(endpoint):
    name = f"t-{uuid.uuid4().hex[:12]}"
    boto3.client("dynamodb", endpoint_url=endpoint).create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("PK", "SK")],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def send(endpoint, operation, body):
    parts = urlsplit(endpoint)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        target = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        connection.request("POST", "/", body, HEADERS | target)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def write(endpoint, table, result):
    for start in range(0, len(result), BATCH_ITEMS_MAX):
        stop = min(start + BATCH_ITEMS_MAX, len(result))
        items = bytes(result.text[result.offsets[start] : result.offsets[stop] - 1])
        body = b'{"RequestItems":{"' + table.encode() + b'":[' + items + b"]}}"
        status, answer = send(endpoint, "BatchWriteItem", body)
        assert (status, answer.get("UnprocessedItems")) == (200, {}), answer


def stored(endpoint, table):
    items = boto3.client("dynamodb", endpoint_url=endpoint).scan(TableName=table)["Items"]
    return {item["SK"]["S"]: {k: v for k, v in item.items() if k not in ("PK", "SK")} for item in items}


def test_values_come_back_as_they_were(endpoint, table):
    kinds = {
        "PK": S,
        "SK": S,
        "text": S,
        "number": N,
        "list": ListOf(N),
        "struct": StructOf((("a", S), ("b", Scalar.BOOL))),
        "set": SetOf(N),
        "doc": Document(),
        "octets": Scalar.BINARY,
    }
    rows = [
        {"SK": "hostile", "text": 'a"b\\c\x00\x1f\x7f\u2028é😀'},
        {"SK": "empty", "text": "", "list": [], "struct": {"a": None, "b": None}, "octets": ""},
        {
            "SK": "full",
            "list": ["1.50", None],
            "struct": {"a": "x", "b": "true"},
            "set": ["1", "-2.50"],
            "octets": "aGk=",
        },
        {"SK": "doc", "doc": document('{"a":[1,{"b":null}],"c":1e30}')},
        {"SK": "large", "number": "9" * 38 + "0" * 88},
        {"SK": "small", "number": "-1e-130"},
    ]
    write(endpoint, table, encoded(rule_items(kinds, [{"PK": "k"} | row for row in rows]), table=table))
    assert stored(endpoint, table) == {
        "hostile": {"text": {"S": 'a"b\\c\x00\x1f\x7f\u2028é😀'}},
        "empty": {"text": {"S": ""}, "list": {"L": []}, "struct": {"M": {}}, "octets": {"B": b""}},
        "full": {
            "list": {"L": [{"N": "1.5"}, {"NULL": True}]},
            "struct": {"M": {"a": {"S": "x"}, "b": {"BOOL": True}}},
            "set": {"NS": stored_set(["1", "-2.5"], endpoint, table)},
            "octets": {"B": b"hi"},
        },
        "doc": {
            "doc": {"M": {"a": {"L": [{"N": "1"}, {"M": {"b": {"NULL": True}}}]}, "c": {"N": "1" + "0" * 30}}}
        },
        "large": {"number": {"N": "9" * 38 + "0" * 88}},
        "small": {"number": {"N": "-0." + "0" * 129 + "1"}},
    }


def stored_set(members, endpoint, table):
    """The members in the server's own order."""
    found = stored(endpoint, table)["full"]["set"]["NS"]
    assert sorted(found) == sorted(members)
    return found


@pytest.mark.parametrize(
    ("kind", "value", "too_much"),
    [
        (S, "x" * (ITEM_BYTES_MAX - len("PKkSKov") - 3), None),
        (N, "9.9999999999999999999999999999999999999E+125", "1E+126"),
        (N, "1E-130", "1E-131"),
        (N, "1" * 38, "1" * 39),
        (SetOf(N), ["1", "1.1"], ["1", "1.0"]),
        (SetOf(S), [""], []),
        (Document(), document("[" * 31 + "1" + "]" * 31), document("[" * 32 + "1" + "]" * 32)),
    ],
)
def test_what_is_kept_back_is_what_the_server_refuses(endpoint, table, kind, value, too_much):
    kinds = {"PK": S, "SK": S, "v": kind, "n": Scalar.INT}
    good, bad = {"PK": "k", "SK": "o", "v": value}, {"PK": "k", "SK": "p", "v": too_much}
    if too_much is None:
        good, bad = good | {"n": "5"}, good | {"SK": "p", "n": "555"}
    result = encoded(rule_items(kinds, [good, bad]), table=table)
    write(endpoint, table, result)
    (dead,) = result.dead_letters
    item = dead.item_json.replace('{"S":"1E', '{"N":"1E').replace('{"S":"11', '{"N":"11')
    body = f'{{"RequestItems":{{"{table}":[{{"PutRequest":{{"Item":{item}}}}}]}}}}'
    status, answer = send(endpoint, "BatchWriteItem", body.encode())
    assert status == 400, answer
    assert list(stored(endpoint, table)) == ["o"]


COUNTED_ALIKE = ["0", "1.5", "15", "100", "123.456", "-1.5", "1E+20", "1E+60", "1.5E+61", "9" * 38]
COUNTED_BY_AMAZON = ["0.00012", "-1.5E-60", "1." + "9" * 37, "-9." + "9" * 37, "-" + "9" * 38 + "0"]


@pytest.mark.parametrize("text", COUNTED_ALIKE + COUNTED_BY_AMAZON)
def test_a_number_counts_what_the_server_charges(endpoint, table, text, request):
    if text in COUNTED_BY_AMAZON and "dynoxide" in request.node.name:
        pytest.skip("Dynoxide pairs these digits otherwise than Amazon's own server")
    kinds = {"PK": S, "SK": S, "v": S, "n": N}
    rest = 1024 - len("PKkSK0vn") - number(text).size
    rows = [{"PK": "k", "SK": str(over), "v": "x" * (rest + over), "n": text} for over in (0, 1)]
    result = encoded(rule_items(kinds, rows), table=table)
    assert dict(zip(result.rows.tolist(), result.units.tolist(), strict=True)) == {0: 1, 1: 2}
    for place in range(len(result)):
        item = orjson.loads(result.item(place))["PutRequest"]["Item"]
        body = orjson.dumps({"TableName": table, "Item": item, "ReturnConsumedCapacity": "TOTAL"})
        status, answer = send(endpoint, "PutItem", body)
        assert (status, answer["ConsumedCapacity"]["CapacityUnits"]) == (200, result.units[place])


def test_insert_keeps_what_is_there(endpoint, table):
    kinds = {"PK": S, "SK": S, 'it\'s "q"': S}
    write(endpoint, table, encoded(rule_items(kinds, [{"PK": "k", "SK": "old"}]), table=table))
    rows = [
        {"PK": "k", "SK": name, 'it\'s "q"': value}
        for name, value in (("old", "x"), ("new", "y"), ("bare", None))
    ]
    result = encoded(rule_items(kinds, rows), mode="insert", table=table)
    body = b'{"Statements":[' + bytes(result.text[:-1]) + b"]}"
    status, answer = send(endpoint, "BatchExecuteStatement", body)
    assert status == 200, answer
    assert sum("Error" in response for response in answer["Responses"]) == 1
    assert stored(endpoint, table) == {"old": {}, "new": {'it\'s "q"': {"S": "y"}}, "bare": {}}


def test_newer_writes_only_over_a_lower_version(endpoint, table):
    kinds = {"PK": S, "SK": S, "v": N}
    write(
        endpoint,
        table,
        encoded(rule_items(kinds, [{"PK": "k", "SK": n, "v": "5"} for n in "abcd"]), table=table),
    )
    rows = [("a", "6", False), ("b", "5", False), ("c", "6", True), ("d", "4", True), ("e", "1", False)]
    made = [{"PK": "k", "SK": name, "v": version, DELETE: gone} for name, version, gone in rows]
    result = encoded(rule_items(kinds, made), mode="newer", version="v", table=table)
    codes = {}
    for place in range(len(result)):
        operation = "DeleteItem" if result.deletes[place] else "PutItem"
        codes[rows[result.rows[place]][0]], _ = send(endpoint, operation, result.item(place))
    assert codes == {"a": 200, "b": 400, "c": 200, "d": 400, "e": 200}
    versions = {name: orjson.loads(item["v"]["N"]) for name, item in stored(endpoint, table).items()}
    assert versions == {"a": 6, "b": 5, "d": 5, "e": 1}
