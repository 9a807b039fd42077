"""Documents walked in C, a batch at a time, are those read one by one, whatever is in them."""

import bson
import numpy as np
import pytest
from bson.codec_options import CodecOptions
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.mongodb.documents import read_columns, read_documents
from connectors.mongodb.layout import FIELD, layout_of, schema_of
from engine.kinds import Column, Scalar
from engine.rules.fields import Fields, ListFields
from tests.support.mongo import BAD, VALUES

FIELDS = Fields(
    {"_id": ("_id",), "a": ("a",), "b.c": ("b", "c"), "b": ("b",), "c.d.e": ("c", "d", "e"), "a.b": ("a.b",)},
    {
        "\0list:l": ListFields(("l",), {"a": ("a",), "b.c": ("b", "c"), "b": ("b",)}),
        "\0list:b.l": ListFields(("b", "l"), {"a": ("a",)}),
    },
    {"\0rest:[]": frozenset(), '\0rest:["a"]': frozenset({"a", "c"})},
)
NO_REST = Fields(FIELDS.paths, FIELDS.lists, {})
LAYOUTS = [
    layout_of(fields, schema_of(fields, Column("_id", kind), keyed=True, unique=True), DOCUMENTS)
    for fields in (FIELDS, NO_REST)
    for kind in (FIELD, Scalar.STRING)
]
CODEC = CodecOptions()

names = st.sampled_from(["a", "b", "c", "d", "e", "l", "a.b", "$x", "ü", "long name with spaces", ""])
scalars = (
    st.sampled_from([*VALUES.values(), *(value for value, _ in BAD.values())])
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=6)
    | st.datetimes()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
documents = st.dictionaries(names, values, max_size=6)


def varied(draw, value):
    """Return a value of the same shape, but for what is drawn to differ."""
    match value:
        case bool() | None:
            return value
        case int():
            return draw(st.integers(-(2**31), 2**31 - 1)) if -(2**31) <= value < 2**31 else value
        case float():
            return draw(st.floats())
        case str() if type(value) is str:
            return draw(st.text(max_size=4))
        case list() if value:
            return [varied(draw, value[0]) for _ in range(draw(st.integers(0, 3)))]
        case dict():
            return {name: varied(draw, member) for name, member in value.items()}
        case _:
            return value


@st.composite
def collections(draw):
    """Return documents of few shapes, and some that are like no other."""
    shapes_drawn = draw(st.lists(documents, min_size=1, max_size=3))
    found = []
    for _ in range(draw(st.integers(1, 12))):
        document = draw(st.sampled_from(shapes_drawn) | documents)
        found.append(varied(draw, document) if draw(st.booleans()) else document)
    return [{"_id": f"id{number}"} | document for number, document in enumerate(found)]


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(deadline=None, max_examples=100)
@given(found=collections())
def test_columns_are_what_single_documents_are(layout, found):
    encoded = [bson.encode(document, codec_options=CODEC) for document in found]
    starts = np.cumsum([0, *map(len, encoded[:-1])]).astype(np.int64)
    data = b"".join(encoded)
    alone = read_documents(layout, data, starts.tolist())
    alone.validate(full=True)
    together = read_columns(layout, data, starts)
    together.validate(full=True)
    assert together.schema == alone.schema
    for name in alone.schema.names:
        assert together.column(name).to_pylist() == alone.column(name).to_pylist(), name
