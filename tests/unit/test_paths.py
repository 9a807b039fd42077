"""Paths of placeholders: columns, composites, documents."""

import pytest

from engine.errors import JobError
from engine.kinds import Document, Scalar, StructOf
from tests.support.rules import attribute, transformed, values_of

S = Scalar


def doc(*texts, template="{doc.a.b}"):
    columns = {"id": (S.INT, [str(n) for n in range(len(texts))]), "doc": (Document(), list(texts))}
    return attribute(columns, template)


def test_a_columns_exact_name_wins_over_a_path():
    columns = {
        "id": (S.INT, ["1"]),
        "a.b": (S.STRING, ["column"]),
        "a": (StructOf((("b", S.STRING), ("c", S.INT))), [{"b": "field", "c": "7"}]),
    }
    assert attribute(columns, "{a.b}")[1] == ["column"]
    assert attribute(columns, '{"a.b"}')[1] == ["column"]
    assert attribute(columns, "{a.c}") == (S.INT, ["7"], [None])


def test_a_null_composite_has_null_fields():
    columns = {"id": (S.INT, ["1"]), "a": (StructOf((("b", S.STRING),)), [None])}
    assert attribute(columns, "{a.b}") == (S.STRING, [None], [None])


def test_a_value_inside_a_document_keeps_its_type_and_its_digits():
    kind, values, flaws = doc(
        '{"a":{"b":12345678901234567890.10}}', '{"a":{"b":[1,null]}}', '{"a":{"b":null}}'
    )
    assert kind == Document()
    assert values == ['{"N":"12345678901234567890.1"}', '{"L":[{"N":"1"},{"NULL":true}]}', '{"NULL":true}']
    assert flaws == [None] * 3


def test_what_isnt_there_is_null():
    assert doc('{"a":1}', '{"a":{}}', "5", "null", None)[1:] == ([None] * 5, [None] * 5)


def test_scalars_of_a_document_are_text_among_text():
    _, values, flaws = doc(
        '{"a":{"b":1.50}}', '{"a":{"b":true}}', '{"a":{"b":"é"}}', '{"a":{"b":null}}', template="<{doc.a.b}>"
    )
    assert values == ["<1.5>", "<true>", "<é>", None]
    assert flaws == [None] * 4


def test_a_list_or_a_map_of_a_document_is_no_text():
    _, values, flaws = doc('{"a":{"b":[1]}}', '{"a":{"b":{}}}', '{"a":{"b":1}}', template="<{doc.a.b}>")
    assert values == [None, None, "<1>"]
    assert flaws == ["value_unsupported: doc.a.b is a list, a map or a set, not a text"] * 2 + [None]


def test_a_document_that_cant_be_taken_apart_is_a_flaw_whatever_the_path():
    texts = ['{"a":{"b":1},"a":2}', '{"a":{"b":"x"}}']
    _, values, flaws = doc(*texts, template="<{doc.a.b}>")
    assert values == [None, "<x>"]
    assert flaws[0].startswith("value_unsupported: the name 'a' stands twice")
    columns = {"id": (S.INT, ["1", "2"]), "doc": (Document(), texts)}
    (items,) = transformed(columns, {"key": {"PK": "{id}"}, "attributes": {"a": "{doc.a.b}"}})
    carried = items.frame.get_column("1").struct.field("flaw").to_list()
    assert carried[0].startswith("value_unsupported: the name 'a' stands twice")
    assert carried[1] is None


def test_a_number_beyond_dynamodb_is_still_text_among_text():
    _, values, flaws = doc('{"a":{"b":1e400}}', template="<{doc.a.b}>")
    assert values == ["<1e400>"]
    assert flaws == [None]


def test_a_size_and_depth_for_a_part_of_a_document():
    columns = {"id": (S.INT, ["1"]), "doc": (Document(), ['{"a":{"b":{"key":[1,"xyz"]}}}'])}
    (items,) = transformed(columns, {"key": {"PK": "{id}"}, "attributes": {"a": "{doc.a.b}"}})
    part = items.frame.get_column("1")[0]
    # Map: 3 + 1 + "key"; list: 3 + 2; number 1: 2 bytes; "xyz": 3.
    assert (part["size"], part["depth"], part["flaw"]) == (3 + 1 + 3 + 3 + 2 + 2 + 3, 2, None)


def test_several_paths_into_one_document_and_one_element():
    doc = Document()
    columns = {"id": (S.INT, ["1"]), "doc": (doc, ['{"k":"x","l":[{"a":1,"b":"q\\"r"},{"a":2}]}'])}
    rule = {
        "for_each": "doc.l",
        "key": {"PK": "{doc.k}", "SK": "{doc.k}#{each.a}"},
        "attributes": {"a": "{each.a}", "b": "{each.b}!", "k": "{doc.k}"},
    }
    (items,) = transformed(columns, rule)
    x = '{"S":"x"}'
    assert values_of(items) == [
        {"PK": x, "SK": "x#1", "a": '{"N":"1"}', "b": 'q"r!', "k": x},
        {"PK": x, "SK": "x#2", "a": '{"N":"2"}', "k": x},
    ]


def test_an_unknown_column_is_told_with_the_columns_that_there_are():
    with pytest.raises(JobError, match=r"there is no column 'zzz'; there are doc, id$"):
        doc("1", template="{zzz}")
