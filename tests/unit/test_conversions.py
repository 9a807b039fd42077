"""`as`: exact, or a flaw, or refused."""

import orjson
import pytest

from engine.documents import walking
from engine.errors import JobError
from engine.kinds import Decimal, Document, ListOf, Scalar, SetOf, StructOf
from tests.support.rules import attribute

S = Scalar
STRUCT = StructOf((("x", S.INT),))
TEXTS = ListOf(S.STRING)


def converted(kind, values, wanted):
    columns = {"id": (S.INT, [str(n) for n in range(len(values))]), "v": (kind, values)}
    return attribute(columns, {"value": "{v}", "as": wanted})


@pytest.mark.parametrize(
    ("kind", "values", "wanted", "result_kind", "result"),
    [
        (S.INT, ["1", None], "S", S.STRING, ["1", None]),
        (Decimal(5, 2), ["1.50"], "S", S.STRING, ["1.50"]),
        (S.BOOL, ["true"], "S", S.STRING, ["true"]),
        (S.BINARY, ["aGk="], "S", S.STRING, ["aGk="]),
        (S.STRING, ["1.5", "abc"], "N", S.NUMBER, ["1.5", "abc"]),
        (S.FLOAT, ["1e-07"], "N", S.FLOAT, ["1e-07"]),
        (S.STRING, ["hé", ""], "B", S.BINARY, ["aMOp", ""]),
        (S.BINARY, ["aGk="], "B", S.BINARY, ["aGk="]),
        (S.BOOL, ["false"], "BOOL", S.BOOL, ["false"]),
        (S.STRING, ["true", "F", "t", "0", None], "BOOL", S.BOOL, ["true", "false", "true", "false", None]),
        (S.INT, ["1", "0"], "BOOL", S.BOOL, ["true", "false"]),
        (TEXTS, [["a"], None], "L", TEXTS, [["a"], None]),
        (STRUCT, [{"x": "1"}], "M", STRUCT, [{"x": "1"}]),
        (TEXTS, [["a", "b"], [], None], "SS", SetOf(S.STRING), [["a", "b"], [], None]),
        (ListOf(S.INT), [["1"]], "SS", SetOf(S.STRING), [["1"]]),
        (ListOf(S.INT), [["1", "2"]], "NS", SetOf(S.NUMBER), [["1", "2"]]),
        (TEXTS, [["1.5"]], "NS", SetOf(S.NUMBER), [["1.5"]]),
        (TEXTS, [["hi"]], "BS", SetOf(S.BINARY), [["aGk="]]),
        (ListOf(S.BINARY), [["aGk="]], "BS", SetOf(S.BINARY), [["aGk="]]),
        (Document(), ['["a","b"]', "[]", "null"], "SS", SetOf(S.STRING), [["a", "b"], [], None]),
        (Document(), ["[1,2.50]"], "NS", SetOf(S.NUMBER), [["1", "2.5"]]),
        (Document(), ["[1]", "[]"], "L", Document(), ['{"L":[{"N":"1"}]}', '{"L":[]}']),
        (Document(), ["{}"], "M", Document(), ['{"M":{}}']),
        (Document(), ["1.50", '"x"', "true", "null"], "S", S.STRING, ["1.5", "x", "true", None]),
        (Document(), ["12", '"12"'], "N", S.NUMBER, ["12", "12"]),
        (Document(), ["true", '"f"', "1"], "BOOL", S.BOOL, ["true", "false", "true"]),
        (S.TIMESTAMPTZ, ["2024-01-15T10:00:00.9Z", None], "epoch_s", S.INT, ["1705312800", None]),
        (S.TIMESTAMPTZ, ["1969-12-31T23:59:59.5Z"], "epoch_s", S.INT, ["-1"]),
        (S.TIMESTAMP, ["1970-01-01T00:00:01.0019"], "epoch_ms", S.INT, ["1001"]),
        (S.DATE, ["1970-01-02"], "epoch_s", S.INT, ["86400"]),
        (
            Document(),
            ['"1970-01-01T00:00:01Z"', '"1970-01-01T00:00:01.5"'],
            "epoch_ms",
            S.INT,
            ["1000", "1500"],
        ),
        (S.STRING, ['{"a":[1.50]}', None], "json", Document(), ['{"M":{"a":{"L":[{"N":"1.5"}]}}}', None]),
        (Document(), ["[1.50]", "null", None], "json", Document(), ['{"S":"[1.5]"}', '{"S":"null"}', None]),
    ],
)
def test_conversions_keep_the_value(kind, values, wanted, result_kind, result):
    assert converted(kind, values, wanted) == (result_kind, result, [None] * len(values))


@pytest.mark.parametrize(
    ("kind", "value", "wanted", "flaw"),
    [
        (S.STRING, "yes", "BOOL", "value_unsupported: a's value is neither true nor false"),
        (TEXTS, ["a", None], "SS", "set_invalid: a's value holds a null, and a set can't"),
        (Document(), '["a",1]', "SS", "set_invalid: a's value isn't a list whose elements are all of type S"),
        (
            Document(),
            '["a",null]',
            "SS",
            "set_invalid: a's value isn't a list whose elements are all of type S",
        ),
        (Document(), '"a"', "SS", "set_invalid: a's value isn't a list whose elements are all of type S"),
        (Document(), "{}", "L", "value_unsupported: a's value is no list"),
        (Document(), "[]", "M", "value_unsupported: a's value is no map"),
        (Document(), "[]", "S", "value_unsupported: a's value is a list, a map or a set, not a text"),
        (
            S.TIMESTAMP,
            "infinity",
            "epoch_s",
            "value_unsupported: a's value is no moment that epoch_s can count to",
        ),
        (Document(), "5", "epoch_s", "value_unsupported: a's value is no moment that epoch_s can count to"),
    ],
)
def test_what_doesnt_fit_is_a_flaw_and_no_value(kind, value, wanted, flaw):
    _, values, flaws = converted(kind, [value, None], wanted)
    assert values == [None, None]
    assert flaws == [flaw, None]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (S.BOOL, "N"),
        (S.DATE, "N"),
        (S.INT, "B"),
        (TEXTS, "S"),
        (TEXTS, "M"),
        (STRUCT, "L"),
        (ListOf(S.BOOL), "NS"),
        (ListOf(TEXTS), "SS"),
        (S.STRING, "SS"),
        (S.STRING, "epoch_s"),
        (S.INT, "json"),
        (S.TIME, "epoch_ms"),
        (S.DATE, "BOOL"),
    ],
)
def test_what_can_never_fit_is_refused_before_reading(kind, wanted):
    with pytest.raises(JobError, match=f"can't become {wanted}"):
        converted(kind, [], wanted)


def test_text_that_is_no_json_carries_its_flaw_in_the_document():
    from tests.support.rules import transformed

    columns = {"id": (S.INT, ["1"]), "v": (S.STRING, ["{nonsense"])}
    (items,) = transformed(
        columns, {"key": {"PK": "{id}"}, "attributes": {"a": {"value": "{v}", "as": "json"}}}
    )
    assert items.frame.get_column("1").struct.field("flaw")[0].startswith("value_unsupported: not JSON")


NAMELESS = "value_unsupported: a member has the empty name, which DynamoDB refuses"
WAY_OUT = "; `as: json` loads a document as its text"


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        '{"": 1}',
        '{"a": [{"": 1e400}]}',
        '{"a": 1, "a": 2}',
        '"\\ud800"',
        pytest.param("[" * 70 + "]" * 70, id="deep"),
        pytest.param("[" * 2000 + "]" * 2000, id="deeper than Python goes"),
    ],
)
def test_a_json_document_that_no_map_can_hold_is_loaded_as_its_text(text, pure, monkeypatch):
    if pure:
        monkeypatch.setattr(walking, "handed", lambda *_: None)
    _, plain, _ = attribute({"id": (S.INT, ["1"]), "v": (Document(), [text])}, {"value": "{v}"})
    assert plain == [orjson.dumps({"S": text}).decode()]
    _, (found,), _ = converted(Document(), [text], "json")
    assert orjson.loads(found) == {"S": text}


@pytest.mark.parametrize(
    ("rule", "text", "wire", "flaw"),
    [
        ({"value": "{v.a}"}, '{"": 1, "a": {"b": 1.50}}', {"M": {"b": {"N": "1.5"}}}, None),
        ({"value": "{v.a}"}, '{"a": {"": 1}}', {"S": '{"":1}'}, f"{NAMELESS}{WAY_OUT}"),
        ({"value": "{v.a}", "as": "json"}, '{"a": {"": 1.50}, "b": 2}', {"S": '{"":1.50}'}, None),
        ({"value": "{v.c}", "as": "json"}, '{"a": {"": 1.50}}', None, None),
        (
            {"value": "{v.a}", "as": "json"},
            '{"a": 1, "b": 2, "b": 3}',
            {"S": '"{\\"a\\": 1, \\"b\\": 2, \\"b\\": 3}"'},
            "value_unsupported: the name 'b' stands twice in one object",
        ),
        ({"value": "{v}", "as": "json"}, "[1e400]", {"S": '["1e400"]'}, "number_range: 1e400 is outside"),
    ],
)
def test_a_part_of_a_document_has_its_own_flaws(rule, text, wire, flaw):
    from tests.support.rules import transformed

    columns = {"id": (S.INT, ["1"]), "v": (Document(), [text])}
    (items,) = transformed(columns, {"key": {"PK": "{id}"}, "attributes": {"a": rule}})
    found = items.frame.get_column("1")[0]
    assert (found and found["wire"] and orjson.loads(found["wire"])) == wire
    assert ((found and found["flaw"]) or "").startswith(flaw or "")
    assert bool(found and found["flaw"]) == bool(flaw)


def test_elements_of_a_list_have_their_own_flaws():
    from tests.support.rules import transformed

    columns = {"id": (S.INT, ["1"]), "v": (Document(), ['[1, {"": 2}]'])}
    rule = {
        "for_each": "v",
        "key": {"PK": "{id}#{index}"},
        "attributes": {"a": "{each}", "t": {"value": "{each}", "as": "json"}},
    }
    (items,) = transformed(columns, rule)
    assert [found["flaw"] for found in items.frame.get_column("1")] == [None, f"{NAMELESS}{WAY_OUT}"]
    assert [orjson.loads(found["wire"]) for found in items.frame.get_column("2")] == [
        {"S": "1"},
        {"S": '{"":2}'},
    ]
