"""What a user would lose if a value became another on its way to the wire."""

import orjson
import pyarrow as pa
import pytest

from connectors.dynamodb.documents.json_walk import documents_from_json
from engine.kinds import Decimal, Document, ListOf, Scalar, SetOf, StructOf
from tests.support.items import encoded, puts, rule_items

S, N, INT, B = Scalar.STRING, Scalar.NUMBER, Scalar.INT, Scalar.BINARY
KEY = {"PK": S, "SK": S}


def document(text):
    return documents_from_json(pa.array([text])).to_pylist()[0]


def row(**values):
    return {"PK": "u#1", "SK": "o#1"} | values


def one(kinds, values, **changes):
    result = encoded(rule_items(KEY | kinds, [row(**values)]), **changes)
    assert result.dead_letters == ()
    (item,) = puts(result)
    return {name: value for name, value in item.items() if name not in KEY}


def letter(kinds, values, **changes):
    result = encoded(rule_items(KEY | kinds, [row(**values)]), **changes)
    assert len(result) == 0
    (dead,) = result.dead_letters
    return dead


@pytest.mark.parametrize(
    ("kind", "value", "wire"),
    [
        (S, "", {"S": ""}),
        (S, 'a"b\\c\n\x00\x1f\x7f\u2028é😀', {"S": 'a"b\\c\n\x00\x1f\x7f\u2028é😀'}),
        (Scalar.TIMESTAMP, "infinity", {"S": "infinity"}),
        (Scalar.DATE, "2024-01-15", {"S": "2024-01-15"}),
        (Scalar.TIME, "10:00:00.5", {"S": "10:00:00.5"}),
        (Scalar.BOOL, "false", {"BOOL": False}),
        (B, "aGk=", {"B": "aGk="}),
        (N, "100.00", {"N": "100"}),
        (N, "100", {"N": "100"}),
        (N, "-0.00", {"N": "0"}),
        (N, "1.50e10", {"N": "15000000000"}),
        (Scalar.FLOAT, "1e-07", {"N": "0.0000001"}),
        (Decimal(5, 2), "20", {"N": "20"}),
        (N, "9" * 38 + "0" * 88, {"N": "9." + "9" * 37 + "E+125"}),
        (ListOf(N), [], {"L": []}),
        (ListOf(N), ["1.0", None, "20"], {"L": [{"N": "1"}, {"NULL": True}, {"N": "20"}]}),
        (
            ListOf(ListOf(S)),
            [["a,b", '"'], [], None],
            {"L": [{"L": [{"S": "a,b"}, {"S": '"'}]}, {"L": []}, {"NULL": True}]},
        ),
        (StructOf((("a", INT), ("b", S))), {"a": "1", "b": None}, {"M": {"a": {"N": "1"}}}),
        (StructOf((("a", INT), ("b", S))), {"a": None, "b": "x"}, {"M": {"b": {"S": "x"}}}),
        (StructOf((("a", INT),)), {"a": None}, {"M": {}}),
        (
            ListOf(StructOf((('q"', INT),))),
            [{'q"': "1"}, None],
            {"L": [{"M": {'q"': {"N": "1"}}}, {"NULL": True}]},
        ),
        (SetOf(S), ["a", "b"], {"SS": ["a", "b"]}),
        (SetOf(N), ["1.0", "2"], {"NS": ["1", "2"]}),
        (SetOf(B), ["aGk=", ""], {"BS": ["aGk=", ""]}),
        (Document(), document('{"a":[1,null]}'), {"M": {"a": {"L": [{"N": "1"}, {"NULL": True}]}}}),
        (Document(), document("null"), {"NULL": True}),
    ],
)
def test_every_kind_keeps_its_value(kind, value, wire):
    assert one({"v": kind}, {"v": value}) == {"v": wire}
    # beside a missing one and one that needs escaping, the column takes other ways to the same bytes
    others = [row(SK="o#2"), row(SK='o"3', v=value)]
    result = encoded(rule_items(KEY | {"v": kind}, [row(v=value), *others]))
    assert [item.get("v") for item in puts(result)] == [wire, None, wire]


def test_null_is_left_out_or_kept_as_the_option_says():
    kinds = {"a": S, "b": INT, "c": ListOf(S), "d": StructOf((("x", S), ("y", S))), "e": Document()}
    values = {"d": {"x": None, "y": "1"}}
    assert one(kinds, values) == {"d": {"M": {"y": {"S": "1"}}}}
    null = {"NULL": True}
    inner = {"M": {"x": null, "y": {"S": "1"}}}
    assert one(kinds, values, nulls="keep") == {"a": null, "b": null, "c": null, "d": inner, "e": null}


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (N, "NaN", "number_not_finite"),
        (Decimal(5, 2), "NaN", "number_not_finite"),
        (Scalar.FLOAT, "-Infinity", "number_not_finite"),
        (N, "1" * 39, "number_precision"),
        (N, "1E+126", "number_range"),
        (N, "1E-131", "number_range"),
        (ListOf(N), ["1", "NaN"], "number_not_finite"),
        (StructOf((("x", N),)), {"x": "NaN"}, "number_not_finite"),
        (Document(), document('{"x":1e400}'), "number_range"),
    ],
)
def test_a_number_that_dynamodb_cannot_hold_is_a_dead_letter_or_a_string(kind, value, reason):
    dead = letter({"v": kind}, {"v": value})
    assert dead.reason == reason
    assert dead.detail.startswith("v: ")
    assert dead.source_key == {"id": "100"}
    as_string = one({"v": kind}, {"v": value}, numbers="string")["v"]
    assert as_string == orjson.loads(dead.item_json)["v"]
    assert "S" in str(as_string)
    mixed = encoded(rule_items(KEY | {"v": kind}, [row(v=value), row(SK="o#2")]), numbers="string")
    assert [item.get("v") for item in puts(mixed)] == [as_string, None]


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (N, "1.5.0", "value_unsupported"),
        (SetOf(S), [], "set_invalid"),
        (SetOf(S), ["a", "a"], "set_invalid"),
        (SetOf(N), ["1.0", "1"], "set_invalid"),
        (SetOf(S), ["a", None], "set_invalid"),
        (SetOf(N), ["NaN"], "number_not_finite"),
        (Document(), document('{"a":1,"a":2}'), "value_unsupported"),
        (ListOf(Document()), [document("1"), document("{")], "value_unsupported"),
        (Document(), document("[" * 32 + "1" + "]" * 32), "nesting_too_deep"),
        (ListOf(Document()), [document("[" * 31 + "1" + "]" * 31)], "nesting_too_deep"),
        (Document(), document("[" * 100 + "]" * 100), "nesting_too_deep"),
    ],
)
@pytest.mark.parametrize("numbers", ["exact", "string"])
def test_a_value_that_dynamodb_cannot_hold_is_a_dead_letter(kind, value, reason, numbers):
    dead = letter({"v": kind}, {"v": value}, numbers=numbers)
    assert dead.reason == reason
    assert dead.rule == "Order"
    assert "v" in orjson.loads(dead.item_json)


def test_the_deepest_nesting_that_fits_is_written():
    assert "v" in one({"v": Document()}, {"v": document("[" * 31 + "1" + "]" * 31)})
    assert "v" in one({"v": ListOf(Document())}, {"v": [document("[" * 30 + "1" + "]" * 30)]})
