"""The text that names a document leads back to its `_id`, whatever type that has."""

from decimal import Decimal
from typing import Any

import bson
import numpy as np
import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.mongodb import bson_values as kinds
from connectors.mongodb.documents import read_columns, read_documents
from connectors.mongodb.keys import ids_of, key_text
from connectors.mongodb.layout import FIELD, KEY, layout_of, schema_of
from connectors.mongodb.positions import id_element
from connectors.mongodb.session import CODEC
from engine.kinds import Column, Scalar
from engine.rules.fields import Fields

FIELDS = Fields({"_id": ("_id",)}, {}, {})

object_ids = st.binary(min_size=12, max_size=12).map(ObjectId)
uuids = st.binary(min_size=16, max_size=16).map(lambda octets: Binary(octets, 4))
dates = st.integers(-(2**63), 2**63 - 1).map(DatetimeMS) | st.integers(0, 2**42).map(DatetimeMS)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=3).map(
    lambda value: Decimal128(str(value)[:30])
)
numbers = (
    st.integers(-(2**31), 2**31 - 1)
    | st.integers(-(2**63), 2**63 - 1).map(Int64)
    | st.floats()
    | decimals
    | st.sampled_from([Decimal128("1E+6000"), Decimal128("0.10"), Decimal128("NaN"), -0.0, 1e22])
)
leaves = (
    object_ids
    | uuids
    | dates
    | numbers
    | st.text(max_size=8)
    | st.booleans()
    | st.none()
    | st.binary(max_size=4)
    | st.builds(Binary, st.binary(max_size=20), st.sampled_from([2, 3, 4, 5, 128]))
    | st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
    | st.sampled_from([MinKey(), MaxKey(), bson.Code("f"), bson.DBRef("c", 5)])
)
names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=4) | st.sampled_from(
    ["$oid", "$numberInt", "$date", "$ref", "$id", "a.b"]
)
any_id = st.recursive(
    leaves,
    lambda inner: st.dictionaries(names, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=5,
)


def encoded(value: Any) -> bytes:
    return bson.encode({"_id": value}, codec_options=CODEC)


def texts(ids: list[Any], kind: Any, *, alone: bool) -> list[str]:
    """Return what a batch names these documents."""
    data = b"".join(encoded(value) for value in ids)
    starts = np.cumsum([0, *(len(encoded(value)) for value in ids[:-1])]).astype(np.int64)
    layout = layout_of(FIELDS, schema_of(FIELDS, Column("_id", kind), keyed=True, unique=True), DOCUMENTS)
    rows = read_documents(layout, data, starts.tolist()) if alone else read_columns(layout, data, starts)
    (name,) = layout.schema.key
    return rows.column(name).to_pylist()


@settings(deadline=None, max_examples=300)
@given(ids=st.lists(any_id, min_size=1, max_size=3), alone=st.booleans())
def test_of_any_types_it_leads_back_to_the_very_bytes(ids, alone):
    found = texts(ids * 20, FIELD, alone=alone)[: len(ids)]
    for value, text in zip(ids, found, strict=True):
        element = id_element(encoded(value), 0)
        assert element is not None
        assert text == key_text(element, frozenset(), DOCUMENTS)
        (back,) = ids_of(text, frozenset())
        assert bson.encode({"_id": back}, codec_options=CODEC) == element


EXTENDED = ["$oid", "$ref", "$date", "$regex", "$minKey", "$maxKey", "$binary", "$code", "$uuid"]
EXTENDED += ["$undefined", "$numberLong", "$timestamp", "$numberDecimal", "$dbPointer", "$symbol"]
EXTENDED += ["$regularExpression", "$numberInt", "$numberDouble"]


@pytest.mark.parametrize(
    "value",
    [{name: of} for name in EXTENDED for of in (2.0**63, -1e300, "x", "[", {}, {"t": 2.0**70}, [1])],
    ids=repr,
)
def test_a_document_that_looks_like_extended_json_is_taken_for_itself(value):
    element = id_element(encoded(value), 0)
    assert element is not None
    (back,) = ids_of(key_text(element, frozenset(), DOCUMENTS), frozenset())
    assert bson.encode({"_id": back}, codec_options=CODEC) == element


@pytest.mark.parametrize(
    ("values", "kind", "types"),
    [
        (object_ids, Scalar.STRING, {kinds.OBJECT_ID}),
        (st.text(max_size=8), Scalar.STRING, {kinds.STRING}),
        (uuids, Scalar.STRING, {kinds.BINARY}),
        (dates, Scalar.STRING, {kinds.DATE}),
    ],
    ids=["object id", "text", "uuid", "date"],
)
@settings(deadline=None, max_examples=200)
@given(data=st.data(), alone=st.booleans())
def test_of_one_type_it_is_the_bare_text(values, kind, types, data, alone):
    ids = data.draw(st.lists(values, min_size=1, max_size=3))
    found = texts(ids * 20, kind, alone=alone)[: len(ids)]
    for value, text in zip(ids, found, strict=True):
        element = id_element(encoded(value), 0)
        assert element is not None
        assert text == key_text(element, frozenset(types), DOCUMENTS)
        (back,) = ids_of(text, frozenset(types))
        assert bson.encode({"_id": back}, codec_options=CODEC) == element


def exact(value: Any) -> str:
    """Return what servers compare of a number: its value."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    value = Decimal(value)
    return "NaN" if value.is_nan() else "0" if not value else str(value.normalize().as_tuple())


@settings(deadline=None, max_examples=300)
@given(ids=st.lists(numbers, min_size=1, max_size=3), alone=st.booleans())
def test_a_number_is_found_by_its_value(ids, alone):
    types = frozenset({kinds.DOUBLE, kinds.INT32, kinds.INT64, kinds.DECIMAL128})
    found = texts(ids * 20, Scalar.NUMBER, alone=alone)[: len(ids)]
    for value, text in zip(ids, found, strict=True):
        element = id_element(encoded(value), 0)
        assert element is not None
        assert text == key_text(element, types, DOCUMENTS)
        assert exact(value) in {exact(back) for back in ids_of(text, types)}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", kinds.OBJECT_ID),
        ("x" * 24, kinds.OBJECT_ID),
        ("no uuid", kinds.BINARY),
        ("2024-01-15", kinds.DATE),
        ("2024-13-45T10:00:00Z", kinds.DATE),
        ("+999999999999-01-01T00:00:00Z", kinds.DATE),
        ("", kinds.INT32),
        ("1.2.3", kinds.INT32),
    ],
)
def test_a_text_that_no_id_has_leads_nowhere(text, kind):
    assert ids_of(text, frozenset({kind})) == []


@pytest.mark.parametrize(
    "text", ["", "{", "507f1f77bcf86cd799439011", "bson:", "bson:AAAA", '{"$oid":"x"}', '{"$date":1e19}']
)
def test_what_is_no_extended_json_leads_nowhere(text):
    assert ids_of(text, frozenset()) == []


def test_a_rule_that_takes_the_name_of_the_key_is_told():
    fields = Fields({KEY: (KEY,)}, {}, {})
    with pytest.raises(Exception, match="a field can't be called"):
        schema_of(fields, Column("_id", FIELD), keyed=True, unique=True)
