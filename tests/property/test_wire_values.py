"""Whatever the value: its wire text is exact, and its size the one that is charged."""

import json
from decimal import Decimal as Exact

import orjson
import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.simulator.values import number as simulated
from connectors.dynamodb.documents import number_sizes
from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.dynamodb.documents.json_walk import documents_from_json
from connectors.dynamodb.documents.numbers import number, plain_size
from engine.documents.writing import documents_from_text_json
from engine.kinds import Scalar
from tests.support.attribute_values import (
    FLOATS,
    INTS,
    JSON_TEXTS,
    NUMBERS,
    Flawed,
    depth_of,
    exact,
    of_json,
    size_of,
    with_numbers,
)


@settings(deadline=None)
@given(NUMBERS | FLOATS | INTS)
def test_equal_numbers_have_one_text_and_it_is_exact(text):
    found = number(text)
    try:
        value = exact(text)
    except Flawed:
        assert found.flaw is not None
        return
    assert found.flaw is None
    assert Exact(found.text) == value
    assert found.text == number(f"{value:E}").text == number(f"{value:f}").text
    assert found.size == size_of({"N": value})
    column = pl.Series(["100", found.text, None, found.text])
    assert number_sizes.exact(column).to_list() == [2, found.size, 0, found.size]
    assert number_sizes.exact(column[1:2]).to_list() == [found.size]
    assert found.size <= number_sizes.bounds(column)[1]
    if "E" not in found.text:
        assert plain_size(found.text) == found.size
    assert simulated(found.text)[1] == found.size, "the simulator charges the same"


@settings(deadline=None)
@given(JSON_TEXTS)
def test_a_document_is_its_json(text):
    (found,) = documents_from_json(pa.array([text])).to_pylist()
    try:
        wanted = of_json(json.loads(text, parse_int=Exact, parse_float=Exact))
    except Flawed:
        assert found["flaw"] is not None
        return
    assert found["flaw"] is None
    assert with_numbers(orjson.loads(found["wire"])) == wanted
    assert (found["size"], found["depth"]) == (size_of(wanted), depth_of(wanted))


@settings(deadline=None)
@given(st.recursive(st.none() | NUMBERS, lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_a_list_of_texts_is_its_values(tree):
    (found,) = documents_from_text_json(pa.array([json.dumps(tree)]), Scalar.NUMBER, DOCUMENTS).to_pylist()

    def value(node):
        if node is None:
            return {"NULL": True}
        return {"L": [value(each) for each in node]} if isinstance(node, list) else {"N": exact(node)}

    try:
        wanted = value(tree)
    except Flawed:
        assert found["flaw"] is not None
        return
    assert with_numbers(orjson.loads(found["wire"])) == wanted
    assert (found["size"], found["depth"]) == (size_of(wanted), depth_of(wanted))
