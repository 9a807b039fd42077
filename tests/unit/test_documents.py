"""What a user would lose if a document changed on its way: a digit, a member, a null, a size."""

import orjson
import pyarrow as pa
import pytest

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.dynamodb.documents.json_walk import documents_from_json
from engine.documents.writing import documents_from_text_json
from engine.kinds import DOCUMENT_TYPE, Decimal, Scalar


def document(text):
    (found,) = documents_from_json(pa.array([text])).to_pylist()
    return found


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("null", {"NULL": True}),
        ("true", {"BOOL": True}),
        ('""', {"S": ""}),
        ('"\\u0000\\ud83d\\ude00\\/"', {"S": "\x00😀/"}),
        ("0", {"N": "0"}),
        ("-0", {"N": "0"}),
        ("-0.0", {"N": "0"}),
        ("1E+2", {"N": "100"}),
        ("1.50", {"N": "1.5"}),
        ("123456.0", {"N": "123456"}),
        ("0.00001234567", {"N": "0.00001234567"}),
        ("9007199254740993", {"N": "9007199254740993"}),
        ("12345678901234567.5", {"N": "12345678901234567.5"}),
        ("0.1234567890123456789", {"N": "0.1234567890123456789"}),
        ("18446744073709551616", {"N": "18446744073709551616"}),
        ("1" + "0" * 42, {"N": "1E+42"}),
        ("1e-130", {"N": "1E-130"}),
        ('{"b": [1, {}], "a": []}', {"M": {"b": {"L": [{"N": "1"}, {"M": {}}]}, "a": {"L": []}}}),
        (
            '{"a":"x\\":y", "1e5":"12345678901234567890"}',
            {"M": {"a": {"S": 'x":y'}, "1e5": {"S": "12345678901234567890"}}},
        ),
    ],
)
def test_a_document_says_what_its_json_says(text, wire):
    found = document(text)
    assert (orjson.loads(found["wire"]), found["flaw"]) == (wire, None)
    assert orjson.loads(document(f"[{text},1e0]")["wire"]) == {"L": [wire, {"N": "1"}]}, (
        "the exact parser agrees"
    )


@pytest.mark.parametrize(
    ("text", "reason", "wire"),
    [
        ("1e400", "number_range", {"S": "1e400"}),
        ("1" * 39, "number_precision", {"S": "1" * 39}),
        ('{"a":1,"a":1}', "value_unsupported", {"S": '{"a":1,"a":1}'}),
        ('{"a":1,"\\u0061":1}', "value_unsupported", {"S": '{"a":1,"\\u0061":1}'}),
        ('{"":1}', "value_unsupported", {"S": '{"":1}'}),
        ('"\\ud800"', "value_unsupported", {"S": '"\\ud800"'}),
        ('{"\\udc00":1}', "value_unsupported", {"S": '{"\\udc00":1}'}),
        ("[NaN]", "value_unsupported", {"S": "[NaN]"}),
        ("{", "value_unsupported", {"S": "{"}),
        ("", "value_unsupported", {"S": ""}),
        ("[" * 2000 + "]" * 2000, "nesting_too_deep", {"S": "[" * 2000 + "]" * 2000}),
        ('[1e400,{"a":1,"a":1}]', "value_unsupported", {"S": '[1e400,{"a":1,"a":1}]'}),
    ],
)
def test_what_cannot_be_said_is_a_flaw_and_stays_readable(text, reason, wire):
    found = document(text)
    assert found["flaw"].startswith(f"{reason}: ")
    assert orjson.loads(found["wire"]) == wire


def test_a_bad_number_leaves_the_rest_of_its_document_in_place():
    found = document('{"a":[1,1e400],"b":"x"}')
    assert orjson.loads(found["wire"]) == {"M": {"a": {"L": [{"N": "1"}, {"S": "1e400"}]}, "b": {"S": "x"}}}
    assert found["flaw"].startswith("number_range: ")


@pytest.mark.parametrize(
    ("text", "size", "depth"),
    [
        ("null", 1, 0),
        ("true", 1, 0),
        ('"é"', 2, 0),
        ("100", 2, 0),
        ("-123", 4, 0),
        ("[]", 3, 0),
        ("{}", 3, 0),
        ("[true]", 5, 1),
        ('{"kk":true}', 7, 1),
        ('{"é":[[],"x"]}', 3 + 1 + 2 + 3 + 1 + 3 + 1 + 1, 2),
        ('[1,"x",{"a":[null]}]', 3 + 3 + 2 + 1 + 3 + 1 + 1 + 3 + 1 + 1, 3),
    ],
)
def test_size_and_depth_are_as_dynamodb_counts_them(text, size, depth):
    found = document(text)
    assert (found["size"], found["depth"]) == (size, depth)


def test_sql_null_stays_null():
    found = documents_from_json(pa.array([None, "null"], pa.string()))
    assert found.type == DOCUMENT_TYPE
    assert [one is None for one in found.to_pylist()] == [True, False]
    assert len(documents_from_json(pa.array([], pa.string()))) == 0
    assert (
        documents_from_json(pa.chunked_array([["1"], ["2"]]).combine_chunks()).to_pylist()[1]["wire"]
        == '{"N":"2"}'
    )


@pytest.mark.parametrize(
    ("kind", "text", "wire"),
    [
        (
            Scalar.INT,
            '[["1",null],["2","30"]]',
            {"L": [{"L": [{"N": "1"}, {"NULL": True}]}, {"L": [{"N": "2"}, {"N": "30"}]}]},
        ),
        (Decimal(5, 2), '["1.50"]', {"L": [{"N": "1.5"}]}),
        (Scalar.FLOAT, '"1e-07"', {"N": "0.0000001"}),
        (Scalar.STRING, '["1","null",""]', {"L": [{"S": "1"}, {"S": "null"}, {"S": ""}]}),
        (Scalar.BOOL, '["true","false"]', {"L": [{"BOOL": True}, {"BOOL": False}]}),
        (Scalar.BINARY, '["aGk="]', {"L": [{"B": "aGk="}]}),
        (Scalar.TIMESTAMPTZ, '["infinity"]', {"L": [{"S": "infinity"}]}),
        (Scalar.INT, "[]", {"L": []}),
        (Scalar.INT, "null", {"NULL": True}),
    ],
)
def test_text_leaves_become_values_of_their_kind(kind, text, wire):
    (found, none) = documents_from_text_json(pa.array([text, None]), kind, DOCUMENTS).to_pylist()
    assert (orjson.loads(found["wire"]), found["flaw"], none) == (wire, None, None)


def test_text_leaves_have_sizes_and_flaws():
    (found, binary) = documents_from_text_json(
        pa.array(['["1",["NaN"]]', "[]"]), Scalar.FLOAT, DOCUMENTS
    ).to_pylist()
    assert (found["size"], found["depth"]) == (3 + 2 + 2 + 3 + 1 + 3, 2)
    assert found["flaw"].startswith("number_not_finite: ")
    (binary,) = documents_from_text_json(pa.array(['["aGk=","aGkx"]']), Scalar.BINARY, DOCUMENTS).to_pylist()
    assert binary["size"] == 3 + 2 + 2 + 3
