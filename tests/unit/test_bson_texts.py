"""BSON that no map can hold is loaded as its text, whichever way it is read, or its flaw promises nothing."""

import bson
import numpy as np
import orjson
import pytest

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.mongodb.documents import read_columns, read_documents
from connectors.mongodb.layout import FIELD, layout_of, schema_of
from engine.contracts.documents import AS_TEXT
from engine.documents.reading import DocumentReader
from engine.kinds import Column
from engine.rules.fields import Fields

FIELDS = Fields({"v": ("v",)}, {}, {"\0rest:[]": frozenset({"_id"})})
LAYOUT = layout_of(FIELDS, schema_of(FIELDS, Column("_id", FIELD), keyed=True, unique=True), DOCUMENTS)


def read(*values):
    """Return the column `v`, and all of them as members."""
    whole = [bson.encode({"_id": number, "v": value}) for number, value in enumerate(values)]
    data = b"".join(whole)
    starts = np.array([sum(map(len, whole[:number])) for number in range(len(whole))])
    one_by_one = read_documents(LAYOUT, data, starts.tolist())
    assert read_columns(LAYOUT, data, starts).equals(one_by_one)
    return one_by_one.column("v").to_pylist(), one_by_one.column("\0rest:[]").to_pylist()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"": 1}, '{"":1}'),
        ({"a": [{"": {"": "x"}}, 1.5]}, '{"a":[{"":{"":"x"}},1.5]}'),
        (bson.Code("f", {"": 1}), '{"$code":"f","$scope":{"":{"$numberInt":"1"}}}'),
        ({"b": b"hi", "": None}, '{"b":"aGk=","":null}'),
    ],
)
def test_a_document_with_an_empty_name_has_a_text(value, text):
    rows, rests = read(value, value, "plain")
    assert (
        rows[0]["flaw"] == "value_unsupported: a member has the empty name, which DynamoDB refuses" + AS_TEXT
    )
    assert rests[0]["flaw"].startswith("value_unsupported: v: a member has the empty name")
    found = DocumentReader(DOCUMENTS).as_texts(rows)
    assert [(orjson.loads(cell[0]), cell[3]) for cell in found] == [
        ({"S": text}, None),
        ({"S": text}, None),
        ({"S": '"plain"'}, None),
    ]


def test_what_is_below_has_its_own_flaws():
    rows, _ = read({"": 1, "a": {"b": b"hi"}, "c": {"": 2}})
    wires, flaws = [row["wire"] for row in rows], [row["flaw"] for row in rows]
    reader = DocumentReader(DOCUMENTS)
    assert reader.parts(("a",), wires, flaws) == [('{"M":{"b":{"B":"aGk="}}}', 7, 1, None)]
    (c,) = reader.parts(("c",), wires, flaws)
    assert c == ('{"M":{"":{"N":"2"}}}', 6, 1, flaws[0])
    assert reader.parts(("d",), wires, flaws) == [None]


@pytest.mark.parametrize("value", [{"": 1, "n": float("nan")}, {"n": float("nan"), "": 1}])
def test_a_document_whose_numbers_are_strings_by_now_has_none(value):
    rows, _ = read(value)
    ((_, _, _, flaw),) = DocumentReader(DOCUMENTS).as_texts(rows)
    assert flaw == "value_unsupported: a member has the empty name, which DynamoDB refuses"
