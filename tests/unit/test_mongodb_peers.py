"""Values that print alike are asked for together, whatever their types."""

from datetime import UTC, datetime
from uuid import UUID

import bson
import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.mongodb.bson_values import Walk
from connectors.mongodb.peers import path_of, values_alike
from connectors.mongodb.session import CODEC
from engine.documents.reading import DocumentReader

INTS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(
    st.text(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    INTS.map(Int64),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(-(10**20), 10**20, places=6).map(lambda each: Decimal128(str(each))),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.uuids().map(lambda each: Binary(each.bytes, 4)),
    st.binary().map(lambda each: Binary(each, 0)),
    st.integers(-(10**15), 10**15).map(DatetimeMS),
)


def printed(value: object) -> str | None:
    """Return what a rule prints of a value."""
    data = bson.encode({"": value}, codec_options=CODEC)
    (text,) = DocumentReader(DOCUMENTS).scalar_texts([Walk(DOCUMENTS).value(data[4], data, 6, 0)])
    return text


def equal(one: object, other: object) -> bool:
    """Whether the server calls two values equal: numbers by their value, all else by its type."""
    numbers = (int, float, Decimal128)
    if isinstance(one, numbers) and isinstance(other, numbers) and not {type(one), type(other)} & {bool}:
        first, second = (each.to_decimal() if isinstance(each, Decimal128) else each for each in (one, other))
        return bool(first == second)
    return type(one) is type(other) and one == other


@given(VALUES)
def test_every_value_is_among_those_that_print_like_it(value: object) -> None:
    text = printed(value)
    assert text is not None
    found = values_alike(text)
    assert any(equal(value, other) for other in found), (text, found)
    bson.encode({"": found}, codec_options=CODEC)


@given(st.text() | st.from_regex(r"[+-]?\d{4,25}-\d\d-\d\dT\d\d:\d\d:\d\dZ", fullmatch=True))
def test_whatever_stands_in_a_key_can_be_asked_for(text: str) -> None:
    assert text in values_alike(text)
    bson.encode({"": values_alike(text)}, codec_options=CODEC)


def test_one_text_may_be_of_many_types() -> None:
    assert [1.0, Int64(1), Decimal128("1")] == values_alike("1")[1:]
    assert True in values_alike("true")
    assert ObjectId("0" * 24) in values_alike("0" * 24)
    assert Binary(UUID(int=1).bytes, 4) in values_alike(str(UUID(int=1)))
    moment = DatetimeMS(datetime(2024, 1, 1, tzinfo=UTC))
    assert moment in values_alike("2024-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("path", "named"),
    [(("a",), "a"), (("a", "b"), "a.b"), (("a.b",), None), (("$a",), None), (("a", ""), None)],
)
def test_a_path_is_named_where_a_query_can(path: tuple[str, ...], named: str | None) -> None:
    assert path_of(path) == named
