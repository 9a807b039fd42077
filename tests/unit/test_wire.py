"""What a user would lose if `insert` or `newer` wrote over what they are to keep."""

import orjson
import pyarrow as pa
import pytest

from connectors.dynamodb.documents.json_walk import documents_from_json
from engine.contracts.transform import DELETE
from engine.errors import JobError
from engine.kinds import Document, Scalar
from tests.support.items import encoded, rule_items

S, N, INT, B = Scalar.STRING, Scalar.NUMBER, Scalar.INT, Scalar.BINARY
KEY = {"PK": S, "SK": S}


def document(text):
    return documents_from_json(pa.array([text])).to_pylist()[0]


def row(**values):
    return {"PK": "u#1", "SK": "o#1"} | values


def test_insert_mode_binds_what_is_there_and_skips_deletes():
    kinds = KEY | {"it's": S, 'q"': INT, "gone": S}
    rows = [row(**{"it's": "x", 'q"': "1"}), row(SK="o#2", **{DELETE: True}), row(SK="o#3", gone="y")]
    result = encoded(rule_items(kinds, rows), mode="insert", table='t"')
    wire = {int(result.rows[place]): orjson.loads(result.item(place)) for place in range(len(result))}
    assert wire == {
        0: {
            "Statement": "INSERT INTO \"t\"\"\" VALUE {'PK':?,'SK':?,'it''s':?,'q\"':?}",
            "Parameters": [{"S": "u#1"}, {"S": "o#1"}, {"S": "x"}, {"N": "1"}],
        },
        2: {
            "Statement": "INSERT INTO \"t\"\"\" VALUE {'PK':?,'SK':?,'gone':?}",
            "Parameters": [{"S": "u#1"}, {"S": "o#3"}, {"S": "y"}],
        },
    }
    assert result.skipped == 1
    kept = encoded(rule_items(kinds, rows[:1]), mode="insert", nulls="keep")
    assert orjson.loads(kept.item(0))["Parameters"][-1] == {"NULL": True}
    assert orjson.loads(kept.item(0))["Statement"].endswith("'gone':?}")


def test_an_insert_that_is_too_long_a_statement_is_a_dead_letter():
    kinds = KEY | {f"{n}" + "x" * 4090: S for n in range(2)}
    long, short = (name for name in kinds if name not in KEY)
    rows = [row(**{long: "1", short: "1"}), row(SK="o#2", **{long: "1"})]
    result = encoded(rule_items(kinds, rows), mode="insert")
    assert (result.rows.tolist(), result.dead_letters[0].reason) == ([1], "value_unsupported")


def test_newer_mode_writes_only_over_a_lower_version():
    rows = [
        row(v="2.0"),
        row(SK="o#2", v="3", **{DELETE: True}),
        row(SK="o#3"),
        row(SK="o#4", **{DELETE: True}),
    ]
    result = encoded(rule_items(KEY | {"v": N}, rows), mode="newer", version="v")
    wire = {int(result.rows[place]): orjson.loads(result.item(place)) for place in range(len(result))}
    condition = {
        "ConditionExpression": "attribute_not_exists(#k) OR #v < :v",
        "ExpressionAttributeNames": {"#k": "PK", "#v": "v"},
        "ReturnConsumedCapacity": "INDEXES",
        "TableName": "app-data",
    }
    key = {"PK": {"S": "u#1"}, "SK": {"S": "o#2"}}
    put = {"Item": {"PK": {"S": "u#1"}, "SK": {"S": "o#1"}, "v": {"N": "2"}}}
    assert wire == {
        0: condition | put | {"ExpressionAttributeValues": {":v": {"N": "2"}}},
        1: condition | {"Key": key} | {"ExpressionAttributeValues": {":v": {"N": "3"}}},
    }
    assert [dead.reason for dead in result.dead_letters] == ["value_unsupported"] * 2


def test_a_version_that_cannot_be_compared_is_refused():
    def newer(kind, value):
        return encoded(rule_items(KEY | {"v": kind}, [row(v=value)]), mode="newer", version="v")

    with pytest.raises(JobError, match=r"target.version: v of items\[0\]"):
        newer(Scalar.BOOL, "true")
    with pytest.raises(JobError, match=r"target.version: items\[0\] has no attribute v"):
        encoded(rule_items(KEY, []), mode="newer", version="v")
    assert len(newer(Document(), document("5"))) == 1
    assert newer(Document(), document("[5]")).dead_letters[0].reason == "value_unsupported"
    assert newer(Document(), document("null")).dead_letters[0].reason == "value_unsupported"
